"""Checks by name and room, as `list`, `check` and `mutants` take them."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from fnmatch import fnmatch
from typing import Protocol, TypeVar

__all__ = ["NO_SUCH_CHECK", "add_names", "choose"]

NO_SUCH_CHECK = "no check has such a name and room; `dc-harness list` shows them"


class Named(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def room(self) -> str: ...


OneCheck = TypeVar("OneCheck", bound=Named)


def add_names(parser: argparse.ArgumentParser) -> None:
    """Declare the options that choose checks."""
    parser.add_argument(
        "names", nargs="*", metavar="CHECK", help="names or patterns like 'mail.*'; default: all"
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="ROOM",
        help="checks of this room, such as calls; repeat it for more",
    )


def choose(
    checks: Iterable[OneCheck], patterns: Sequence[str], rooms: Sequence[str] | None
) -> list[OneCheck]:
    """The checks whose names match one of the patterns (none: all), in one of the rooms (none: all)."""
    return [check for check in checks if _is_named(check, patterns) and _is_in(check, rooms)]


def _is_named(check: Named, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatch(check.name, pattern) for pattern in patterns)


def _is_in(check: Named, rooms: Sequence[str] | None) -> bool:
    """A room is a module with the more special ones: `calls` is also `calls_many`."""
    return not rooms or any(check.room == room or check.room.startswith(f"{room}_") for room in rooms)
