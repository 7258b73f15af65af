"""What commands for a person print."""

from __future__ import annotations

import sys

__all__ = ["complain", "printable", "say"]


def say(text: str = "") -> None:
    """One or more lines on stdout, at once."""
    sys.stdout.write(text.rstrip() + "\n")
    sys.stdout.flush()


def complain(text: str) -> None:
    """One or more lines on stderr: why a command ends without having done its work."""
    sys.stderr.write(text.rstrip() + "\n")


def printable(text: str) -> str:
    """Text of others, without characters that could make a terminal do something."""
    return "".join(character if character.isprintable() or character == "\t" else "?" for character in text)
