"""Frames of the relay protocol, generation 0.35 (protocol number 3), in both of their framings.

derp:       type u8 | length u32 big-endian | body
websocket:  one binary message = type u8 | body

Frames of the later generation are in v1/frames.py.
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
    "ClientInfo",
    "Frame",
    "FrameType",
    "Health",
    "KeepAlive",
    "NodeGone",
    "NotePreferred",
    "Ping",
    "Pong",
    "RecvPacket",
    "Restarting",
    "SendPacket",
    "decode",
    "encode",
    "message",
]

MAX_MESSAGE = 1024 * 1024
"""Bytes of one WebSocket message."""
MAX_PAYLOAD = 65_536
MAX_CLIENT_INFO = 4096
"""A real one has 106 bytes; upstream would take 1 MiB from a stranger."""
MAX_HEALTH = 4096
MAGIC = "RELAY🔑".encode()
SIGNATURE_LENGTH = 64


class FrameType(IntEnum):
    CLIENT_INFO = 2
    SEND_PACKET = 4
    RECV_PACKET = 5
    KEEP_ALIVE = 6
    NOTE_PREFERRED = 7
    NODE_GONE = 8
    PING = 12
    PONG = 13
    HEALTH = 14
    RESTARTING = 15


MAX_BODY: Mapping[int, int] = {
    FrameType.CLIENT_INFO: MAX_CLIENT_INFO,
    FrameType.SEND_PACKET: KEY_LENGTH + MAX_PAYLOAD,
    FrameType.RECV_PACKET: KEY_LENGTH + MAX_PAYLOAD,
    FrameType.KEEP_ALIVE: 0,
    FrameType.NOTE_PREFERRED: 1,
    FrameType.NODE_GONE: KEY_LENGTH,
    FrameType.PING: PING_LENGTH,
    FrameType.PONG: PING_LENGTH,
    FrameType.HEALTH: MAX_HEALTH,
    FrameType.RESTARTING: 8,
}
"""The largest body of each type: what is longer is wrong before it has arrived, so it is never buffered."""


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """The first frame of a client: who it is, signed. `text` is the signed message (a postcard varint)."""

    key: bytes
    signature: bytes
    text: bytes


@dataclass(frozen=True, slots=True)
class SendPacket:
    destination: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class RecvPacket:
    source: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class KeepAlive:
    pass


@dataclass(frozen=True, slots=True)
class NotePreferred:
    preferred: bool


@dataclass(frozen=True, slots=True)
class NodeGone:
    key: bytes


@dataclass(frozen=True, slots=True)
class Ping:
    data: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    data: bytes


@dataclass(frozen=True, slots=True)
class Health:
    problem: str


@dataclass(frozen=True, slots=True)
class Restarting:
    """Both times in milliseconds."""

    reconnect_in: int
    try_for: int


Frame: TypeAlias = (
    ClientInfo
    | SendPacket
    | RecvPacket
    | KeepAlive
    | NotePreferred
    | NodeGone
    | Ping
    | Pong
    | Health
    | Restarting
)


def _type_and_body(frame: Frame) -> tuple[FrameType, bytes]:  # noqa: PLR0911  # one per type
    match frame:
        case ClientInfo(key, signature, text):
            return FrameType.CLIENT_INFO, MAGIC + key + signature + text
        case SendPacket(key, payload):
            return FrameType.SEND_PACKET, key + payload
        case RecvPacket(key, payload):
            return FrameType.RECV_PACKET, key + payload
        case KeepAlive():
            return FrameType.KEEP_ALIVE, b""
        case NotePreferred(preferred):
            return FrameType.NOTE_PREFERRED, bytes([preferred])
        case NodeGone(key):
            return FrameType.NODE_GONE, key
        case Ping(data):
            return FrameType.PING, data
        case Pong(data):
            return FrameType.PONG, data
        case Health(problem):
            return FrameType.HEALTH, problem.encode()
        case Restarting(reconnect_in, try_for):
            return FrameType.RESTARTING, struct.pack(">II", reconnect_in, try_for)


def encode(frame: Frame) -> bytes:
    """The frame in derp framing."""
    kind, body = _type_and_body(frame)
    return HEADER.pack(kind, len(body)) + body


def message(frame: Frame) -> bytes:
    """The frame as the content of one binary WebSocket message."""
    kind, body = _type_and_body(frame)
    return bytes([kind]) + body


def decode(  # noqa: PLR0911  # one per type
    kind: int, body: bytes, *, valid_key: Callable[[bytes], bool] = is_point
) -> Frame:
    """One frame from its type and body. Raises `FrameError` for wrong lengths, values, keys and unknown types."""
    check_header(kind, len(body), MAX_BODY)
    match kind:
        case FrameType.CLIENT_INFO:
            return _client_info(body, valid_key)
        case FrameType.SEND_PACKET:
            return SendPacket(leading_key(body, valid_key), body[KEY_LENGTH:])
        case FrameType.RECV_PACKET:
            return RecvPacket(leading_key(body, valid_key), body[KEY_LENGTH:])
        case FrameType.KEEP_ALIVE:
            return KeepAlive()
        case FrameType.NOTE_PREFERRED:
            if body not in (b"\x00", b"\x01"):
                raise FrameError("NotePreferred says neither yes nor no")
            return NotePreferred(body == b"\x01")
        case FrameType.NODE_GONE:
            return NodeGone(leading_key(body, valid_key))
        case FrameType.PING:
            return Ping(exactly(PING_LENGTH, body))
        case FrameType.PONG:
            return Pong(exactly(PING_LENGTH, body))
        case FrameType.HEALTH:
            try:
                return Health(body.decode())
            except UnicodeDecodeError:
                raise FrameError("Health is not UTF-8") from None
        case _:  # check_header has refused every unknown type
            return Restarting(*struct.unpack(">II", exactly(8, body)))


def _client_info(body: bytes, valid_key: Callable[[bytes], bool]) -> ClientInfo:
    if not body.startswith(MAGIC):
        raise FrameError("ClientInfo without its magic bytes")
    key = leading_key(body[len(MAGIC) :], valid_key)
    rest = body[len(MAGIC) + KEY_LENGTH :]
    if len(rest) < SIGNATURE_LENGTH:
        raise FrameError("ClientInfo without a whole signature")
    return ClientInfo(key, rest[:SIGNATURE_LENGTH], rest[SIGNATURE_LENGTH:])
