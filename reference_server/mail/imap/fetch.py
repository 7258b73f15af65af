"""FETCH (RFC 3501 sections 6.4.5 and 7.4.2): the items that a client asks for, and a message's answer."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from reference_server.mail.mailbox import FLAGS, Message, Part

from .parser import Argument, Atom, BadSyntax

__all__ = ["FetchRequest", "flag_list", "parse_fetch"]

MAX_ITEMS = 32
"""Each may repeat a whole header in the answer."""

_SECTION = re.compile(r"BODY(?P<peek>\.PEEK)?\[(?P<section>.*)\]", re.IGNORECASE)
_FIELDS = re.compile(r"HEADER\.FIELDS(?P<negated>\.NOT)? \((?P<names>[^()]+)\)", re.IGNORECASE)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True)
class _Item:
    """`label` is how the answer calls it; `value` renders it from a message that holds at least `part`."""

    label: bytes
    value: Callable[[Message], bytes]
    part: Part = Part.NOTHING
    marks_seen: bool = False


@dataclass(frozen=True)
class FetchRequest:
    items: tuple[_Item, ...]

    @property
    def part(self) -> Part:
        return max(item.part for item in self.items)

    @property
    def marks_seen(self) -> bool:
        return any(item.marks_seen for item in self.items)

    def render(self, sequence: int, message: Message, *, tell_flags: bool) -> bytes:
        """The untagged FETCH response; `tell_flags` adds FLAGS where they changed and were not asked for."""
        items = self.items
        if tell_flags and _FLAGS not in items:
            items = (*items, _FLAGS)
        values = b" ".join(item.label + b" " + item.value(message) for item in items)
        return b"* %d FETCH (%b)\r\n" % (sequence, values)


def flag_list(flags: frozenset[str]) -> bytes:
    return b"(" + " ".join(flag for flag in FLAGS if flag in flags).encode() + b")"


def _literal(data: bytes) -> bytes:
    return b"{%d}\r\n%b" % (len(data), data)


def _internal_date(message: Message) -> bytes:
    at = time.gmtime(message.received)
    return time.strftime(f'"%d-{_MONTHS[at.tm_mon - 1]}-%Y %H:%M:%S +0000"', at).encode()


def _whole(message: Message) -> bytes:
    return _literal(message.header + message.text)


_UID = _Item(b"UID", lambda message: b"%d" % message.uid)
_FLAGS = _Item(b"FLAGS", lambda message: flag_list(message.flags))
_DATE = _Item(b"INTERNALDATE", _internal_date)
_SIZE = _Item(b"RFC822.SIZE", lambda message: b"%d" % message.size)

_ITEMS = {
    "UID": (_UID,),
    "FLAGS": (_FLAGS,),
    "INTERNALDATE": (_DATE,),
    "RFC822.SIZE": (_SIZE,),
    "RFC822": (_Item(b"RFC822", _whole, Part.ALL, marks_seen=True),),
    "RFC822.HEADER": (_Item(b"RFC822.HEADER", lambda message: _literal(message.header), Part.HEADER),),
    "FAST": (_FLAGS, _DATE, _SIZE),
}


def parse_fetch(argument: Argument, *, uid: bool) -> FetchRequest:
    """The items of a FETCH command; a UID FETCH always answers with the UID. Raises `BadSyntax`."""
    wanted = argument if isinstance(argument, tuple) else (argument,)
    items: dict[bytes, _Item] = {_UID.label: _UID} if uid else {}
    for atom in wanted:
        if not isinstance(atom, Atom):
            raise BadSyntax("FETCH items are atoms")
        for item in _ITEMS.get(atom.text.upper()) or (_body_item(atom.text),):
            items[item.label] = item
    if not 0 < len(items) <= MAX_ITEMS:
        raise BadSyntax(f"FETCH takes 1 to {MAX_ITEMS} items")
    return FetchRequest(tuple(items.values()))


def _body_item(text: str) -> _Item:
    match = _SECTION.fullmatch(text)
    if match is None:
        raise BadSyntax(f"This server does not serve the FETCH item {text}")
    section, marks_seen = match["section"], match["peek"] is None
    if not section:
        return _Item(b"BODY[]", _whole, Part.ALL, marks_seen)
    if section.upper() == "HEADER":
        return _Item(b"BODY[HEADER]", lambda message: _literal(message.header), Part.HEADER, marks_seen)
    if section.upper() == "TEXT":
        return _Item(b"BODY[TEXT]", lambda message: _literal(message.text), Part.ALL, marks_seen)
    if fields := _FIELDS.fullmatch(section):
        names = {name.strip('"').lower().encode() for name in fields["names"].split()}
        negated = fields["negated"] is not None
        label = f"BODY[{section}]".encode()
        return _Item(
            label, lambda message: _literal(_fields(message.header, names, negated)), Part.HEADER, marks_seen
        )
    raise BadSyntax(f"This server does not serve the section [{section}]")


def _fields(header: bytes, names: set[bytes], negated: bool) -> bytes:
    """The header fields with one of these names (or without), in their order, and the empty line."""
    chosen = [
        field
        for field in _split_fields(header)
        if (field.partition(b":")[0].strip().lower() in names) is not negated
    ]
    return b"".join(chosen) + b"\r\n"


def _split_fields(header: bytes) -> Iterator[bytes]:
    """Each field with its continuation lines (RFC 5322 section 2.2.3), without the empty line at the end."""
    field = b""
    for line in header.splitlines(keepends=True):
        if line in (b"\r\n", b"\n"):
            break
        if line[:1] in (b" ", b"\t"):
            field += line
        else:
            if field:
                yield field
            field = line
    if field:
        yield field
