"""A must-list: everything that a server has to show before it is released. It is kept in the head of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .observations import Observation

__all__ = ["KnownRed", "Must", "MustList"]


@dataclass(frozen=True)
class Must:
    """One thing that has to hold."""

    name: str
    """ID of a promise, name of a check, or `capability turn`."""
    checks: tuple[str, ...]
    """Names of all checks that show it."""
    where_possible: bool = False
    """It is no objection that the server, or whoever cannot look into it, has none of this."""


@dataclass(frozen=True)
class KnownRed:
    """A failure that somebody answers for, until a day."""

    check: str
    owner: str
    expires: str
    """The last day on which it is accepted, as in 2026-12-31."""
    reason: str = ""


@dataclass(frozen=True)
class MustList(Observation):
    """What the sign-off of this run is about."""

    kind: ClassVar[str] = "must_list"

    source: str
    """Where it comes from: the name of a file, or words."""
    musts: tuple[Must, ...]
    known_reds: tuple[KnownRed, ...] = ()
