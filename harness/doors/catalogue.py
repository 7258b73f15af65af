"""All checks, by room: for doors that choose them at run time."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatch

from ..checks import (
    calls,
    calls_changes,
    calls_interrupted,
    calls_lifetimes,
    calls_many,
    calls_paths,
    discovery,
    durability,
    ipv6,
    mail,
    names,
    realtime,
    realtime_paths,
    relay,
    relay_v1,
    services,
    swarms,
    tls,
    turn,
    turn_from_outside,
)
from ..stage.check import CHECKS, Check

__all__ = ["MODULES", "all_checks", "choose"]

MODULES = (
    tls,
    discovery,
    relay,
    relay_v1,
    realtime,
    realtime_paths,
    swarms,
    mail,
    durability,
    services,
    turn,
    turn_from_outside,
    names,
    calls,
    calls_lifetimes,
    calls_many,
    calls_interrupted,
    calls_paths,
    calls_changes,
    ipv6,
)
"""Importing them is what registers their checks; the order is that of a report."""


def all_checks() -> list[Check]:
    """Every check, in the order of `MODULES`."""
    order = [module.__name__.rpartition(".")[2] for module in MODULES]
    return sorted(CHECKS.values(), key=lambda check: order.index(check.room))


def choose(patterns: Sequence[str], rooms: Sequence[str] | None) -> list[Check]:
    """The checks whose names match one of the patterns (none: all), in one of the rooms (none: all)."""
    return [check for check in all_checks() if _is_named(check, patterns) and _is_in(check, rooms)]


def _is_named(check: Check, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatch(check.name, pattern) for pattern in patterns)


def _is_in(check: Check, rooms: Sequence[str] | None) -> bool:
    """A room is a module with the more special ones: `calls` is also `calls_many`."""
    return not rooms or any(check.room == room or check.room.startswith(f"{room}_") for room in rooms)
