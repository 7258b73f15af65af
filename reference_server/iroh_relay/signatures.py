"""Verification of a log-in, for every generation of the protocol."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from .keys import is_small_order

__all__ = ["Ed25519Signatures", "LoginRefused", "SignaturePolicy"]


class LoginRefused(Exception):
    """Reason for which a client may not log in; the sentence goes to the ledger, never to the client."""


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
