"""FETCH (RFC 3501 sections 6.4.5 and 7.4.2): the items that a client asks for, and a message's answer."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from reference_server.mail.dialects import literal
from reference_server.mail.fields import field_name, split_fields
from reference_server.mail.mailbox import Message, Part, Refused

from .arguments import MONTHS
from .entities import Entity, read_entity
from .parser import Argument, Atom, BadSyntax
from .structure import body_structure, envelope
from .view import flag_list

__all__ = ["FetchRequest", "parse_fetch"]

MAX_ITEMS = 32
MAX_REPEATED = 4
"""Times the size of a message (and a megabyte): what the items of one answer may have together."""
MAX_PATH = 10

_BODY = re.compile(
    r"BODY(?P<peek>\.PEEK)?\[(?P<section>.*)\](?:<(?P<offset>\d{1,10})\.(?P<count>\d{1,10})>)?", re.IGNORECASE
)
_SECTION = re.compile(r"(?P<path>[1-9]\d{0,3}(?:\.[1-9]\d{0,3})*)?\.?(?P<text>[A-Z].*)?", re.IGNORECASE)
_FIELDS = re.compile(r"HEADER\.FIELDS(?P<negated>\.NOT)? \((?P<names>[^()]+)\)", re.IGNORECASE)


class _Reading:
    """A message, read as far as its items need it."""

    def __init__(self, message: Message) -> None:
        self.message = message

    @cached_property
    def content(self) -> bytes:
        return self.message.header + self.message.text

    @cached_property
    def entity(self) -> Entity:
        return read_entity(self.content)


@dataclass(frozen=True)
class _Item:
    """`label` is how the answer calls it; `value` renders it from a message that holds at least `part`."""

    label: bytes
    value: Callable[[_Reading], bytes]
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
        """The untagged FETCH response; `tell_flags` adds FLAGS where they changed and were not asked for.

        Raises `Refused`.
        """
        items = self.items
        if tell_flags and _FLAGS not in items:
            items = (*items, _FLAGS)
        reading = _Reading(message)
        left = MAX_REPEATED * message.size + 2**20
        values = []
        for item in items:
            values.append(item.label + b" " + item.value(reading))
            left -= len(values[-1])
            if left < 0:
                raise Refused("LIMIT", "That asks for the same message too often")
        return b"* %d FETCH (%b)" % (sequence, b" ".join(values))


def _internal_date(reading: _Reading) -> bytes:
    at = time.gmtime(reading.message.received)
    return time.strftime(f'"%d-{MONTHS[at.tm_mon - 1]}-%Y %H:%M:%S +0000"', at).encode()


def _structure(*, extended: bool) -> Callable[[_Reading], bytes]:
    return lambda reading: body_structure(reading.entity, extended=extended)


_UID = _Item(b"UID", lambda reading: b"%d" % reading.message.uid)
_FLAGS = _Item(b"FLAGS", lambda reading: flag_list(reading.message.flags))
_DATE = _Item(b"INTERNALDATE", _internal_date)
_SIZE = _Item(b"RFC822.SIZE", lambda reading: b"%d" % reading.message.size)
_ENVELOPE = _Item(b"ENVELOPE", lambda reading: envelope(reading.message.header), Part.HEADER)
_STRUCTURE = _Item(b"BODY", _structure(extended=False), Part.ALL)
_HEADER = _Item(b"RFC822.HEADER", lambda reading: literal(reading.message.header), Part.HEADER)
_TEXT = _Item(b"RFC822.TEXT", lambda reading: literal(reading.message.text), Part.ALL, marks_seen=True)
_WHOLE = _Item(b"RFC822", lambda reading: literal(reading.content), Part.ALL, marks_seen=True)

_ITEMS = {
    **{item.label.decode(): (item,) for item in (_UID, _FLAGS, _DATE, _SIZE, _ENVELOPE, _STRUCTURE)},
    **{item.label.decode(): (item,) for item in (_HEADER, _TEXT, _WHOLE)},
    "BODYSTRUCTURE": (_Item(b"BODYSTRUCTURE", _structure(extended=True), Part.ALL),),
    "FAST": (_FLAGS, _DATE, _SIZE),
    "ALL": (_FLAGS, _DATE, _SIZE, _ENVELOPE),
    "FULL": (_FLAGS, _DATE, _SIZE, _ENVELOPE, _STRUCTURE),
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
    match = _BODY.fullmatch(text)
    if match is None:
        raise BadSyntax(f"There is no FETCH item {text}")
    read, part = _section(match["section"])
    label = f"BODY[{match['section']}]"
    start, end = 0, None
    if match["offset"] is not None:
        start = int(match["offset"])
        end = start + int(match["count"])
        if end == start:
            raise BadSyntax("A partial FETCH asks for at least one byte")
        label += f"<{start}>"

    def value(reading: _Reading) -> bytes:
        data = read(reading)
        return b"NIL" if data is None else literal(data[start:end])

    return _Item(label.encode(), value, part, marks_seen=match["peek"] is None)


def _section(section: str) -> tuple[Callable[[_Reading], bytes | None], Part]:
    """Reader of a section, and the part of a message that it takes; None is a part that the message does not have."""
    match = _SECTION.fullmatch(section)
    if match is None or section.startswith(".") or section.endswith("."):
        raise BadSyntax(f"There is no section [{section}]")
    path = tuple(map(int, match["path"].split("."))) if match["path"] else ()
    if len(path) > MAX_PATH:
        raise BadSyntax(f"A section has up to {MAX_PATH} levels")
    if match["text"] and match["text"].upper() == "MIME" and path:
        return lambda reading: _of(reading.entity.part(path), lambda entity: entity.header), Part.ALL
    read, part = _message_text(match["text"] or "", section)
    if not path:
        return lambda reading: read(reading.message.header, reading.message.text), part
    if not match["text"]:
        return lambda reading: _of(reading.entity.part(path), lambda entity: entity.body), Part.ALL

    def read_embedded(reading: _Reading) -> bytes | None:
        entity = reading.entity.part(path)
        return _of(entity and entity.message, lambda message: read(message.header, message.body))

    return read_embedded, Part.ALL


def _of(entity: Entity | None, read: Callable[[Entity], bytes]) -> bytes | None:
    return None if entity is None else read(entity)


def _message_text(text: str, section: str) -> tuple[Callable[[bytes, bytes], bytes], Part]:
    """Gets the header and the body of a message."""
    match text.upper():
        case "":
            return lambda header, body: header + body, Part.ALL
        case "HEADER":
            return lambda header, _body: header, Part.HEADER
        case "TEXT":
            return lambda _header, body: body, Part.ALL
    fields = _FIELDS.fullmatch(text)
    if fields is None:
        raise BadSyntax(f"There is no section [{section}]")
    names = {name.strip('"').lower().encode() for name in fields["names"].split()}
    negated = fields["negated"] is not None
    return lambda header, _body: _fields(header, names, negated), Part.HEADER


def _fields(header: bytes, names: set[bytes], negated: bool) -> bytes:
    """The header fields with one of these names (or without), in their order, and the empty line."""
    chosen = [field for field in split_fields(header) if (field_name(field) in names) is not negated]
    return b"".join(chosen) + b"\r\n"
