"""Log-in of generation 0.35: one signed ClientInfo frame, no challenge, no answer.

The signature covers only the protocol number, so it can be replayed by design; the key in it is the node ID.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .frames import ClientInfo
from .keys import is_small_order

__all__ = ["PROTOCOL_VERSION", "Ed25519Signatures", "LoginRefused", "SignaturePolicy", "verify"]

PROTOCOL_VERSION = 3
MAX_VARINT = 10
"""Bytes of the longest LEB128 number of 64 bits."""


class LoginRefused(Exception):
    """Why a client may not log in; the sentence goes to the ledger, never to the client."""


class SignaturePolicy(Protocol):
    """Decides whether a signature counts."""

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool: ...


@dataclass(frozen=True, slots=True)
class Ed25519Signatures:
    """RFC 8032, and like upstream's `verify_strict` no signature of a small-order key: those prove nothing."""

    def verify(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        if is_small_order(public_key):
            return False
        try:
            Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
        except InvalidSignature:
            return False
        return True


def verify(info: ClientInfo, signatures: SignaturePolicy) -> int:
    """The protocol number that the client signed. Raises `LoginRefused`.

    Whether that number is spoken here is asked only after the access check, as upstream does.
    """
    if not signatures.verify(info.key, info.text, info.signature):
        raise LoginRefused("bad signature")
    return _varint(info.text)


def _varint(data: bytes) -> int:
    """postcard's unsigned integer (LEB128); bytes after it are tolerated."""
    value = 0
    for index, byte in enumerate(data[:MAX_VARINT]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            if value >= 2**64:
                break
            return value
    raise LoginRefused("the signed message is not a protocol number")
