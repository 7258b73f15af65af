"""Contents of header fields, for ENVELOPE and SEARCH; as bytes, because senders write what they like."""

from __future__ import annotations

import re
from email.errors import HeaderParseError
from email.header import decode_header

from reference_server.mail.fields import field_name, split_fields

__all__ = ["decoded", "field_value"]

MAX_ENCODED_FIELD = 64 * 1024

_FOLD = re.compile(rb"\r?\n(?=[ \t])")


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
