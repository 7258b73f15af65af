"""Errors of a core process."""

from __future__ import annotations

__all__ = ["CoreDied", "CoreError"]


class CoreError(Exception):
    """Core answered a request with an error."""


class CoreDied(CoreError):
    """The core process has ended by itself. The text has the end of its stderr."""
