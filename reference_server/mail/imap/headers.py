"""Contents of header fields, for ENVELOPE and SEARCH; as bytes, because senders write what they like."""

from __future__ import annotations

import re
from email.errors import HeaderParseError
from email.header import decode_header
from email.utils import getaddresses

from reference_server.mail.fields import field_name, split_fields

__all__ = ["Address", "addresses", "decoded", "field_value"]

MAX_ADDRESS_FIELD = 64 * 1024
MAX_ENCODED_FIELD = 64 * 1024

_FOLD = re.compile(rb"\r?\n(?=[ \t])")

Address = tuple[str | None, str | None, str | None]
"""Display name, mailbox and host. A group begins with its name as mailbox and no host, and ends with only None."""


def field_value(header: bytes, name: bytes) -> bytes | None:
    """Of the first field of that name (in lower case), unfolded; None where there is none."""
    for field in split_fields(header):
        if field_name(field) == name:
            return _FOLD.sub(b"", field.partition(b":")[2]).strip().replace(b"\r", b"").replace(b"\n", b"")
    return None


def decoded(value: bytes) -> str:
    """With its encoded words (RFC 2047) as text, as far as they can be read."""
    text = value.decode("utf-8", "replace")
    if "=?" not in text or len(text) > MAX_ENCODED_FIELD:
        return text
    try:
        return "".join(
            word.decode(charset or "ascii", "replace") if isinstance(word, bytes) else word
            for word, charset in decode_header(text)
        )
    except (HeaderParseError, LookupError, ValueError):
        return text


def addresses(value: bytes) -> list[Address]:
    """An address list; none where it cannot be read."""
    text = value.decode("utf-8", "surrogateescape")
    if len(text) > MAX_ADDRESS_FIELD:
        return []
    name, colon, rest = text.strip().partition(":")
    if colon and rest.endswith(";") and not set('<>@,"()') & set(name) and not set(":;") & set(rest[:-1]):
        return [(None, name.strip(), None), *_mailboxes(rest[:-1]), (None, None, None)]
    return _mailboxes(text)


def _mailboxes(text: str) -> list[Address]:
    try:
        pairs = getaddresses([text])
    except (HeaderParseError, ValueError, IndexError, RecursionError):
        return []  # the last one: comments in comments
    found: list[Address] = []
    for name, address in pairs:
        mailbox, _, host = address.rpartition("@")
        if address:
            found.append((name or None, mailbox or host, host if mailbox else ""))
    return found
