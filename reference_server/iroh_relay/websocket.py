"""The WebSocket door (RFC 6455): binary messages in and out, derp frames towards the hub. Sans-IO."""

from __future__ import annotations

from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, SERVER, Protocol

from .frames import HEADER, MAX_FRAME, FrameError, frame_spans

__all__ = ["WebSocket"]


class WebSocket:
    """One connection after its 101. One relay frame is one binary message: its type, then its body."""

    def __init__(self) -> None:
        self._protocol = Protocol(SERVER, state=OPEN, max_size=MAX_FRAME)
        self._message = bytearray()
        self._skipping = False
        self.closed = False
        """The peer has closed, or broke the protocol."""

    def receive(self, data: bytes) -> tuple[bytearray, bytes]:
        """Bytes that arrived -> whole derp frames, and bytes to send at once (pong, close).

        Raises `FrameError` for an empty message.
        """
        frames = bytearray()
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame):
                self._take(event, frames)
        reply = b"".join(self._protocol.data_to_send())
        self.closed = self.closed or self._protocol.close_expected()
        return frames, reply

    def _take(self, frame: Frame, frames: bytearray) -> None:
        if frame.opcode is Opcode.CLOSE:
            self.closed = True
        if frame.opcode not in (Opcode.BINARY, Opcode.TEXT, Opcode.CONT):
            return
        if frame.opcode is not Opcode.CONT:
            self._skipping = frame.opcode is Opcode.TEXT
        if self._skipping:
            return
        self._message += frame.data
        if frame.fin:
            if not self._message:
                raise FrameError("empty WebSocket message")
            frames += HEADER.pack(self._message[0], len(self._message) - 1)
            frames += memoryview(self._message)[1:]
            self._message = bytearray()

    def send(self, run: bytes) -> bytes:
        """A run of whole derp frames -> one binary message each."""
        messages = bytearray()
        for start, stop in frame_spans(run):
            message = run[start : start + 1] + run[start + HEADER.size : stop]
            messages += Frame(Opcode.BINARY, message).serialize(mask=False)
        return bytes(messages)
