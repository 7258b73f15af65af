"""The arguments of IMAP commands, read strictly. Everything here raises `BadSyntax`, or `Refused` where it says so."""

from __future__ import annotations

import calendar
import re
from collections.abc import Sequence

from reference_server.mail.mailbox import HIERARCHY, INBOX, FlagChange, Refused

from .parser import Argument, Atom, BadSyntax

__all__ = [
    "MONTHS",
    "STATUS_ITEMS",
    "ListPattern",
    "date_time",
    "expect",
    "flags_of",
    "mailbox_name",
    "new_mailbox_name",
    "status_items",
    "store_item",
    "text_of",
]

STATUS_ITEMS = ("MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
MAX_NAME = 255
MAX_LEVELS = 10
"""Of a mailbox name: each that is missing is created."""

_LINE_END = re.compile(r"[\r\n\0]")
_STORE = re.compile(r"([+-]?)FLAGS(\.SILENT)?", re.IGNORECASE)
_FLAG = re.compile(r"\\?[^\x00-\x20\x7f-\uffff(){%*\"\\\]]+")
_NAME = re.compile(r"[\x20-\x7e]+")
LAST_SECOND = calendar.timegm((9999, 12, 31, 23, 59, 59))
_DATE_TIME = re.compile(
    r"([ \d]\d)-([a-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)", re.IGNORECASE
)


def expect(count: int, arguments: Sequence[Argument]) -> Sequence[Argument]:
    if len(arguments) != count:
        raise BadSyntax(f"Expected {count} arguments, got {len(arguments)}")
    return arguments


def text_of(argument: Argument) -> str:
    """An astring (RFC 3501 section 9): an atom or a string."""
    if isinstance(argument, Atom):
        return argument.text
    if isinstance(argument, tuple):
        raise BadSyntax("Expected a string, not a list")
    try:
        text = argument.decode()
    except UnicodeDecodeError:
        raise BadSyntax("A string is not UTF-8") from None
    if _LINE_END.search(text):  # a literal may have them; our answers could not repeat it
        raise BadSyntax("A string has a line end or a NUL")
    return text


def mailbox_name(argument: Argument) -> str:
    name = text_of(argument)
    return INBOX if name.upper() == INBOX else name


def new_mailbox_name(argument: Argument) -> str:
    """A name that can be given: printable ASCII (modified UTF-7 is), a few levels, no wildcards, nothing that means
    something in a file system. Raises `Refused`."""
    name = mailbox_name(argument).removesuffix(HIERARCHY)
    levels = name.split(HIERARCHY)
    if len(name) > MAX_NAME or len(levels) > MAX_LEVELS:
        raise Refused("CANNOT", f"Names have up to {MAX_NAME} characters and {MAX_LEVELS} levels")
    if not _NAME.fullmatch(name) or {"*", "%"} & set(name):
        raise Refused("CANNOT", "That is no name for a mailbox")
    if {"", ".", ".."} & set(levels) or levels[0].startswith(("#", "~")):
        raise Refused("CANNOT", "That is a path, and no name for a mailbox")
    if levels[0].upper() == INBOX:
        levels[0] = INBOX
    return HIERARCHY.join(levels)


class ListPattern:
    """LIST wildcards (RFC 3501 section 6.3.8): `*` stands for anything, `%` for anything within one level.

    Keeps the set of places in the pattern that a name may have reached: the cost is bounded by their product.
    """

    def __init__(self, pattern: str) -> None:
        if len(pattern) > MAX_NAME:
            raise BadSyntax(f"A LIST pattern has up to {MAX_NAME} characters")
        self._pattern = pattern

    @property
    def has_levels(self) -> bool:
        return "%" in self._pattern

    def matches(self, name: str) -> bool:
        """INBOX in any case."""
        pattern = self._pattern.upper() if name == INBOX else self._pattern
        places = _skip_wildcards(pattern, {0})
        for letter in name:
            after = set()
            for place in places - {len(pattern)}:
                if pattern[place] == "*" or (pattern[place] == "%" and letter != HIERARCHY):
                    after.add(place)
                elif pattern[place] == letter:
                    after.add(place + 1)
            places = _skip_wildcards(pattern, after)
        return len(pattern) in places


def _skip_wildcards(pattern: str, places: set[int]) -> set[int]:
    """And where one gets when wildcards stand for nothing."""
    reached = set(places)
    for place in places:
        behind = place
        while pattern[behind : behind + 1] in ("*", "%"):
            behind += 1
            reached.add(behind)
    return reached


def flags_of(arguments: Sequence[Argument]) -> frozenset[str]:
    """Flags in a list or without one."""
    flat: list[Argument] = []
    for argument in arguments:
        flat.extend(argument if isinstance(argument, tuple) else (argument,))
    flags = frozenset(text_of(flag) for flag in flat)
    if not all(map(_FLAG.fullmatch, flags)):
        raise BadSyntax("That is no flag")
    return flags


def status_items(argument: Argument) -> list[str]:
    if not isinstance(argument, tuple):
        raise BadSyntax("STATUS needs a list of items")
    names = [text_of(item).upper() for item in argument]
    if not names or not set(names) <= set(STATUS_ITEMS):
        raise BadSyntax(f"STATUS items are {', '.join(STATUS_ITEMS)}")
    return names


def store_item(argument: Argument) -> tuple[FlagChange, bool]:
    """Change of the flags; with True if it is to be silent."""
    match = _STORE.fullmatch(text_of(argument))
    if match is None:
        raise BadSyntax("STORE items are FLAGS, +FLAGS and -FLAGS")
    return FlagChange(match[1]), match[2] is not None


def date_time(argument: Argument) -> int:
    """`" 1-Feb-2026 12:00:00 +0100"` (RFC 3501 section 9) in unix seconds; its year has four digits in UTC, too."""
    match = _DATE_TIME.fullmatch(text_of(argument))
    if match is None or match[2].capitalize() not in MONTHS:
        raise BadSyntax("That is no date and time")
    month = MONTHS.index(match[2].capitalize()) + 1
    day, year, hour, minute, second = (int(match[group]) for group in (1, 3, 4, 5, 6))
    if not (1 <= day <= calendar.monthrange(max(year, 1), month)[1] and year >= 1970):
        raise BadSyntax("There is no such day")
    offset = (int(match[8]) * 60 + int(match[9])) * (60 if match[7] == "+" else -60)
    return min(max(0, calendar.timegm((year, month, day, hour, minute, second)) - offset), LAST_SECOND)
