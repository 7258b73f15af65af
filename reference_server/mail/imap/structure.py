"""ENVELOPE and BODYSTRUCTURE (RFC 3501 section 7.4.2) of a message."""

from __future__ import annotations

import re
from collections.abc import Iterable

from reference_server.mail.dialects import literal, quoted
from reference_server.mail.mime import without_comments

from .addresses import Address, addresses
from .entities import Entity
from .headers import field_value

__all__ = ["body_structure", "envelope"]

_QUOTABLE = re.compile(rb"[\x20-\x7e]{0,1000}")
_PARAMETER = re.compile(r';\s*([^\s=;"]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;"]*))')
MAX_PARAMETERS = 4096
"""Bytes of a Content-Type or Content-Disposition that are looked at."""
_ADDRESS_FIELDS = (b"from", b"sender", b"reply-to", b"to", b"cc", b"bcc")


def nstring(value: str | bytes | None) -> bytes:
    if value is None:
        return b"NIL"
    raw = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
    raw = raw.replace(b"\0", b"")  # no string of IMAP can carry it
    return quoted(raw) if _QUOTABLE.fullmatch(raw) else literal(raw)


def envelope(header: bytes) -> bytes:
    found = {name: addresses(field_value(header, name) or b"") for name in _ADDRESS_FIELDS}
    for name in (b"sender", b"reply-to"):
        found[name] = found[name] or found[b"from"]
    return (
        b"("
        + b" ".join(
            [
                nstring(field_value(header, b"date")),
                nstring(field_value(header, b"subject")),
                *(_address_list(found[name]) for name in _ADDRESS_FIELDS),
                nstring(field_value(header, b"in-reply-to")),
                nstring(field_value(header, b"message-id")),
            ]
        )
        + b")"
    )


def _address_list(found: Iterable[Address]) -> bytes:
    entries = [b"(%b)" % b" ".join(map(nstring, address)) for address in found]
    return b"(" + b"".join(entries) + b")" if entries else b"NIL"


def body_structure(entity: Entity, *, extended: bool) -> bytes:
    """`extended`: BODYSTRUCTURE, else BODY."""
    main, sub = entity.type
    if entity.children:
        parts = b"".join(body_structure(child, extended=extended) for child in entity.children)
        fields = [parts + b" " + nstring(sub)]
        if extended:
            fields.append(_parameters(_content_type(entity)[1:]))
    else:
        fields = [nstring(main), nstring(sub), *_basic(entity)]
        if entity.message is not None:
            fields.append(envelope(entity.message.header))
            fields.append(body_structure(entity.message, extended=extended))
        if entity.message is not None or main == "text":
            fields.append(b"%d" % entity.content.count(b"\n", entity.body_start, entity.end))
        if extended:
            fields.append(nstring(_field(entity, b"content-md5")))
    if extended:
        fields += [_disposition(entity), _language(entity), nstring(_field(entity, b"content-location"))]
    return b"(" + b" ".join(fields) + b")"


def _basic(entity: Entity) -> list[bytes]:
    """Parameters, ID, description, encoding and size in bytes."""
    return [
        _parameters(_content_type(entity)[1:]),
        nstring(_field(entity, b"content-id")),
        nstring(_field(entity, b"content-description")),
        nstring(_encoding(entity)),
        b"%d" % (entity.end - entity.body_start),
    ]


def _field(entity: Entity, name: bytes) -> bytes | None:
    return field_value(entity.header, name)


def _encoding(entity: Entity) -> str:
    value = (_field(entity, b"content-transfer-encoding") or b"").decode("utf-8", "surrogateescape")
    return without_comments(value).strip() or "7bit"


def _content_type(entity: Entity) -> list[tuple[str, str]]:
    return _split_parameters(_field(entity, b"content-type") or b"text/plain")


def _disposition(entity: Entity) -> bytes:
    value = _field(entity, b"content-disposition")
    if not value:
        return b"NIL"
    (kind, _nothing), *parameters = _split_parameters(value)
    return b"(%b %b)" % (nstring(kind), _parameters(parameters))


def _language(entity: Entity) -> bytes:
    value = _field(entity, b"content-language")
    languages = [part.strip() for part in value.split(b",")] if value else []
    if len(languages) < 2:
        return nstring(languages[0] if languages else None)
    return b"(" + b" ".join(map(nstring, languages)) + b")"


def _split_parameters(value: bytes) -> list[tuple[str, str]]:
    """The value itself, then names and values."""
    text = without_comments(value[:MAX_PARAMETERS].decode("utf-8", "surrogateescape"))
    head = text.partition(";")[0].strip()
    found = [(head, "")]
    for match in _PARAMETER.finditer(text, len(text.partition(";")[0])):
        plain = match[3].strip() if match[2] is None else re.sub(r"\\(.)", r"\1", match[2])
        found.append((match[1], plain))
    return found


def _parameters(pairs: Iterable[tuple[str, str]]) -> bytes:
    flat = [nstring(word) for pair in pairs for word in pair]
    return b"(" + b" ".join(flat) + b")" if flat else b"NIL"
