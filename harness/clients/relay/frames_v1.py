"""Frames of `iroh-relay-v1` and `-v2` (iroh 0.91 to 1.x), on the client's side. Does no IO.

One binary WebSocket message is one frame: a type byte and a body. This codec is one of two in this repository on
purpose: the server has its own (docs/architecture.md).
"""

from __future__ import annotations

from enum import IntEnum

from blake3 import blake3

__all__ = ["FrameType", "client_auth", "datagram", "message_to_sign", "read_datagram"]

KEY_SIZE = 32
NOT_ECN_CAPABLE = 0
CONTEXT = "iroh-relay handshake v1 challenge signature"


class FrameType(IntEnum):
    """The frames that exist; others end a connection."""

    SERVER_CHALLENGE = 0
    CLIENT_AUTH = 1
    SERVER_CONFIRMS_AUTH = 2
    SERVER_DENIES_AUTH = 3
    SEND_DATAGRAM = 4
    SEND_BATCH = 5
    RECEIVED_DATAGRAM = 6
    RECEIVED_BATCH = 7
    ENDPOINT_GONE = 8
    PING = 9
    PONG = 10
    HEALTH = 11
    RESTARTING = 12
    STATUS = 13


def message_to_sign(challenge: bytes) -> bytes:
    """Bytes that a client signs to log in, from the 16 bytes that the relay sent."""
    return blake3(challenge, derive_key_context=CONTEXT).digest()


def client_auth(public_key: bytes, signature: bytes) -> bytes:
    """The log-in. The signature of 64 bytes has its length before it, because upstream serializes it as bytes."""
    return bytes([FrameType.CLIENT_AUTH]) + public_key + bytes([len(signature)]) + signature


def datagram(destination: bytes, contents: bytes) -> bytes:
    """One datagram for the owner of a key; it is not marked for congestion."""
    return bytes([FrameType.SEND_DATAGRAM]) + destination + bytes([NOT_ECN_CAPABLE]) + contents


def read_datagram(frame_type: FrameType, body: bytes) -> tuple[bytes, bytes]:
    """The sender's key and the contents of a received datagram, or of a whole batch of them."""
    header = KEY_SIZE + (1 if frame_type is FrameType.RECEIVED_DATAGRAM else 3)
    if len(body) <= header:
        raise ValueError(f"a datagram with {len(body)} bytes has no contents")
    return body[:KEY_SIZE], body[header:]
