"""COMPRESS=DEFLATE (RFC 4978): raw deflate both ways, flushed after each write. Does no IO."""

from __future__ import annotations

import zlib

from .parser import BrokenStream

__all__ = ["Deflate"]

RAW = -zlib.MAX_WBITS
STEP = 64 * 1024
"""Bytes that come out of one step of inflation, whatever a client packed into it."""


class Deflate:
    """Unpacks what the client sent. It stays packed until it is wanted: a bomb costs as much memory as it has bytes."""

    def __init__(self) -> None:
        self._inflate = zlib.decompressobj(RAW)
        self._deflate = zlib.compressobj(wbits=RAW)
        self._packed = b""
        self.pending = False
        """True when `unpack` may have more without further data."""

    def receive(self, data: bytes) -> None:
        self._packed += data
        self.pending = True

    def unpack(self) -> bytes:
        """The next bytes, at most `STEP` of them. Raises `BrokenStream`."""
        try:
            data = self._inflate.decompress(self._packed, STEP)
        except zlib.error:
            raise BrokenStream("That is no deflate stream") from None
        if self._inflate.eof:
            raise BrokenStream("The deflate stream has ended")
        self._packed = self._inflate.unconsumed_tail
        self.pending = bool(self._packed) or len(data) == STEP  # zlib may hold the rest of a full step
        return data

    def pack(self, data: bytes) -> bytes:
        return self._deflate.compress(data) + self._deflate.flush(zlib.Z_SYNC_FLUSH)
