"""STUN messages and their attributes (RFC 8489), with what TURN adds (RFC 8656). Bytes in, values out.

`parse` is strict: whatever is not exactly a STUN message is None, and nobody answers it. The raw bytes stay with
the message, because MESSAGE-INTEGRITY covers padding as it was sent.
"""

from __future__ import annotations

import hmac
import socket
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

__all__ = [
    "HEADER_SIZE",
    "Address",
    "AddressFamily",
    "Attribute",
    "Class",
    "Error",
    "Message",
    "Method",
    "attribute",
    "build",
    "channel_header",
    "decode_address",
    "encode_address",
    "error_value",
    "parse",
    "xor_address",
    "xor_decode",
]

MAGIC_COOKIE = 0x2112A442
FINGERPRINT_XOR = 0x5354554E
HEADER_SIZE = 20
INTEGRITY_SIZE = 24
"""MESSAGE-INTEGRITY with its head."""

_HEADER = struct.Struct(">HHI12s")
_HEAD = struct.Struct(">HH")


class Method(IntEnum):
    BINDING = 0x001
    ALLOCATE = 0x003
    REFRESH = 0x004
    SEND = 0x006
    DATA = 0x007
    CREATE_PERMISSION = 0x008
    CHANNEL_BIND = 0x009


class Class(IntEnum):
    REQUEST = 0x000
    INDICATION = 0x010
    SUCCESS = 0x100
    ERROR = 0x110


class Attribute(IntEnum):
    MAPPED_ADDRESS = 0x0001
    USERNAME = 0x0006
    MESSAGE_INTEGRITY = 0x0008
    ERROR_CODE = 0x0009
    UNKNOWN_ATTRIBUTES = 0x000A
    CHANNEL_NUMBER = 0x000C
    LIFETIME = 0x000D
    XOR_PEER_ADDRESS = 0x0012
    DATA = 0x0013
    REALM = 0x0014
    NONCE = 0x0015
    XOR_RELAYED_ADDRESS = 0x0016
    REQUESTED_ADDRESS_FAMILY = 0x0017
    EVEN_PORT = 0x0018
    REQUESTED_TRANSPORT = 0x0019
    DONT_FRAGMENT = 0x001A
    XOR_MAPPED_ADDRESS = 0x0020
    RESERVATION_TOKEN = 0x0022
    ADDITIONAL_ADDRESS_FAMILY = 0x8000
    ADDRESS_ERROR_CODE = 0x8001
    FINGERPRINT = 0x8028


KNOWN = frozenset(int(known) for known in Attribute)


class Error(IntEnum):
    """Error codes; the spelling is the RFC's reason phrase."""

    BAD_REQUEST = 400
    UNAUTHENTICATED = 401
    FORBIDDEN = 403
    UNKNOWN_ATTRIBUTE = 420
    ALLOCATION_MISMATCH = 437
    STALE_NONCE = 438
    ADDRESS_FAMILY_NOT_SUPPORTED = 440
    WRONG_CREDENTIALS = 441
    UNSUPPORTED_TRANSPORT = 442
    PEER_ADDRESS_FAMILY_MISMATCH = 443
    ALLOCATION_QUOTA_REACHED = 486
    INSUFFICIENT_CAPACITY = 508


class AddressFamily(IntEnum):
    """As MAPPED-ADDRESS and REQUESTED-ADDRESS-FAMILY number them (RFC 8489, section 14.1)."""

    IPV4 = 1
    IPV6 = 2

    @classmethod
    def of(cls, host: str) -> AddressFamily:
        return cls.IPV6 if ":" in host else cls.IPV4

    @property
    def socket_family(self) -> socket.AddressFamily:
        """The number that the kernel has for it."""
        return socket.AF_INET6 if self is AddressFamily.IPV6 else socket.AF_INET


class Address(NamedTuple):
    """A transport address; `host` is an IP address as text in its shortest form."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def family(self) -> AddressFamily:
        return AddressFamily.of(self.host)


@dataclass(frozen=True, slots=True)
class Message:
    """One STUN message. `attributes` ends before MESSAGE-INTEGRITY: what follows it is not authenticated."""

    method: int
    kind: Class
    transaction: bytes
    attributes: tuple[tuple[int, bytes], ...]
    integrity_at: int | None
    """Offset of MESSAGE-INTEGRITY in `raw`."""
    raw: bytes

    def get(self, kind: Attribute) -> bytes | None:
        """The first occurrence, which is the one that counts (RFC 8489, section 14)."""
        for known, value in self.attributes:
            if known == kind:
                return value
        return None

    def every(self, kind: Attribute) -> list[bytes]:
        return [value for known, value in self.attributes if known == kind]

    def unknown(self) -> list[int]:
        """Types that must be understood (below 0x8000) and are not, each once."""
        found = (kind for kind, _ in self.attributes if kind < 0x8000 and kind not in KNOWN)
        return list(dict.fromkeys(found))

    def is_signed_with(self, key: bytes) -> bool:
        """Check that MESSAGE-INTEGRITY is there and right (RFC 8489, section 14.5)."""
        at = self.integrity_at
        if at is None:
            return False
        covered = bytearray(self.raw[:at])
        struct.pack_into(">H", covered, 2, at + INTEGRITY_SIZE - HEADER_SIZE)
        return hmac.compare_digest(hmac.digest(key, covered, "sha1"), self.raw[at + 4 : at + INTEGRITY_SIZE])


def parse(data: bytes) -> Message | None:
    """The message that `data` is from its first to its last byte, or None."""
    if len(data) < HEADER_SIZE:
        return None
    kind, length, cookie, transaction = _HEADER.unpack_from(data)
    if kind > 0x3FFF or cookie != MAGIC_COOKIE or length % 4 or length != len(data) - HEADER_SIZE:
        return None
    attributes: list[tuple[int, bytes]] = []
    integrity_at: int | None = None
    offset = HEADER_SIZE
    while offset < len(data):
        attribute_kind, size = _HEAD.unpack_from(data, offset)
        value = data[offset + 4 : offset + 4 + size]
        following = offset + 4 + (size + 3) // 4 * 4
        if following > len(data):
            return None
        if attribute_kind == Attribute.FINGERPRINT:
            if following != len(data) or not _fingerprint_is_right(data, offset, value):
                return None
        elif integrity_at is None:
            if attribute_kind == Attribute.MESSAGE_INTEGRITY:
                if size != INTEGRITY_SIZE - 4:
                    return None
                integrity_at = offset
            else:
                attributes.append((attribute_kind, value))
        offset = following
    method = kind & 0x000F | (kind & 0x00E0) >> 1 | (kind & 0x3E00) >> 2
    return Message(method, Class(kind & 0x0110), transaction, tuple(attributes), integrity_at, data)


def _fingerprint_is_right(data: bytes, offset: int, value: bytes) -> bool:
    return len(value) == 4 and zlib.crc32(data[:offset]) ^ FINGERPRINT_XOR == int.from_bytes(value, "big")


def attribute(kind: int, value: bytes) -> bytes:
    """One attribute with its head and zero padding."""
    return _HEAD.pack(kind, len(value)) + value + bytes(-len(value) % 4)


def build(
    method: Method,
    kind: Class,
    transaction: bytes,
    attributes: Iterable[bytes] = (),
    key: bytes | None = None,
) -> bytes:
    """A whole message; with `key` it ends in MESSAGE-INTEGRITY."""
    body = b"".join(attributes)
    length = len(body) + (INTEGRITY_SIZE if key is not None else 0)
    spread = method & 0x000F | (method & 0x0070) << 1 | (method & 0x0F80) << 2
    message = _HEADER.pack(spread | kind, length, MAGIC_COOKIE, transaction) + body
    if key is not None:
        message += attribute(Attribute.MESSAGE_INTEGRITY, hmac.digest(key, message, "sha1"))
    return message


def error_value(code: Error) -> bytes:
    """The value of ERROR-CODE without a reason phrase: replies to strangers stay small."""
    return struct.pack(">HBB", 0, code // 100, code % 100)


def encode_address(address: Address) -> bytes:
    """The value of MAPPED-ADDRESS (RFC 8489, section 14.1)."""
    family = address.family
    packed = socket.inet_pton(family.socket_family, address.host)
    return struct.pack(">BBH", 0, family, address.port) + packed


def decode_address(value: bytes) -> Address | None:
    """None when the family or the length is wrong."""
    if len(value) == 8 and value[1] == AddressFamily.IPV4:
        host = socket.inet_ntop(socket.AF_INET, value[4:])
    elif len(value) == 20 and value[1] == AddressFamily.IPV6:
        host = socket.inet_ntop(socket.AF_INET6, value[4:])
    else:
        return None
    return Address(host, int.from_bytes(value[2:4], "big"))


def xor_address(kind: Attribute, address: Address, transaction: bytes) -> bytes:
    """An XOR-...-ADDRESS attribute (RFC 8489, section 14.2)."""
    return attribute(kind, _hide(encode_address(address), transaction))


def xor_decode(value: bytes, transaction: bytes) -> Address | None:
    """The address in an XOR-...-ADDRESS value; None when it is malformed."""
    return decode_address(_hide(value, transaction)) if len(value) in (8, 20) else None


def _hide(value: bytes, transaction: bytes) -> bytes:
    cookie = MAGIC_COOKIE.to_bytes(4, "big")
    mask = (bytes(2) + cookie[:2] + cookie + transaction)[: len(value)]
    return bytes(a ^ b for a, b in zip(value, mask, strict=True))


def channel_header(number: int, length: int) -> bytes:
    """The four bytes before the data of a channel (RFC 8656, section 12.4)."""
    return _HEAD.pack(number, length)
