"""Frames of the relay protocol, generation 0.35 (protocol number 3), in both of their framings.

derp:       type u8 | length u32 big-endian | body
websocket:  one binary message = type u8 | body

Inside this package frames travel in derp framing; the WebSocket door (websocket.py) translates.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import TypeAlias

from .keys import KEY_LENGTH, is_point

__all__ = [
    "ClientInfo",
    "Frame",
    "FrameError",
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
    "frame_end",
    "frame_spans",
    "message",
]

HEADER = struct.Struct(">BI")
MAX_FRAME = 1024 * 1024
"""Bytes of one WebSocket message, and the largest length field of a derp header that is not nonsense."""
MAX_PAYLOAD = 65_536
MAX_CLIENT_INFO = 4096
"""A real one has 106 bytes; upstream would take 1 MiB from a stranger."""
MAX_HEALTH = 4096
PING_LENGTH = 8
MAGIC = "RELAY🔑".encode()
SIGNATURE_LENGTH = 64


class FrameError(Exception):
    """Bytes that are no frame of this protocol; the connection is closed without a reply."""


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


MAX_BODY = {
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
    check_header(kind, len(body))
    match kind:
        case FrameType.CLIENT_INFO:
            return _client_info(body, valid_key)
        case FrameType.SEND_PACKET:
            return SendPacket(_key(body, valid_key), body[KEY_LENGTH:])
        case FrameType.RECV_PACKET:
            return RecvPacket(_key(body, valid_key), body[KEY_LENGTH:])
        case FrameType.KEEP_ALIVE:
            return KeepAlive()
        case FrameType.NOTE_PREFERRED:
            if body not in (b"\x00", b"\x01"):
                raise FrameError("NotePreferred says neither yes nor no")
            return NotePreferred(body == b"\x01")
        case FrameType.NODE_GONE:
            return NodeGone(_key(body, valid_key))
        case FrameType.PING:
            return Ping(_exactly(PING_LENGTH, body))
        case FrameType.PONG:
            return Pong(_exactly(PING_LENGTH, body))
        case FrameType.HEALTH:
            try:
                return Health(body.decode())
            except UnicodeDecodeError:
                raise FrameError("Health is not UTF-8") from None
        case _:  # check_header has refused every unknown type
            return Restarting(*struct.unpack(">II", _exactly(8, body)))


def check_header(kind: int, length: int) -> None:
    """Refuse a frame by its header alone, before its body is waited for."""
    longest = MAX_BODY.get(kind)  # type: ignore[call-overload]  # an IntEnum member equals its number
    if longest is None:
        raise FrameError(f"unknown frame type {kind}")
    if length > longest:
        raise FrameError(f"frame of type {kind} with {length} bytes, at most {longest} are allowed")


def frame_end(data: bytearray | memoryview, start: int, end: int) -> int | None:
    """Where the frame at `start` ends, or None while it is incomplete. Raises `FrameError` for a bad header."""
    if end - start < HEADER.size:
        return None
    kind, length = HEADER.unpack_from(data, start)
    check_header(kind, length)
    stop = start + HEADER.size + int(length)
    return stop if stop <= end else None


def frame_spans(run: bytes | memoryview) -> Iterator[tuple[int, int]]:
    """Start and end of each frame in a run of whole frames."""
    start = 0
    while start < len(run):
        _, length = HEADER.unpack_from(run, start)
        stop = start + HEADER.size + int(length)
        yield start, stop
        start = stop


def _client_info(body: bytes, valid_key: Callable[[bytes], bool]) -> ClientInfo:
    if not body.startswith(MAGIC):
        raise FrameError("ClientInfo without its magic bytes")
    key = _key(body[len(MAGIC) :], valid_key)
    rest = body[len(MAGIC) + KEY_LENGTH :]
    if len(rest) < SIGNATURE_LENGTH:
        raise FrameError("ClientInfo without a whole signature")
    return ClientInfo(key, rest[:SIGNATURE_LENGTH], rest[SIGNATURE_LENGTH:])


def _key(body: bytes, valid_key: Callable[[bytes], bool]) -> bytes:
    key = body[:KEY_LENGTH]
    if len(key) < KEY_LENGTH:
        raise FrameError("frame is too short for its key")
    if not valid_key(key):
        raise FrameError("these 32 bytes are not an ed25519 public key")
    return key


def _exactly(length: int, body: bytes) -> bytes:
    if len(body) != length:
        raise FrameError(f"body of {len(body)} bytes where exactly {length} belong")
    return body
