"""Traffic for a relay: nodes that log in, send packets as a case says and count what arrives.

`python -m benchmarks.relay_load PORT CASE PACKETS [CA]` is the process that benchmarks.relay starts. It ends with 1 and
a sentence when not everything has arrived.
"""

from __future__ import annotations

import os
import selectors
import socket
import ssl
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.frames import Frame, Opcode

__all__ = ["CASES", "Case"]

WINDOW_FRAMES = 400
"""Frames on their way from one sender at most: a relay's queue has 512 places, and a full one drops."""
BLOCK = 262_144
"""Bytes of frames that a sender has ready."""
SILENCE = 5.0
"""Seconds without any packet after which those on their way are lost."""
DEADLINE = 120.0
HANDSHAKE = 10.0
CLIENT_INFO, SEND_PACKET, RECV_PACKET, PING, PONG = 2, 4, 5, 12, 13
HEAD = 5
"""Bytes before the body of a frame, and before that of a message of 126 to 65 535 bytes."""
KEY = 32
CLOSED = "the relay closed a connection"


@dataclass(frozen=True)
class Case:
    """`senders` nodes send; each alternates over `peers` nodes of its own."""

    name: str
    payload: int = 1200
    senders: int = 1
    peers: int = 1
    websocket: bool = False
    tls: bool = False
    single: bool = False
    """Frames go one by one, four of a sender on their way; otherwise a sender writes as many as its window has."""

    @property
    def window(self) -> int:
        """Frames on their way from one sender at most."""
        return 4 if self.single else max(20, WINDOW_FRAMES // self.senders, self.peers)


CASES = (
    Case("1 pair"),
    Case("1 pair, 14 kB", payload=14_000),
    Case("10 pairs", senders=10),
    Case("100 pairs", senders=100),
    Case("100 pairs, single frames", senders=100, single=True),
    Case("1 to 10 in turn", peers=10),
    Case("1 to 100 in turn", peers=100),
    Case("WebSocket, 1 pair", websocket=True),
    Case("WebSocket, 1 to 10 in turn", websocket=True, peers=10),
    Case("TLS, 10 pairs", senders=10, tls=True),
    Case("TLS, 10 pairs, single frames", senders=10, tls=True, single=True),
)


class Node:
    """A connection that is logged in. It counts the packets that it gets, and answers pings.

    A relay pings who has sent nothing for 15 seconds, and ends the connection of who does not answer.
    """

    def __init__(self, case: Case, port: int, authority: str | None) -> None:
        secret = Ed25519PrivateKey.generate()
        self.key = secret.public_key().public_bytes_raw()
        self.received = 0
        """Packets."""
        self._websocket = case.websocket
        self._size = HEAD + KEY + case.payload
        """Bytes of a packet as it arrives."""
        self._mark, self._packet = (1, 126) if case.websocket else (0, RECV_PACKET)
        """Place and value of a byte in the head of a packet that is another in that of a ping."""
        self._pending = bytearray()
        connection = socket.create_connection(("127.0.0.1", port), timeout=HANDSHAKE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if authority is not None:
            context = ssl.create_default_context(cafile=authority)
            connection = context.wrap_socket(connection, server_hostname="127.0.0.1")
        self.socket = connection
        upgrade = "iroh derp http\r\n"
        if case.websocket:
            upgrade = "websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
            upgrade += "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        connection.sendall(f"GET /relay HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: {upgrade}\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._read(1)
        body = "RELAY🔑".encode() + self.key + secret.sign(b"\x03") + b"\x03"
        connection.sendall(self.frame(CLIENT_INFO, body) + self.frame(PING, b"whatever"))
        while len(self._pending) < self._ping_size:
            self._pending += self._read(self._ping_size - len(self._pending))
        self._pending.clear()
        connection.setblocking(False)

    def frame(self, kind: int, body: bytes) -> bytes:
        """A frame as this node sends it."""
        if self._websocket:
            return Frame(Opcode.BINARY, bytes([kind]) + body).serialize(mask=True)
        return struct.pack(">BI", kind, len(body)) + body

    def take(self, data: memoryview) -> None:
        """Take bytes that have arrived."""
        pending, size = self._pending, self._size
        pending += data
        marks = pending[self._mark :: size]
        if marks.count(self._packet) != len(marks):
            self._answer_pings()
        whole = len(pending) // size
        self.received += whole
        del pending[: whole * size]

    @property
    def _ping_size(self) -> int:
        return 11 if self._websocket else 13

    def _answer_pings(self) -> None:
        """Answer the pings among what is pending, and leave the packets."""
        pending, position, length = self._pending, 0, self._ping_size
        while position + self._mark < len(pending):
            if pending[position + self._mark] == self._packet:
                position += self._size
                continue
            frame = bytes(pending[position : position + length])
            if len(frame) < length:
                return
            if frame[2 * self._mark] != PING:
                raise SystemExit(f"the relay sent {frame[:3].hex()}, the head of neither a packet nor a ping")
            self.socket.send(self.frame(PONG, frame[-8:]))
            del pending[position : position + length]

    def _read(self, size: int) -> bytes:
        data = self.socket.recv(size)
        if not data:
            raise SystemExit(CLOSED)
        return data


class Sender:
    """One node that sends and the nodes that it sends to."""

    def __init__(self, case: Case, port: int, packets: int, authority: str | None) -> None:
        self.node, *self.peers = (Node(case, port, authority) for _ in range(1 + case.peers))
        self.waiting = False
        """Its socket took no more."""
        self.total = packets
        once = [self.node.frame(SEND_PACKET, peer.key + bytes(case.payload)) for peer in self.peers]
        self._size = len(once[0])
        repeated = max(1, BLOCK // (self._size * len(once)))
        self._block = memoryview(b"".join(once) * repeated)
        self._window = case.window
        self._sent = 0
        """Bytes."""

    @property
    def received(self) -> int:
        """Packets at all peers."""
        return sum([peer.received for peer in self.peers])

    def send(self) -> None:
        """Send what the window allows, as far as the socket takes it."""
        received = self.received
        if received > self.total:
            raise SystemExit(f"{received} packets arrived of the {self.total} that were sent")
        limit = min(self.total, received + self._window) * self._size
        if limit - self._sent < self._window * self._size // 4 and limit < self.total * self._size:
            return  # few and large writes, as a busy sender makes them
        self.waiting = False
        while self._sent < limit and not self.waiting:
            start = self._sent % len(self._block)
            try:
                self._sent += self.node.socket.send(self._block[start : start + limit - self._sent])
            except (BlockingIOError, ssl.SSLWantWriteError):
                self.waiting = True


def generate(case: Case, port: int, packets: int, authority: str | None) -> None:
    """Send `packets` packets in all, and return when all have arrived."""
    senders = [Sender(case, port, packets // case.senders, authority) for _ in range(case.senders)]
    with ExitStack() as opened:
        selector = opened.enter_context(selectors.DefaultSelector())
        for sender in senders:
            for node in (sender.node, *sender.peers):
                opened.enter_context(node.socket)
                selector.register(node.socket, selectors.EVENT_READ, (sender, node))
        _send_all(senders, selector)


def _send_all(senders: Sequence[Sender], selector: selectors.BaseSelector) -> None:
    buffer = memoryview(bytearray(1 << 20))

    def send(sender: Sender) -> None:
        waited = sender.waiting
        sender.send()
        if sender.waiting is not waited:
            events = selectors.EVENT_READ | (selectors.EVENT_WRITE if sender.waiting else 0)
            selector.modify(sender.node.socket, events, (sender, sender.node))

    for sender in senders:
        send(sender)
    deadline = time.monotonic() + DEADLINE
    while any(sender.received < sender.total for sender in senders):
        events = selector.select(SILENCE)
        if not events or time.monotonic() > deadline:
            raise SystemExit(_missing(senders, within=DEADLINE if events else None))
        touched = {}
        for key, _ in events:
            sender, node = key.data
            _drain(node, buffer)
            touched[id(sender)] = sender
        for sender in touched.values():
            send(sender)


def _missing(senders: Sequence[Sender], *, within: float | None) -> str:
    """A sentence on what has not arrived."""
    total = sum(sender.total for sender in senders)
    missing = total - sum(sender.received for sender in senders)
    when = f"in {SILENCE:g} s after the last one" if within is None else f"within {within:g} s"
    affected = sum(sender.received < sender.total for sender in senders)
    return f"{missing} of {total} packets did not arrive {when}: of {affected} of {len(senders)} senders"


def _drain(node: Node, buffer: memoryview) -> None:
    """Read what is there: TLS gives one record at a time, and tells the selector nothing of the others."""
    try:
        while size := node.socket.recv_into(buffer):
            node.take(buffer[:size])
            if not isinstance(node.socket, ssl.SSLSocket):
                return
    except (BlockingIOError, ssl.SSLWantReadError):
        return
    raise SystemExit(CLOSED)


if __name__ == "__main__":
    wanted = next(case for case in CASES if case.name == sys.argv[2])
    try:
        generate(wanted, int(sys.argv[1]), int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else None)
    except ConnectionError:
        raise SystemExit(CLOSED) from None
    os._exit(0)  # hundreds of connections need no tidy end
