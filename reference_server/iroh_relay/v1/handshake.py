"""Log-in of `iroh-relay-v1` and `-v2`: the relay sends 16 random bytes, the client signs what is derived from them.

Over TLS a client may also send a header that saves the round trip (`X-Iroh-Relay-Client-Auth-V1`). Its proof is bound
to keying material that CPython's ssl does not give out, so the header is ignored, and every client gets a challenge.
"""

from __future__ import annotations

from blake3 import blake3

from ..signatures import SignaturePolicy
from .frames import ClientAuth

__all__ = ["NOT_AUTHORIZED", "SIGNATURE_INVALID", "is_proved", "message_to_sign"]

CONTEXT = "iroh-relay handshake v1 challenge signature"
SIGNATURE_INVALID = "signature invalid"
NOT_AUTHORIZED = "not authorized"


def message_to_sign(challenge: bytes) -> bytes:
    """32 bytes, by BLAKE3 in its key derivation mode."""
    return blake3(challenge, derive_key_context=CONTEXT).digest()


def is_proved(auth: ClientAuth, challenge: bytes, signatures: SignaturePolicy) -> bool:
    """Check that the client holds the secret key to the public key that it names."""
    return signatures.verify(auth.key, message_to_sign(challenge), auth.signature)
