"""The arguments of IMAP commands, read strictly. Everything here raises `BadSyntax`."""

from __future__ import annotations

import re
from collections.abc import Sequence

from reference_server.mail.mailbox import FLAGS, INBOX, FlagChange

from .parser import Argument, Atom, BadSyntax

__all__ = [
    "STATUS_ITEMS",
    "expect",
    "known_flags",
    "mailbox_name",
    "matches_inbox",
    "metadata_keys",
    "status_items",
    "store_item",
    "text_of",
]

STATUS_ITEMS = ("MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN")
_LINE_END = re.compile(r"[\r\n\0]")
_STORE = re.compile(r"([+-]?)FLAGS(\.SILENT)?", re.IGNORECASE)


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


def matches_inbox(pattern: str) -> bool:
    """LIST wildcards (RFC 3501 section 6.3.8) against the only mailbox that there is."""
    pieces = re.split(r"[*%]+", pattern.upper())
    return re.fullmatch(".*".join(map(re.escape, pieces)), INBOX) is not None


def known_flags(arguments: Sequence[Argument]) -> frozenset[str]:
    """Flags in a list or without one; those that are not kept are left out."""
    flat: list[Argument] = []
    for argument in arguments:
        flat.extend(argument if isinstance(argument, tuple) else (argument,))
    wanted = {text_of(flag).lower() for flag in flat}
    return frozenset(flag for flag in FLAGS if flag.lower() in wanted)


def status_items(argument: Argument) -> list[str]:
    if not isinstance(argument, tuple):
        raise BadSyntax("STATUS needs a list of items")
    names = [text_of(item).upper() for item in argument]
    if not names or not set(names) <= set(STATUS_ITEMS):
        raise BadSyntax(f"STATUS items are {', '.join(STATUS_ITEMS)}")
    return names


def store_item(argument: Argument) -> tuple[FlagChange, bool]:
    """How to change the flags, and whether to do it silently."""
    match = _STORE.fullmatch(text_of(argument))
    if match is None:
        raise BadSyntax("STORE items are FLAGS, +FLAGS and -FLAGS")
    return FlagChange(match[1]), match[2] is not None


def metadata_keys(argument: Argument) -> tuple[str, ...]:
    """One entry name or a list of them, each once, in lower case (RFC 5464 section 3.1)."""
    entries = argument if isinstance(argument, tuple) else (argument,)
    keys = [text_of(entry).lower() for entry in entries]
    if not keys or not all(key.startswith("/") for key in keys):
        raise BadSyntax("A METADATA entry starts with a slash")
    return tuple(dict.fromkeys(keys))
