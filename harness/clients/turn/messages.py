"""STUN and TURN messages as a client writes and reads them (RFC 8489, RFC 8656), for the probe in `turn`."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

__all__ = [
    "Address",
    "Attribute",
    "ChannelData",
    "FormatError",
    "Message",
    "MessageClass",
    "Method",
    "StreamDecoder",
    "address_value",
    "decode",
    "integrity_holds",
    "long_term_key",
    "read_address",
    "read_plain_address",
]

Address = tuple[str, int]
"""An IP address and a port."""

MAGIC_COOKIE = bytes.fromhex("2112a442")
HEADER_SIZE = 20
TRANSACTION_SIZE = 12
CHANNEL_HEADER_SIZE = 4
INTEGRITY_SIZE = 4 + 20
FINGERPRINT_SIZE = 4 + 4
FINGERPRINT_MASK = 0x5354554E
ADDRESS_FAMILIES = {1: 4, 2: 16}
"""Number of a family and size of its addresses in bytes."""


class FormatError(Exception):
    """Bytes that are neither STUN nor ChannelData. The text says what is wrong with them."""


class Method(IntEnum):
    BINDING = 0x001
    ALLOCATE = 0x003
    REFRESH = 0x004
    SEND = 0x006
    DATA = 0x007
    CREATE_PERMISSION = 0x008
    CHANNEL_BIND = 0x009

    def __str__(self) -> str:
        return self.name.title().replace("_", "")


class MessageClass(IntEnum):
    """The class of a message, as the two bits of the type that carry it."""

    REQUEST = 0x000
    INDICATION = 0x010
    SUCCESS = 0x100
    ERROR = 0x110


class Attribute(IntEnum):
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
    SOFTWARE = 0x8022
    ALTERNATE_SERVER = 0x8023
    FINGERPRINT = 0x8028


@dataclass(frozen=True)
class Message:
    """A STUN message. `attributes` are pairs of number and value, in their order, without padding."""

    method: int
    kind: MessageClass
    attributes: Sequence[tuple[int, bytes]] = ()
    transaction: bytes = field(default_factory=lambda: secrets.token_bytes(TRANSACTION_SIZE))

    def get(self, attribute: Attribute) -> bytes | None:
        """The first value of an attribute; what follows MESSAGE-INTEGRITY does not count (RFC 8489, 14.5)."""
        for number, value in self.attributes:
            if number == attribute:
                return value
            if number == Attribute.MESSAGE_INTEGRITY:
                break
        return None

    def encode(self, key: bytes | None = None, *, fingerprint: bool = False) -> bytes:
        """The bytes of the message, signed if there is a key."""
        body = b"".join(_encode_attribute(*each) for each in self.attributes)
        if key is not None:
            signature = _signature(key, self._header(len(body) + INTEGRITY_SIZE) + body)
            body += _encode_attribute(Attribute.MESSAGE_INTEGRITY, signature)
        if fingerprint:
            checksum = zlib.crc32(self._header(len(body) + FINGERPRINT_SIZE) + body) ^ FINGERPRINT_MASK
            body += _encode_attribute(Attribute.FINGERPRINT, checksum.to_bytes(4, "big"))
        return self._header(len(body)) + body

    def _header(self, length: int) -> bytes:
        number = _spread(self.method) | self.kind
        return number.to_bytes(2, "big") + length.to_bytes(2, "big") + MAGIC_COOKIE + self.transaction


@dataclass(frozen=True)
class ChannelData:
    """Payload on a channel (RFC 8656, 12.4)."""

    channel: int
    data: bytes

    def encode(self, *, padded: bool = False) -> bytes:
        """The bytes on the wire; on a stream they are padded to four."""
        text = self.channel.to_bytes(2, "big") + len(self.data).to_bytes(2, "big") + self.data
        return text + bytes(-len(text) % 4) if padded else text


def decode(data: bytes) -> Message | ChannelData:
    """One datagram or frame from a server. Raises `FormatError`."""
    if data and 0x40 <= data[0] <= 0x4F:
        size = int.from_bytes(data[2:4], "big")
        if len(data) < CHANNEL_HEADER_SIZE + size:
            raise FormatError(f"ChannelData of {size} bytes in a datagram of {len(data)}")
        return ChannelData(int.from_bytes(data[:2], "big"), data[CHANNEL_HEADER_SIZE:][:size])
    if len(data) < HEADER_SIZE or data[0] > 3 or data[4:8] != MAGIC_COOKIE:
        raise FormatError(f"neither STUN nor ChannelData: {data[:20].hex()}")
    number, size = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
    if size != len(data) - HEADER_SIZE or size % 4:
        raise FormatError(f"a STUN message of {len(data)} bytes with a length field of {size}")
    kind = MessageClass(number & 0x110)
    return Message(_gather(number), kind, _decode_attributes(data), data[8:HEADER_SIZE])


def integrity_holds(data: bytes, key: bytes) -> bool:
    """True if the bytes of a message carry a MESSAGE-INTEGRITY of this key. They are taken as received."""
    position = HEADER_SIZE
    while position + 4 <= len(data):
        number, size = (int.from_bytes(data[position + at :][:2], "big") for at in (0, 2))
        if number == Attribute.MESSAGE_INTEGRITY:
            length = (position + INTEGRITY_SIZE - HEADER_SIZE).to_bytes(2, "big")
            signed = data[:2] + length + data[4:position]
            return hmac.compare_digest(_signature(key, signed), data[position + 4 :][:size])
        position += 4 + size + -size % 4
    return False


def long_term_key(username: str, realm: str, password: str) -> bytes:
    """The key of RFC 8489, 9.2.2. The strings are used as they are: no OpaqueString preparation."""
    return hashlib.md5(f"{username}:{realm}:{password}".encode(), usedforsecurity=False).digest()


def address_value(address: Address, transaction: bytes) -> bytes:
    """An address as XOR-PEER-ADDRESS and its like carry it (RFC 8489, 14.2)."""
    packed = ipaddress.ip_address(address[0]).packed
    family = 1 if len(packed) == ADDRESS_FAMILIES[1] else 2
    port = address[1] ^ int.from_bytes(MAGIC_COOKIE[:2], "big")
    return bytes([0, family]) + port.to_bytes(2, "big") + _xor(packed, MAGIC_COOKIE + transaction)


def read_address(value: bytes, transaction: bytes) -> Address:
    """The reverse of `address_value`. Raises `FormatError`."""
    if len(value) < 4 or ADDRESS_FAMILIES.get(value[1]) != len(value) - 4:
        raise FormatError(f"no address: {value.hex()}")
    port = int.from_bytes(value[2:4], "big") ^ int.from_bytes(MAGIC_COOKIE[:2], "big")
    return str(ipaddress.ip_address(_xor(value[4:], MAGIC_COOKIE + transaction))), port


def read_plain_address(value: bytes) -> Address:
    """The address in an attribute that is not obfuscated: ALTERNATE-SERVER (RFC 8489, 14.15). Raises `FormatError`."""
    if len(value) < 4 or ADDRESS_FAMILIES.get(value[1]) != len(value) - 4:
        raise FormatError(f"no address: {value.hex()}")
    return str(ipaddress.ip_address(value[4:])), int.from_bytes(value[2:4], "big")


class StreamDecoder:
    """Cuts what arrives over TCP or TLS into messages. A frame's length field bounds what it keeps."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that are complete now, without the padding of ChannelData. Raises `FormatError`."""
        self._buffer += data
        frames = []
        while len(self._buffer) >= CHANNEL_HEADER_SIZE:
            size = int.from_bytes(self._buffer[2:4], "big")
            if self._buffer[0] <= 3:
                used = whole = HEADER_SIZE + size
            elif 0x40 <= self._buffer[0] <= 0x4F:
                used = CHANNEL_HEADER_SIZE + size
                whole = used + -used % 4
            else:
                raise FormatError(f"neither STUN nor ChannelData on the stream: {self._buffer[:20].hex()}")
            if len(self._buffer) < whole:
                break
            frames.append(bytes(self._buffer[:used]))
            del self._buffer[:whole]
        return frames


def _encode_attribute(number: int, value: bytes) -> bytes:
    return number.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value + bytes(-len(value) % 4)


def _decode_attributes(data: bytes) -> tuple[tuple[int, bytes], ...]:
    found = []
    position = HEADER_SIZE
    while position < len(data):
        number, size = (int.from_bytes(data[position + at :][:2], "big") for at in (0, 2))
        if position + 4 + size > len(data):
            raise FormatError(f"attribute {number:#06x} is longer than its message")
        found.append((number, data[position + 4 :][:size]))
        position += 4 + size + -size % 4
    return tuple(found)


def _signature(key: bytes, data: bytes) -> bytes:
    return hmac.digest(key, data, "sha1")


def _xor(value: bytes, key: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(value, key, strict=False))


def _spread(method: int) -> int:
    """The method's twelve bits, with room for the two of the class (RFC 8489, 5)."""
    return (method & 0xF80) << 2 | (method & 0x070) << 1 | method & 0x00F


def _gather(number: int) -> int:
    return (number & 0x3E00) >> 2 | (number & 0x00E0) >> 1 | number & 0x000F
