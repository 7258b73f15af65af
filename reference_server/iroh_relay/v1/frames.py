"""Frames of the relay protocols `iroh-relay-v1` and `iroh-relay-v2` (iroh 0.91 to 1.x).

One binary WebSocket message is one frame: its type (a QUIC varint, which is one byte for every type that exists) and
its body. Handshake bodies are postcard. The two versions differ only in how a client is told about its connection:
Health is a sentence and belongs to version 1, Status is one byte and belongs to version 2.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from ..framing import HEADER, PING_LENGTH, FrameError, check_header, exactly, leading_key
from ..keys import KEY_LENGTH, is_point

__all__ = [
    "ClientAuth",
    "Datagram",
    "EndpointGone",
    "Frame",
    "FrameType",
    "Health",
    "Ping",
    "Pong",
    "Restarting",
    "ServerChallenge",
    "ServerConfirmsAuth",
    "ServerDeniesAuth",
    "Status",
    "decode",
    "encode",
    "message",
]

MAX_CONTENT = 65_536
"""Bytes of a frame behind its type."""
MAX_MESSAGE = 1 + MAX_CONTENT
CHALLENGE_LENGTH = 16
SIGNATURE_LENGTH = 64
MAX_REASON = 127
"""Bytes of the reason of a denial: its length stays a varint of one byte. Ours are far shorter."""
ECN_LENGTH = 1
SEGMENT_SIZE = struct.Struct(">H")


class FrameType(IntEnum):
    SERVER_CHALLENGE = 0
    CLIENT_AUTH = 1
    SERVER_CONFIRMS_AUTH = 2
    SERVER_DENIES_AUTH = 3
    CLIENT_TO_RELAY_DATAGRAM = 4
    CLIENT_TO_RELAY_DATAGRAM_BATCH = 5
    RELAY_TO_CLIENT_DATAGRAM = 6
    RELAY_TO_CLIENT_DATAGRAM_BATCH = 7
    ENDPOINT_GONE = 8
    PING = 9
    PONG = 10
    HEALTH = 11
    RESTARTING = 12
    STATUS = 13


DATAGRAMS = {
    FrameType.CLIENT_TO_RELAY_DATAGRAM: (False, False),
    FrameType.CLIENT_TO_RELAY_DATAGRAM_BATCH: (False, True),
    FrameType.RELAY_TO_CLIENT_DATAGRAM: (True, False),
    FrameType.RELAY_TO_CLIENT_DATAGRAM_BATCH: (True, True),
}
"""By type of frame: it comes from the relay, and it is a batch."""
DATAGRAM_TYPES = {directions: kind for kind, directions in DATAGRAMS.items()}

MAX_BODY: Mapping[int, int] = {
    FrameType.SERVER_CHALLENGE: CHALLENGE_LENGTH,
    FrameType.CLIENT_AUTH: KEY_LENGTH + 1 + SIGNATURE_LENGTH,
    FrameType.SERVER_CONFIRMS_AUTH: 0,
    FrameType.SERVER_DENIES_AUTH: 1 + MAX_REASON,
    **dict.fromkeys(DATAGRAMS, MAX_CONTENT),
    FrameType.ENDPOINT_GONE: KEY_LENGTH,
    FrameType.PING: PING_LENGTH,
    FrameType.PONG: PING_LENGTH,
    FrameType.HEALTH: MAX_CONTENT,
    FrameType.RESTARTING: 8,
    FrameType.STATUS: 1,
}
"""The largest body of each type."""


@dataclass(frozen=True, slots=True)
class ServerChallenge:
    challenge: bytes


@dataclass(frozen=True, slots=True)
class ClientAuth:
    key: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class ServerConfirmsAuth:
    pass


@dataclass(frozen=True, slots=True)
class ServerDeniesAuth:
    reason: str


@dataclass(frozen=True, slots=True)
class Datagram:
    """One datagram, or with `segment_size` a batch of datagrams of that many bytes; the last may be shorter.

    `key` names the destination on the way to the relay, the source on the way from it (`from_relay`). `ecn` is the
    congestion mark of IP: 0 none, 1 ECT(1), 2 ECT(0), 3 CE.
    """

    from_relay: bool
    key: bytes
    ecn: int
    contents: bytes
    segment_size: int | None = None


@dataclass(frozen=True, slots=True)
class EndpointGone:
    key: bytes


@dataclass(frozen=True, slots=True)
class Ping:
    data: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    data: bytes


@dataclass(frozen=True, slots=True)
class Health:
    """Version 1 only."""

    problem: str


@dataclass(frozen=True, slots=True)
class Restarting:
    """Both times in milliseconds."""

    reconnect_in: int
    try_for: int


@dataclass(frozen=True, slots=True)
class Status:
    """Version 2 only: 0 healthy, 1 another connection has the same key; clients tolerate other values."""

    code: int


Frame: TypeAlias = (
    ServerChallenge
    | ClientAuth
    | ServerConfirmsAuth
    | ServerDeniesAuth
    | Datagram
    | EndpointGone
    | Ping
    | Pong
    | Health
    | Restarting
    | Status
)


def _type_and_body(frame: Frame) -> tuple[FrameType, bytes]:  # noqa: PLR0911  # one per type
    match frame:
        case ServerChallenge(challenge):
            return FrameType.SERVER_CHALLENGE, challenge
        case ClientAuth(key, signature):
            return FrameType.CLIENT_AUTH, key + bytes([len(signature)]) + signature
        case ServerConfirmsAuth():
            return FrameType.SERVER_CONFIRMS_AUTH, b""
        case ServerDeniesAuth(reason):
            text = reason.encode()
            return FrameType.SERVER_DENIES_AUTH, bytes([len(text)]) + text
        case Datagram(from_relay, key, ecn, contents, segment_size):
            size = b"" if segment_size is None else SEGMENT_SIZE.pack(segment_size)
            kind = DATAGRAM_TYPES[from_relay, segment_size is not None]
            return kind, key + bytes([ecn]) + size + contents
        case EndpointGone(key):
            return FrameType.ENDPOINT_GONE, key
        case Ping(data):
            return FrameType.PING, data
        case Pong(data):
            return FrameType.PONG, data
        case Health(problem):
            return FrameType.HEALTH, problem.encode()
        case Restarting(reconnect_in, try_for):
            return FrameType.RESTARTING, struct.pack(">II", reconnect_in, try_for)
        case Status(code):
            return FrameType.STATUS, bytes([code])


def encode(frame: Frame) -> bytes:
    """The frame as it travels inside this package (framing.py)."""
    kind, body = _type_and_body(frame)
    return HEADER.pack(kind, len(body)) + body


def message(frame: Frame) -> bytes:
    """The frame as the content of one binary WebSocket message."""
    kind, body = _type_and_body(frame)
    return bytes([kind]) + body


def decode(  # noqa: PLR0911  # one per type
    kind: int, body: bytes, version: int, *, valid_key: Callable[[bytes], bool] = is_point
) -> Frame:
    """One frame of protocol `version` (1 or 2). Raises `FrameError` for wrong lengths, values, keys and types."""
    check_header(kind, len(body), MAX_BODY)
    match kind:
        case FrameType.SERVER_CHALLENGE:
            return ServerChallenge(exactly(CHALLENGE_LENGTH, body))
        case FrameType.CLIENT_AUTH:
            return _client_auth(body, valid_key)
        case FrameType.SERVER_CONFIRMS_AUTH:
            return ServerConfirmsAuth()
        case FrameType.SERVER_DENIES_AUTH:
            return ServerDeniesAuth(_reason(body))
        case FrameType.ENDPOINT_GONE:
            return EndpointGone(leading_key(body, valid_key))
        case FrameType.PING:
            return Ping(exactly(PING_LENGTH, body))
        case FrameType.PONG:
            return Pong(exactly(PING_LENGTH, body))
        case FrameType.HEALTH if version == 1:
            return Health(_text(body))
        case FrameType.STATUS if version == 2:
            return Status(exactly(1, body)[0])
        case FrameType.RESTARTING:
            return Restarting(*struct.unpack(">II", exactly(8, body)))
        case FrameType.HEALTH | FrameType.STATUS:
            raise FrameError(f"frame type {kind} does not exist in version {version}")
        case _:  # check_header has refused every unknown type
            return _datagram(*DATAGRAMS[FrameType(kind)], body, valid_key)


def _client_auth(body: bytes, valid_key: Callable[[bytes], bool]) -> ClientAuth:
    key, rest = leading_key(body, valid_key), body[KEY_LENGTH:]
    if rest[:1] != bytes([SIGNATURE_LENGTH]):
        raise FrameError("ClientAuth without a signature of 64 bytes")
    return ClientAuth(key, exactly(SIGNATURE_LENGTH, rest[1:]))


def _datagram(from_relay: bool, batch: bool, body: bytes, valid_key: Callable[[bytes], bool]) -> Datagram:
    key, rest = leading_key(body, valid_key), body[KEY_LENGTH:]
    fixed = ECN_LENGTH + (SEGMENT_SIZE.size if batch else 0)
    if len(rest) < fixed:
        raise FrameError("datagram is too short for its header")
    size = SEGMENT_SIZE.unpack_from(rest, ECN_LENGTH)[0] if batch else None
    return Datagram(from_relay, key, rest[0], rest[fixed:], size)


def _reason(body: bytes) -> str:
    if not body:
        raise FrameError("ServerDeniesAuth without a reason")
    return _text(exactly(body[0], body[1:]))


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise FrameError("a text is not UTF-8") from None
