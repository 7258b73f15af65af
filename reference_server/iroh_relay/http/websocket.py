"""The WebSocket door (RFC 6455): binary messages in and out, frames of framing.py towards the hub. Sans-IO.

Nearly everything that a client sends is a masked binary message in one piece. Those are taken here, because a general
parser costs ten times as much; all else (control frames, text, fragments, whatever is wrong) goes to the `Protocol` of
websockets, which sees each of its frames from the first byte to the last and never half of one of ours.
"""

from __future__ import annotations

import struct
from typing import TypeAlias

from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, SERVER, Protocol

from ..framing import HEADER

try:
    from websockets.speedups import apply_mask
except ImportError:  # where websockets was installed without its part in C
    from websockets.utils import apply_mask

__all__ = ["WebSocket"]

WHOLE_BINARY = 0x80 | Opcode.BINARY
"""First byte of a binary message in one piece, without extensions."""
MASKED = 0x80
"""Flag in the second byte; every frame of a client has it."""
LENGTH_16, LENGTH_64 = 126, 127
"""Lengths in the second byte that stand for two or eight more bytes of length."""
MASKED_16 = MASKED | LENGTH_16
MASK = 4
"""Bytes of a mask."""
CLIENT_HEAD = struct.Struct(">BBH4s")
"""First byte, flag and 126, length, mask: the head of a message from a client that has 126 to 65 535 bytes.

A shorter one has its length in the second byte, and the mask after it.
"""
SHORT_HEAD = struct.Struct(">BBB")
HEAD = struct.Struct(">BBHB")
LONG_HEAD = struct.Struct(">BBQB")
"""Heads of messages to the client, with the type of the relay's frame."""


Bytes: TypeAlias = bytes | memoryview


class WebSocket:
    """One connection after its 101. One relay frame is one binary message: its type in a byte, then its body."""

    def __init__(self, max_message: int) -> None:
        """`max_message`: bytes of the largest message; a larger one is refused by its header."""
        self._max_message = max_message
        self._protocol = Protocol(SERVER, state=OPEN, max_size=max_message)
        self._head = b""
        """The beginning of a frame's header."""
        self._owed = 0
        """Bytes that the protocol needs to the end of the frame that it is in."""
        self._message = bytearray()
        """Fragments so far."""
        self._fragmented = False
        """A message has begun and not ended: one in one piece would be an error."""
        self._skipping = False
        self.ended: str | None = None
        """Reason for which nothing more can come: the peer has closed, or broke the protocol."""

    def receive(self, data: bytes) -> tuple[bytearray, bytes]:
        """Bytes that arrived -> whole frames, and bytes to send at once (pong, close)."""
        frames: list[Bytes] = []
        data = self._head + data if self._head else data
        self._head = b""
        view, position = memoryview(data), 0
        while self.ended is None and position < len(data):
            if not self._owed:
                if not self._fragmented:
                    position = self._take_messages(view, position, frames)
                size = _frame_size(data, position)
                if not size:
                    self._head = data[position:]
                    break
                self._owed = size
            piece = data[position : position + self._owed]
            self._owed -= len(piece)
            position += len(piece)
            self._give_protocol(piece, frames)
        return bytearray().join(frames), b"".join(self._protocol.data_to_send())

    def send(self, run: bytes) -> bytes | bytearray:
        """A run of whole frames -> one binary message each."""
        return _exchange_heads(run) or self._wrap(run)

    @staticmethod
    def _wrap(run: bytes) -> bytes:
        view, end, position = memoryview(run), len(run), 0
        pieces: list[Bytes] = []
        while position < end:
            kind, length = HEADER.unpack_from(run, position)
            start = position + HEADER.size
            position = start + length
            size = 1 + length
            if size < LENGTH_16:
                head = SHORT_HEAD.pack(WHOLE_BINARY, size, kind)
            elif size < 1 << 16:
                head = HEAD.pack(WHOLE_BINARY, LENGTH_16, size, kind)
            else:
                head = LONG_HEAD.pack(WHOLE_BINARY, LENGTH_64, size, kind)
            pieces += (head, view[start:position])
        return b"".join(pieces)

    def _take_messages(self, data: memoryview, position: int, frames: list[Bytes]) -> int:
        """Take the whole binary messages up to 65 535 bytes from `position` on, and return where they end."""
        peek, pack, longest = CLIENT_HEAD.unpack_from, HEADER.pack_into, self._max_message
        end, filled = len(data), 0
        last = end - CLIENT_HEAD.size
        run = memoryview(bytearray(max(0, end - position)))  # a frame is never longer than its message was
        while position <= last:
            kind, length, size, mask = peek(data, position)
            start = position + CLIENT_HEAD.size
            if length < MASKED_16:
                start -= 2
                size, mask = length - MASKED, data[start - MASK : start]
            stop = start + size
            if kind != WHOLE_BINARY or length > MASKED_16 or not 0 < size <= longest or stop > end:
                break
            message = apply_mask(data[start:stop], mask)
            body = filled + HEADER.size
            run[body - 1 : body - 1 + size] = message
            pack(run, filled, message[0], size - 1)
            filled = body + size - 1
            position = stop
        frames.append(run[:filled])
        return position

    def _give_protocol(self, data: bytes, frames: list[Bytes]) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and self.ended is None:
                self._take(event, frames)
        if self.ended is None and self._protocol.parser_exc is not None:
            self.ended = f"bad WebSocket message: {self._protocol.parser_exc}"

    def _take(self, frame: Frame, frames: list[Bytes]) -> None:
        if frame.opcode is Opcode.CLOSE:
            self.ended = "closed by the client"
        if frame.opcode not in (Opcode.BINARY, Opcode.TEXT, Opcode.CONT):
            return
        self._fragmented = not frame.fin
        if frame.opcode is not Opcode.CONT:
            self._skipping = frame.opcode is Opcode.TEXT
        if self._skipping:
            return
        self._message += frame.data
        if frame.fin:
            if not self._message:
                self.ended = "empty WebSocket message"
                return
            frames += (HEADER.pack(self._message[0], len(self._message) - 1), memoryview(self._message)[1:])
            self._message = bytearray()


def _exchange_heads(run: bytes) -> bytearray | None:
    """The messages for a run of frames that all have 125 to 65 534 bytes, whose heads are as long as those of
    messages; None for any other run.
    """
    messages, position, end = bytearray(run), 0, len(run)
    unpack, pack = HEADER.unpack_from, HEAD.pack_into
    while position < end:
        kind, length = unpack(messages, position)
        if not LENGTH_16 <= length + 1 < 1 << 16:
            return None
        pack(messages, position, WHOLE_BINARY, LENGTH_16, length + 1, kind)
        position += HEADER.size + length
    return messages


def _frame_size(data: bytes, position: int) -> int:
    """Bytes of the frame that begins at `position`, with its header; 0 while that is not whole."""
    if len(data) - position < 2:
        return 0
    head, size = 2, data[position + 1] & ~MASKED
    if size >= LENGTH_16:
        more = 2 if size == LENGTH_16 else 8
        head += more
        size = int.from_bytes(data[position + 2 : position + head])
    if len(data) - position < head:
        return 0
    masked = data[position + 1] & MASKED
    return head + (MASK if masked else 0) + size
