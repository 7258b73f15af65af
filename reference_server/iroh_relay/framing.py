"""Framing inside this package, whichever generation frames belong to and whatever they look like on the wire.

    type u8 | length u32 big-endian | body

This is the `derp` framing of generation 0.35. In a WebSocket one message is one frame without the length; that door
(http/websocket.py) translates. A run is any number of whole frames, back to back.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping

from .keys import KEY_LENGTH

__all__ = [
    "HEADER",
    "PING_LENGTH",
    "FrameError",
    "check_header",
    "exactly",
    "frame_end",
    "frame_spans",
    "leading_key",
]

HEADER = struct.Struct(">BI")
PING_LENGTH = 8


class FrameError(Exception):
    """Bytes that are no frame of this protocol; the connection is closed without a reply."""


def check_header(kind: int, length: int, longest: Mapping[int, int]) -> None:
    """Refuse a frame by its header alone, before its body is waited for. `longest` is the largest body per type."""
    limit = longest.get(kind)
    if limit is None:
        raise FrameError(f"unknown frame type {kind}")
    if length > limit:
        raise FrameError(f"frame of type {kind} with {length} bytes, at most {limit} are allowed")


def frame_end(data: bytearray | memoryview, start: int, end: int, longest: Mapping[int, int]) -> int | None:
    """End of the frame that begins at `start`, or None while it is incomplete. Raises `FrameError` for a bad header."""
    if end - start < HEADER.size:
        return None
    kind, length = HEADER.unpack_from(data, start)
    check_header(kind, length, longest)
    stop = start + HEADER.size + int(length)
    return stop if stop <= end else None


def frame_spans(run: bytes | bytearray | memoryview) -> Iterator[tuple[int, int]]:
    """Start and end of each whole frame; an incomplete one at the end is left out."""
    start = 0
    while len(run) - start >= HEADER.size:
        _, length = HEADER.unpack_from(run, start)
        stop = start + HEADER.size + int(length)
        if stop > len(run):
            return
        yield start, stop
        start = stop


def leading_key(body: bytes, valid_key: Callable[[bytes], bool]) -> bytes:
    """The public key that a body begins with."""
    key = body[:KEY_LENGTH]
    if len(key) < KEY_LENGTH:
        raise FrameError("frame is too short for its key")
    if not valid_key(key):
        raise FrameError("these 32 bytes are not an ed25519 public key")
    return key


def exactly(length: int, body: bytes) -> bytes:
    if len(body) != length:
        raise FrameError(f"body of {len(body)} bytes where exactly {length} belong")
    return body
