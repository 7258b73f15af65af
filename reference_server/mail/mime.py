"""As much of MIME as the submission policy needs, with a cost that does not depend on what is in a body.

(The standard library's parser looks at every line: seconds for 30 MB of empty ones.)
"""

from __future__ import annotations

import re
from email.message import Message
from email.parser import BytesHeaderParser
from email.policy import compat32

__all__ = ["MAX_HEADER", "MAX_PARTS", "parse_header", "split_parts"]

MAX_HEADER = 256 * 1024
MAX_PARTS = 8

_DELIMITER_END = re.compile(rb"[ \t]*\r\n")


def parse_header(content: bytes) -> tuple[Message, bytes] | None:
    """The header and the body after it; None if it is larger than `MAX_HEADER` bytes or has no end."""
    if content.startswith(b"\r\n"):
        return Message(), content[2:]
    end = content.find(b"\r\n\r\n", 0, MAX_HEADER)
    if end < 0:
        return None
    return BytesHeaderParser(policy=compat32).parsebytes(content[: end + 2]), content[end + 4 :]


def split_parts(header: Message, body: bytes) -> list[tuple[Message, bytes]]:
    """The parts of a multipart body (RFC 2046 section 5.1.1); none where it is malformed or has too many.

    What stands before the first and after the last boundary is no part and is not looked at.
    """
    boundary = header.get_boundary()
    if not boundary or not boundary.isascii():
        return []
    _preamble, *pieces = (b"\r\n" + body).split(b"\r\n--" + boundary.encode(), MAX_PARTS + 1)
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
