"""Nodes for the relay's tests: keys, log-in frames, and a client on a blocking socket."""

from __future__ import annotations

import secrets
import socket
import struct
from typing import Self

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.frames import Frame, Opcode

DEADLINE = 20.0
BOTH = "iroh-relay-v2, iroh-relay-v1"


class Node:
    """A secret key and what a node of generation 0.35 makes of it."""

    def __init__(self, seed: int | bytes) -> None:
        """One byte is repeated."""
        self._secret = Ed25519PrivateKey.from_private_bytes(
            bytes([seed]) * 32 if isinstance(seed, int) else seed
        )
        self.key = self._secret.public_key().public_bytes_raw()

    @classmethod
    def random(cls) -> Node:
        return cls(secrets.token_bytes(32))

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
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.sock.close()

    def upgrade(self, extra: bytes = b"") -> bytes:
        self.sock.sendall(b"GET /relay HTTP/1.1\r\nhost: x\r\nupgrade: iroh derp http\r\n\r\n" + extra)
        return self.read_head()

    def read_head(self) -> bytes:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = self.sock.recv(1)
            assert byte, head
            head += byte
        return head

    def log_in(self, node: Node) -> Self:
        assert self.upgrade().startswith(b"HTTP/1.1 101 ")
        self.sock.sendall(node.client_info())
        return self.ping()

    def ping(self) -> Self:
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


class PeerV1(Peer):
    """A client of `iroh-relay-v1` or `-v2`; its frames have the framing inside the relay (support.frame)."""

    def upgrade(
        self, extra: bytes = b"", *, offer: str = "iroh-relay-v2, iroh-relay-v1", path: str = "/relay"
    ) -> bytes:
        self.sock.sendall(
            f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: {offer}\r\n\r\n".encode()
            + extra
        )
        return self.read_head()

    def log_in(self, node: Node, **request: str) -> Self:
        assert self.upgrade(b"", **request).startswith(b"HTTP/1.1 101 ")
        kind, challenge = self.read_frame()
        assert kind == 0
        self.send(node.client_auth(challenge))
        assert self.read_frame() == (2, b"")
        return self

    def ping(self) -> Self:
        self.send(frame(9, b"12345678"))
        assert self.read_frame() == (10, b"12345678")
        return self

    def send(self, *frames: bytes) -> None:
        messages = (Frame(Opcode.BINARY, each[:1] + each[5:]).serialize(mask=True) for each in frames)
        self.sock.sendall(b"".join(messages))

    def read_frame(self) -> tuple[int, bytes]:
        opcode, length = self.read(2)
        assert opcode == 0x82, hex(opcode)
        if length == 126:
            length = int.from_bytes(self.read(2), "big")
        elif length == 127:
            length = int.from_bytes(self.read(8), "big")
        message = self.read(length)
        return message[0], message[1:]
