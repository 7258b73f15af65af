"""Nodes for the relay's tests: keys, log-in frames, and a client on a blocking socket."""

from __future__ import annotations

import socket
import struct

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

DEADLINE = 20.0


class Node:
    """A secret key and what a node of generation 0.35 makes of it."""

    def __init__(self, seed: int) -> None:
        self._secret = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
        self.key = self._secret.public_key().public_bytes_raw()

    def client_info(self, text: bytes = b"\x03", *, signature: bytes | None = None) -> bytes:
        signature = self._secret.sign(text) if signature is None else signature
        return frame(2, b"RELAY\xf0\x9f\x94\x91" + self.key + signature + text)

    def client_auth(self, challenge: bytes) -> bytes:
        """The log-in of `iroh-relay-v1` and `-v2`, in the framing inside the relay."""
        text = blake3(challenge, derive_key_context="iroh-relay handshake v1 challenge signature").digest()
        return frame(1, self.key + b"\x40" + self._secret.sign(text))


def frame(kind: int, body: bytes = b"") -> bytes:
    return struct.pack(">BI", kind, len(body)) + body


def packet(key: bytes, payload: bytes) -> bytes:
    return frame(4, key + payload)


class Peer:
    """A client on a blocking socket that speaks derp framing."""

    def __init__(self, port: int, sock: socket.socket | None = None) -> None:
        self.sock = sock or socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def upgrade(self, extra: bytes = b"") -> bytes:
        self.sock.sendall(b"GET /relay HTTP/1.1\r\nhost: x\r\nupgrade: iroh derp http\r\n\r\n" + extra)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = self.sock.recv(1)
            assert byte, head
            head += byte
        return head

    def log_in(self, node: Node) -> Peer:
        assert self.upgrade().startswith(b"HTTP/1.1 101 ")
        self.sock.sendall(node.client_info())
        return self.ping()

    def ping(self) -> Peer:
        """Returns when the relay has taken everything that was sent before."""
        self.sock.sendall(frame(12, b"12345678"))
        assert self.read_frame() == (13, b"12345678")
        return self

    def read_frame(self) -> tuple[int, bytes]:
        kind, length = struct.unpack(">BI", self.read(5))
        return kind, self.read(length)

    def read(self, length: int) -> bytes:
        data = b""
        while len(data) < length:
            piece = self.sock.recv(length - len(data))
            assert piece, f"closed after {data!r}"
            data += piece
        return data

    def read_to_end(self) -> bytes:
        data = b""
        try:
            while piece := self.sock.recv(65_536):
                data += piece
        except ConnectionResetError:
            pass  # the relay closed while bytes of ours were under way
        return data
