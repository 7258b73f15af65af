"""Frames of the iroh relay protocol, generation 0.35, on the client's side. Does no IO.

Each frame is a type byte, a 4-byte big-endian body length, and the body. This codec is one of two in this
repository on purpose: the server has its own (docs/architecture.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["Frame", "FrameDecoder", "FrameError", "FrameType", "client_info", "encode", "signed_message"]

MAGIC = "RELAY🔑".encode()
PROTOCOL_VERSION = 3
MAX_BODY = 1_048_576
HEADER_SIZE = 5


class FrameError(Exception):
    """Bytes that are no frame of this protocol."""


class FrameType(IntEnum):
    """The frames that exist; others end a connection."""

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


@dataclass(frozen=True)
class Frame:
    """One frame as it was read."""

    type: FrameType
    body: bytes


def encode(frame_type: FrameType, body: bytes = b"") -> bytes:
    """The bytes of one frame."""
    return bytes([frame_type]) + len(body).to_bytes(4, "big") + body


def signed_message() -> bytes:
    """Bytes that a client signs to log in: the protocol version as a varint, which is this one byte."""
    return bytes([PROTOCOL_VERSION])


def client_info(public_key: bytes, signature: bytes) -> bytes:
    """The log-in frame: 32 bytes of public key, 64 bytes of ed25519 signature over `signed_message()`."""
    return encode(FrameType.CLIENT_INFO, MAGIC + public_key + signature + signed_message())


class FrameDecoder:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        """Add bytes and return the frames that are complete. Raises `FrameError` on unknown or giant ones."""
        self._buffer += data
        frames = []
        while (frame := self._next()) is not None:
            frames.append(frame)
        return frames

    def _next(self) -> Frame | None:
        if len(self._buffer) < HEADER_SIZE:
            return None
        size = int.from_bytes(self._buffer[1:HEADER_SIZE], "big")
        if size > MAX_BODY:
            raise FrameError(f"the relay announced a frame of {size} bytes; at most {MAX_BODY} are allowed")
        try:
            frame_type = FrameType(self._buffer[0])
        except ValueError:
            raise FrameError(
                f"the relay sent a frame of type {self._buffer[0]}, which does not exist"
            ) from None
        if len(self._buffer) < HEADER_SIZE + size:
            return None
        body = bytes(self._buffer[HEADER_SIZE : HEADER_SIZE + size])
        del self._buffer[: HEADER_SIZE + size]
        return Frame(frame_type, body)
