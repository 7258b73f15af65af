"""Traffic for a relay: nodes that log in, send frames as a case says and count what arrives.

`python -m benchmarks.relay_load PORT CASE FRAMES [CA]` is the process that benchmarks.relay starts.
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
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.frames import Frame, Opcode

__all__ = ["CASES", "Case"]

WINDOW_FRAMES = 400
"""Frames on their way from one sender at most: a relay's queue has 512 places, and a full one drops."""
BLOCK = 262_144
"""Bytes of frames that a sender has ready."""
SILENCE = 5.0
DEADLINE = 120.0
HANDSHAKE = 10.0


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
    """A connection that is logged in."""

    def __init__(self, port: int, *, websocket: bool, authority: str | None) -> None:
        secret = Ed25519PrivateKey.generate()
        self.key = secret.public_key().public_bytes_raw()
        self._websocket = websocket
        connection = socket.create_connection(("127.0.0.1", port), timeout=HANDSHAKE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if authority is not None:
            context = ssl.create_default_context(cafile=authority)
            connection = context.wrap_socket(connection, server_hostname="127.0.0.1")
        self.socket = connection
        upgrade = "iroh derp http\r\n"
        if websocket:
            upgrade = "websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\n"
            upgrade += "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
        connection.sendall(f"GET /relay HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: {upgrade}\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._read(1)
        body = "RELAY🔑".encode() + self.key + secret.sign(b"\x03") + b"\x03"
        connection.sendall(self.frame(2, body) + self.frame(12, b"whatever"))
        pong = 11 if websocket else 13
        while pong:
            pong -= len(self._read(pong))
        connection.setblocking(False)

    def frame(self, kind: int, body: bytes) -> bytes:
        """A frame as this node sends it."""
        if self._websocket:
            return Frame(Opcode.BINARY, bytes([kind]) + body).serialize(mask=True)
        return struct.pack(">BI", kind, len(body)) + body

    def received_size(self, body: int) -> int:
        """Bytes of a frame as this node gets it."""
        if self._websocket:
            return (2 if body + 1 < 126 else 4 if body + 1 < 65_536 else 10) + 1 + body
        return 5 + body

    def _read(self, size: int) -> bytes:
        data = self.socket.recv(size)
        if not data:
            raise SystemExit("the relay closed a connection")
        return data


class Sender:
    """One node that sends and the nodes that it sends to."""

    def __init__(self, case: Case, node: Node, peers: Sequence[Node], frames: int) -> None:
        self._node = node
        once = [node.frame(4, peer.key + bytes(case.payload)) for peer in peers]
        self._size = len(once[0])
        repeated = max(1, BLOCK // (self._size * len(once)))
        self._block = memoryview(b"".join(once) * repeated)
        self._received_size = node.received_size(32 + case.payload)
        self._window = case.window
        self._total = frames
        self._sent = 0
        """Bytes."""
        self.received = 0
        """Bytes at all peers."""

    @property
    def done(self) -> bool:
        if self.received > self._total * self._received_size:
            raise SystemExit("more arrived than was sent")
        return self.received == self._total * self._received_size

    def send(self) -> bool:
        """Send what the window allows; False when the socket takes no more for now."""
        arrived = self.received // self._received_size
        limit = min(self._total, arrived + self._window) * self._size
        if limit - self._sent < self._window * self._size // 4 and limit < self._total * self._size:
            return True  # few and large writes, as a busy sender makes them
        while self._sent < limit:
            start = self._sent % len(self._block)
            try:
                self._sent += self._node.socket.send(self._block[start : start + limit - self._sent])
            except (BlockingIOError, ssl.SSLWantWriteError):
                return False
        return True


def generate(case: Case, port: int, frames: int, authority: str | None) -> None:
    """Send `frames` frames in all, and return when all have arrived."""
    selector = selectors.DefaultSelector()
    senders = []
    of_peer: dict[int, tuple[Sender, Node]] = {}
    of_node: dict[int, Sender] = {}
    for _ in range(case.senders):
        nodes = [Node(port, websocket=case.websocket, authority=authority) for _ in range(1 + case.peers)]
        sender = Sender(case, nodes[0], nodes[1:], frames // case.senders)
        senders.append(sender)
        of_node[nodes[0].socket.fileno()] = sender
        for peer in nodes[1:]:
            of_peer[peer.socket.fileno()] = sender, peer
            selector.register(peer.socket, selectors.EVENT_READ)
    waiting: set[int] = set()
    buffer = bytearray(1 << 20)

    def send(number: int) -> None:
        sent = of_node[number].send()
        if sent and number in waiting:
            waiting.discard(number)
            selector.unregister(number)
        elif not sent and number not in waiting:
            waiting.add(number)
            selector.register(number, selectors.EVENT_WRITE)

    node_of = {id(sender): number for number, sender in of_node.items()}
    for number in of_node:
        send(number)
    deadline = time.monotonic() + DEADLINE
    while not all(sender.done for sender in senders):
        events = selector.select(SILENCE)
        if not events or time.monotonic() > deadline:
            raise SystemExit(f"{sum(each.received for each in senders)} bytes arrived, then nothing")
        touched = set()
        for key, _ in events:
            if key.fd in of_peer:
                sender, peer = of_peer[key.fd]
                sender.received += _drain(peer.socket, buffer)
                touched.add(node_of[id(sender)])
            else:
                touched.add(key.fd)
        for number in touched:
            send(number)


def _drain(connection: socket.socket, buffer: bytearray) -> int:
    """Read what is there: TLS gives one record at a time, and tells the selector nothing of the others."""
    size = 0
    try:
        while more := connection.recv_into(buffer):
            size += more
            if not isinstance(connection, ssl.SSLSocket):
                return size
    except (BlockingIOError, ssl.SSLWantReadError):
        return size
    raise SystemExit("the relay closed a connection")


if __name__ == "__main__":
    wanted = next(case for case in CASES if case.name == sys.argv[2])
    generate(wanted, int(sys.argv[1]), int(sys.argv[3]), sys.argv[4] if len(sys.argv) > 4 else None)
    os._exit(0)  # hundreds of connections need no tidy end
