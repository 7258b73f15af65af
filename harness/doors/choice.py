"""Checks by name and room, as `list`, `check` and `mutants` take them."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatch
from typing import Protocol, TypeVar

from ..text import clean

__all__ = ["NothingChosen", "add_names", "choose", "require_known"]

LIST = "dc-harness list"


class NothingChosen(Exception):
    """Words that name nothing there is; the message says which, and the command that shows all."""


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
    """The checks whose names match one of the patterns (none: all), in one of the rooms (none: all).

    Raises `NothingChosen` for a pattern or a room that no check has, and where none has both: a check that was asked
    for and did not run would look like one that passed.
    """
    there = list(checks)
    names, areas = {each.name for each in there}, {each.room for each in there}
    for pattern in patterns:
        if not any(_is_named(each, [pattern]) for each in there):
            raise NothingChosen(_nothing_called("check", pattern, names, LIST))
    for room in rooms or ():
        if not any(_is_in(each, [room]) for each in there):
            raise NothingChosen(_nothing_called("room", room, areas, LIST))
    chosen = [check for check in there if _is_named(check, patterns) and _is_in(check, rooms)]
    if not chosen:
        raise NothingChosen(f"none of these checks is in such a room; `{LIST}` shows them")
    return chosen


def require_known(kind: str, words: Iterable[str] | None, known: Collection[str], shown_by: str) -> None:
    """Raise `NothingChosen` for a word that is none of the names of this kind; `shown_by`: the command with all."""
    for word in words or ():
        if word not in known:
            raise NothingChosen(_nothing_called(kind, word, known, shown_by))


def _nothing_called(kind: str, word: str, known: Collection[str], shown_by: str) -> str:
    near = get_close_matches(word, known, n=1)
    meant = f" ({near[0]}?)" if near else ""
    return f"no {kind} is called {clean(word, 80)}{meant}; `{shown_by}` shows them"


def _is_named(check: Named, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatch(check.name, pattern) for pattern in patterns)


def _is_in(check: Named, rooms: Sequence[str] | None) -> bool:
    """A room is a module with the more special ones: `calls` is also `calls_many`."""
    return not rooms or any(check.room == room or check.room.startswith(f"{room}_") for room in rooms)
