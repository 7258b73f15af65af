"""The WebSocket door (RFC 6455): binary messages in and out, frames of framing.py towards the hub. Sans-IO."""

from __future__ import annotations

from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN, SERVER, Protocol

from ..framing import HEADER, frame_spans

__all__ = ["WebSocket"]


class WebSocket:
    """One connection after its 101. One relay frame is one binary message: its type in a byte, then its body."""

    def __init__(self, max_message: int) -> None:
        """`max_message`: bytes of the largest message; a larger one is refused by its header."""
        self._protocol = Protocol(SERVER, state=OPEN, max_size=max_message)
        self._message = bytearray()
        self._skipping = False
        self.ended: str | None = None
        """Reason for which nothing more can come: the peer has closed, or broke the protocol."""

    def receive(self, data: bytes) -> tuple[bytearray, bytes]:
        """Bytes that arrived -> whole frames, and bytes to send at once (pong, close)."""
        frames = bytearray()
        if self.ended is not None:
            return frames, b""
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Frame) and self.ended is None:
                self._take(event, frames)
        if self.ended is None and self._protocol.parser_exc is not None:
            self.ended = f"bad WebSocket message: {self._protocol.parser_exc}"
        return frames, b"".join(self._protocol.data_to_send())

    def _take(self, frame: Frame, frames: bytearray) -> None:
        if frame.opcode is Opcode.CLOSE:
            self.ended = "closed by the client"
        if frame.opcode not in (Opcode.BINARY, Opcode.TEXT, Opcode.CONT):
            return
        if frame.opcode is not Opcode.CONT:
            self._skipping = frame.opcode is Opcode.TEXT
        if self._skipping:
            return
        self._message += frame.data
        if frame.fin:
            if not self._message:
                self.ended = "empty WebSocket message"
                return
            frames += HEADER.pack(self._message[0], len(self._message) - 1)
            frames += memoryview(self._message)[1:]
            self._message = bytearray()

    def send(self, run: bytes) -> bytes:
        """A run of whole frames -> one binary message each."""
        messages = bytearray()
        for start, stop in frame_spans(run):
            message = run[start : start + 1] + run[start + HEADER.size : stop]
            messages += Frame(Opcode.BINARY, message).serialize(mask=False)
        return bytes(messages)
