"""A message as a tree of MIME entities (RFC 2045, 2046), found by their positions, with bounds on everything."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.message import Message
from functools import cached_property

from reference_server.mail.mime import MAX_HEADER, boundary_of, read_fields

__all__ = ["Entity", "read_entity"]

MAX_DEPTH = 10
MAX_ENTITIES = 200
"""Parts beyond it stay inside of the last one."""

_DELIMITER_END = re.compile(rb"(--)?[ \t]*(?:\r\n|\Z)")


@dataclass(frozen=True)
class Entity:
    """A message, or a part of one: `content[start:body]` is its header with the empty line."""

    content: bytes
    start: int
    body_start: int
    end: int
    parsed: Message
    children: tuple[Entity, ...] = ()
    """Of a multipart; never empty there."""
    message: Entity | None = None
    """The message in a `message/rfc822`."""

    @property
    def header(self) -> bytes:
        return self.content[self.start : self.body_start]

    @property
    def body(self) -> bytes:
        return self.content[self.body_start : self.end]

    @cached_property
    def type(self) -> tuple[str, str]:
        """Main type and subtype, in lower case."""
        main, _, sub = self.parsed.get_content_type().partition("/")
        return main, sub

    def part(self, path: tuple[int, ...]) -> Entity | None:
        """`1.2`, as in BODY[1.2] (RFC 3501 section 6.4.5): a message that is no multipart has one part."""
        entity, whole = self, True
        for number in path:
            if entity.message is not None and not whole:
                entity, whole = entity.message, True
            if entity.children:
                if not 0 < number <= len(entity.children):
                    return None
                entity = entity.children[number - 1]
            elif not whole or number != 1:
                return None
            whole = False
        return entity


def read_entity(content: bytes) -> Entity:
    return _Reader(content).entity(0, len(content), "text/plain", depth=0)


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._left = MAX_ENTITIES

    def entity(self, start: int, end: int, default_type: str, depth: int) -> Entity:
        self._left -= 1
        content = self._content
        body = self._body_start(start, end)
        parsed = read_fields(content[start : min(body, start + MAX_HEADER)])
        parsed.set_default_type(default_type)
        main, _, sub = parsed.get_content_type().partition("/")
        children: tuple[Entity, ...] = ()
        message = None
        if main == "multipart":
            part_type = "message/rfc822" if sub == "digest" else "text/plain"
            spans = self._parts(parsed, body, end) if depth < MAX_DEPTH else []
            children = tuple(
                self.entity(first, last, part_type, depth + 1) for first, last in spans or [(end, end)]
            )
        elif (main, sub) == ("message", "rfc822") and depth < MAX_DEPTH and self._left > 0:
            message = self.entity(body, end, "text/plain", depth + 1)
        return Entity(content, start, body, end, parsed, children, message)

    def _body_start(self, start: int, end: int) -> int:
        if self._content.startswith(b"\r\n", start, end):
            return start + 2
        found = self._content.find(b"\r\n\r\n", start, end)
        return end if found < 0 else found + 4

    def _parts(self, parsed: Message, body: int, end: int) -> list[tuple[int, int]]:
        """Begin and end of each part of a multipart. The line end before its body is that of the empty line."""
        boundary = boundary_of(parsed)
        if not boundary:
            return []
        delimiter = b"\r\n--" + boundary
        spans: list[tuple[int, int]] = []
        first: int | None = None
        position = body - 2
        while self._left > len(spans) and (found := self._content.find(delimiter, position, end)) >= 0:
            after = _DELIMITER_END.match(self._content, found + len(delimiter), end)
            position = found + len(delimiter)
            if after is None:
                continue
            if first is not None:
                spans.append((first, max(first, found)))
                first = None
            if after[1]:
                return spans
            first = after.end()
            position = first - 2
        return [*spans, (first, end)] if first is not None else spans
