"""Reading IMAP responses with literals (RFC 3501, section 9), as far as METADATA needs it. Does no IO."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

__all__ = ["Form", "MetadataValue", "Token", "literal_size", "metadata_entries", "tokens"]

Form = Literal["quoted", "literal", "atom", "nil", "parenthesis"]

LITERAL_AT_END = re.compile(rb"\{(\d{1,9})\}\r\n\Z")
TOKEN = re.compile(
    rb"""(?P<space>[ ]+)
       | (?P<end>\r?\n)
       | (?P<parenthesis>[()])
       | "(?P<quoted>(?:[^"\\\r\n]|\\["\\])*)"
       | ~?\{(?P<literal>\d{1,9})\}\r\n
       | (?P<nil>NIL(?=[ )\r\n]))
       | (?P<atom>[^\s(){}"]+)""",
    re.VERBOSE | re.IGNORECASE,
)


@dataclass(frozen=True)
class Token:
    """One piece of a response, and how it was written."""

    form: Form
    value: bytes


@dataclass(frozen=True)
class MetadataValue:
    """A value of METADATA and the form it came in: `quoted`, `literal`, `nil` (it is None), or bare `atom`."""

    value: str | None
    form: Form


def literal_size(line: bytes) -> int | None:
    """Number of bytes of literal that follow this line; None when the response ends with it."""
    match = LITERAL_AT_END.search(line)
    return int(match[1]) if match else None


def tokens(response: bytes) -> Iterator[Token]:
    """The pieces of one whole response, literals included. Raises `ValueError` where it is not IMAP."""
    position = 0
    while position < len(response):
        match = TOKEN.match(response, position)
        if match is None:
            raise ValueError(f"no IMAP at byte {position}: {response[position : position + 20]!r}")
        position = match.end()
        match match.lastgroup:
            case "space" | "end":
                continue
            case "literal":
                size = int(match["literal"])
                if position + size > len(response):
                    raise ValueError("a literal is longer than its response")
                yield Token("literal", response[position : position + size])
                position += size
            case "quoted":
                yield Token("quoted", re.sub(rb"\\(.)", rb"\1", match["quoted"]))
            case "parenthesis":
                yield Token("parenthesis", match["parenthesis"])
            case "nil":
                yield Token("nil", b"")
            case _:
                yield Token("atom", match["atom"])


def metadata_entries(response: bytes) -> dict[str, MetadataValue]:
    """Names and values of a `* METADATA mailbox (name value ...)` response (RFC 5464, 4.4.1).

    Another response has none: {}. Raises `ValueError` when it begins like one and is none.
    """
    if not re.match(rb"\* METADATA ", response, re.IGNORECASE):
        return {}
    _star, _name, _mailbox, *rest = tokens(response)
    if len(rest) < 2 or rest[0].value != b"(" or rest[-1].value != b")" or len(rest) % 2:
        raise ValueError("no METADATA entries in it: names and values do not make pairs")
    inner = rest[1:-1]
    if any(token.form == "parenthesis" for token in inner):
        raise ValueError("a list where a METADATA value belongs")
    return {
        name.value.decode(): MetadataValue(None if value.form == "nil" else value.value.decode(), value.form)
        for name, value in zip(inner[::2], inner[1::2], strict=True)
    }
