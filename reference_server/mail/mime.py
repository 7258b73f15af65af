"""As much of MIME as the submission policy needs, with a cost that does not depend on what is in a body.

(The standard library's parser looks at every line: seconds for 30 MB of empty ones.)
"""

from __future__ import annotations

import re
from email.message import Message
from email.parser import BytesHeaderParser
from email.policy import compat32

__all__ = [
    "MAX_HEADER",
    "MAX_PARTS",
    "boundary_of",
    "parse_header",
    "read_fields",
    "split_parts",
    "without_comments",
]

MAX_HEADER = 256 * 1024
MAX_PARTS = 8

_FOLD = re.compile(rb"\r?\n(?=[ \t])")
_STRUCTURED = ("Content-Type", "Content-Transfer-Encoding")
_COMMENT_OR_NOT = re.compile(r'"(?:[^"\\]|\\.)*"?|\\.?|[()]|[^"\\()]+', re.DOTALL)
_DELIMITER_END = re.compile(rb"[ \t]*\r\n")


def parse_header(content: bytes) -> tuple[Message, bytes] | None:
    """The header and the body after it; None if the header is larger than `MAX_HEADER` bytes.

    A mail may be nothing but a header (RFC 5322 section 3.5).
    """
    if content.startswith(b"\r\n"):
        return Message(), content[2:]
    end = content.find(b"\r\n\r\n", 0, MAX_HEADER)
    if end < 0:
        return (read_fields(content), b"") if len(content) <= MAX_HEADER else None
    return read_fields(content[: end + 2]), content[end + 4 :]


def read_fields(header: bytes) -> Message:
    """Its fields, unfolded (RFC 5322 section 2.2.3), those of MIME without their comments (RFC 2045 section 5.1)."""
    fields = BytesHeaderParser(policy=compat32).parsebytes(_FOLD.sub(b"", header))
    for name in _STRUCTURED:
        value = fields.get(name)
        if isinstance(value, str) and "(" in value:
            fields.replace_header(name, without_comments(value))
    return fields


def without_comments(value: str) -> str:
    """A structured field without `(comments)`; as it is where one has no end."""
    kept, depth = [], 0
    for piece in _COMMENT_OR_NOT.findall(value):
        if piece == "(":
            depth += 1
        elif piece == ")" and depth:
            depth -= 1
        elif not depth:
            kept.append(piece)
    return value if depth else "".join(kept)


def boundary_of(fields: Message) -> bytes:
    """The delimiter of a multipart without its dashes; empty where there is none that can be read."""
    try:
        # Of a quoted pair: it is no character of a boundary.
        text = (fields.get_boundary() or "").replace("\\", "")
        return text.encode("ascii")
    except (ValueError, LookupError, TypeError):  # UnicodeError is a ValueError
        return b""


def split_parts(header: Message, body: bytes) -> list[tuple[Message, bytes]]:
    """The parts of a multipart body (RFC 2046 section 5.1.1); none where it is malformed or has too many.

    What stands before the first and after the last boundary is no part and is not looked at.
    """
    boundary = boundary_of(header)
    if not boundary:
        return []
    _preamble, *pieces = (b"\r\n" + body).split(b"\r\n--" + boundary, MAX_PARTS + 1)
    parts: list[tuple[Message, bytes]] = []
    for piece in pieces:
        if piece.startswith(b"--"):
            return parts
        delimiter_end = _DELIMITER_END.match(piece)
        part = parse_header(piece[delimiter_end.end() :]) if delimiter_end else None
        if part is None:
            return []
        parts.append(part)
    return []
