"""Header fields as bytes (RFC 5322 section 2.2), and those that a chatmail server takes out on the way."""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["clean_header", "field_name", "has_bad_bytes", "split_fields", "strip_traces"]

_AT_SUBMISSION = frozenset({b"received", b"x-originating-ip", b"x-mailer", b"user-agent"})
"""Fields that would tell where and how the sender wrote."""
_AT_DELIVERY = frozenset({b"dkim-signature", b"authentication-results", b"received"})
_SUBJECT = b"Subject: [...]\r\n"


def split_fields(header: bytes) -> Iterator[bytes]:
    """Each field with its continuation lines, without the empty line at the end."""
    field: list[bytes] = []
    for line in header.splitlines(keepends=True):
        if line in (b"\r\n", b"\n"):
            break
        if line[:1] not in (b" ", b"\t") and field:
            yield b"".join(field)
            field = []
        field.append(line)
    if field:
        yield b"".join(field)


def field_name(field: bytes) -> bytes:
    """In lower case."""
    return field.partition(b":")[0].strip().lower()


def clean_header(content: bytes) -> bytes:
    """The message as submission and local delivery of chatmail leave it: all but some fields of its outer header, and
    no subject. Every other byte stays."""
    end = content.find(b"\r\n\r\n") + 2
    header = content[:end] if end > 1 and not content.startswith(b"\r\n") else b""
    return b"".join(map(_cleaned, split_fields(header))) + content[len(header) :]


def strip_traces(content: bytes) -> bytes:
    """Mail of another server as local delivery of chatmail leaves it: without what servers on its way wrote for each
    other. Every other byte stays."""
    end = content.find(b"\r\n\r\n") + 2
    header = content[:end] if end > 1 and not content.startswith(b"\r\n") else b""
    kept = (each for each in split_fields(header) if field_name(each) not in _AT_DELIVERY)
    return b"".join(kept) + content[len(header) :]


def _cleaned(field: bytes) -> bytes:
    name = field_name(field)
    if name in _AT_SUBMISSION or name in _AT_DELIVERY:
        return b""
    return _SUBJECT if name == b"subject" else field


def has_bad_bytes(content: bytes) -> bool:
    """True when there is a CR or LF that is not part of a line end, or a NUL (RFC 5321 section 2.3.8, RFC 5322)."""
    ends = content.count(b"\r\n")
    return content.count(b"\r") != ends or content.count(b"\n") != ends or b"\0" in content
