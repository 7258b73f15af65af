"""Output of the commands for a person."""

from __future__ import annotations

import sys

__all__ = ["complain", "say"]


def say(text: str = "") -> None:
    """One or more lines on stdout, at once."""
    sys.stdout.write(text.rstrip() + "\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """One or more lines on stderr: why a command ends without having done its work."""
    sys.stderr.write(text.rstrip() + "\n")
