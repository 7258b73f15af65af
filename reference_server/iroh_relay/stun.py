"""STUN binding responder (RFC 5389, section 7.3.1): tells a client the address that its datagram came from.

iroh 0.35 measures its distance to a relay with it, always on UDP 3478. Nothing else of STUN is spoken here.
"""

from __future__ import annotations

import ipaddress
import struct
import zlib
from dataclasses import dataclass

__all__ = ["StunCounters", "answer"]

_HEADER = struct.Struct(">HHI12s")
_ATTRIBUTE = struct.Struct(">HH")
BINDING_REQUEST = 0x0001
BINDING_SUCCESS = 0x0101
MAGIC_COOKIE = 0x2112A442
XOR_MAPPED_ADDRESS = 0x0020
FINGERPRINT = 0x8028
FINGERPRINT_XOR = 0x5354554E


@dataclass(slots=True)
class StunCounters:
    """Group `stun` of the metrics."""

    requests: int = 0
    ipv4_success: int = 0
    ipv6_success: int = 0
    bad_requests: int = 0
    failures: int = 0


def answer(datagram: bytes, host: str, port: int) -> bytes | None:
    """The success response for a binding request from `host`:`port`, or None for anything else."""
    if len(datagram) < _HEADER.size:
        return None
    kind, length, cookie, transaction = _HEADER.unpack_from(datagram)
    if kind != BINDING_REQUEST or cookie != MAGIC_COOKIE or length != len(datagram) - _HEADER.size:
        return None
    if length and not _ends_in_fingerprint(datagram):
        return None
    value = _xor_mapped_address(host, port, transaction)
    attribute = _ATTRIBUTE.pack(XOR_MAPPED_ADDRESS, len(value)) + value
    return _HEADER.pack(BINDING_SUCCESS, len(attribute), MAGIC_COOKIE, transaction) + attribute


def _ends_in_fingerprint(datagram: bytes) -> bool:
    """Check that the last attribute is a right FINGERPRINT (RFC 5389, section 15.5); upstream insists on it."""
    offset = _HEADER.size
    while offset + _ATTRIBUTE.size <= len(datagram):
        kind, length = _ATTRIBUTE.unpack_from(datagram, offset)
        value = offset + _ATTRIBUTE.size
        following = value + (length + 3) // 4 * 4
        if following == len(datagram) and kind == FINGERPRINT and length == 4:
            expected = zlib.crc32(datagram[:offset]) ^ FINGERPRINT_XOR
            return int.from_bytes(datagram[value:following], "big") == expected
        offset = following
    return False


def _xor_mapped_address(host: str, port: int, transaction: bytes) -> bytes:
    """RFC 5389, section 15.2. An IPv4 address that reached an IPv6 socket is reported as IPv4."""
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    mask = (MAGIC_COOKIE.to_bytes(4, "big") + transaction)[: len(address.packed)]
    hidden = bytes(a ^ b for a, b in zip(address.packed, mask, strict=True))
    return struct.pack(">xBH", 1 if address.version == 4 else 2, port ^ (MAGIC_COOKIE >> 16)) + hidden
