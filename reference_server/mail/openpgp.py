"""Is this an encrypted OpenPGP message? Looks at the packet structure only (RFC 9580 sections 4.2 and 6)."""

from __future__ import annotations

import base64
import binascii
import re

__all__ = ["is_armored_encrypted_message", "is_encrypted_message"]

PKESK, SKESK, SEIPD = 1, 3, 18

_ARMOR = re.compile(
    rb"-----BEGIN PGP MESSAGE-----\r\n"
    rb"(?P<comment>Version: [^\r\n]*\r\n)?"
    rb"(?:\r\n){1,8}"
    rb"(?P<base64>[A-Za-z0-9+/\r\n]+={0,2}\r\n)"
    rb"(?:=[A-Za-z0-9+/]{4}\r\n)?"  # CRC24: optional since RFC 9580, and not secret
    rb"-----END PGP MESSAGE-----\r\n"
)


def is_armored_encrypted_message(armor: bytes, *, may_have_version: bool) -> bool:
    """ASCII armour with CRLF line ends, nothing before and nothing after it."""
    match = _ARMOR.fullmatch(armor.rstrip(b"\r\n") + b"\r\n")
    if match is None or (match["comment"] and not may_have_version):
        return False
    try:
        packets = base64.b64decode(match["base64"].replace(b"\r\n", b""), validate=True)
    except binascii.Error:
        return False
    return is_encrypted_message(packets)


def is_encrypted_message(packets: bytes) -> bool:
    """Session key packets, then one SEIPD packet that ends exactly at the end; new format headers only."""
    at = 0
    while at < len(packets):
        if packets[at] & 0xC0 != 0xC0:
            return False
        kind = packets[at] & 0x3F
        end = _packet_end(packets, at + 1)
        if end is None or end > len(packets):
            return False
        if kind == SEIPD:
            return end == len(packets)
        if kind not in (PKESK, SKESK):
            return False
        at = end
    return False


def _packet_end(packets: bytes, at: int) -> int | None:
    """Position at which a packet ends whose length starts at `at`; None if the length is cut off (section 4.2.1)."""
    while at < len(packets):
        first = packets[at]
        if first < 192:
            return at + 1 + first
        if first < 224:
            return None if at + 2 > len(packets) else at + 2 + ((first - 192) << 8) + packets[at + 1] + 192
        if first == 255:
            return at + 5 + int.from_bytes(packets[at + 1 : at + 5], "big")
        at += 1 + (1 << (first & 0x1F))  # a partial length: another length follows its bytes
    return None
