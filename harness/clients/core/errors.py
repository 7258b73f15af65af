"""Errors of a core process."""

from __future__ import annotations

__all__ = ["CoreDied", "CoreError", "CoreUnusable"]


class CoreError(Exception):
    """Core answered a request with an error."""


class CoreDied(Exception):
    """The core process has ended by itself, which is no finding about a server. The text has the end of its stderr."""


class CoreUnusable(Exception):
    """A program that was given as core is none, or none that this harness can drive."""
