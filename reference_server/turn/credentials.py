"""Proofs that a client may allocate: credentials from a shared secret, and nonces that nobody has to remember.

The scheme is the one of draft-uberti-behave-turn-rest-00, whose user names are `EXPIRY` or `EXPIRY:NAME`: chatmail
servers hand out a bare expiry over IMAP METADATA, and every TURN server that knows the secret can check it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import struct
import time
from collections.abc import Sequence
from typing import Protocol

from reference_server.turn_secret import Clock, make_password

from .stun import Address

__all__ = [
    "Credentials",
    "Nonces",
    "SharedSecrets",
    "long_term_key",
]

MAX_USERNAME = 508
"""Bytes (RFC 8489, section 14.3)."""
MAX_EXPIRY = 64
"""Digits; ten are enough for centuries."""
NONCE_MAC_SIZE = 12


class Credentials(Protocol):
    """Knows the keys that a request may be signed with."""

    def keys(self, username: bytes, realm: bytes) -> Sequence[bytes]:
        """Keys of RFC 8489, section 9.2.2; empty when this user name or realm is not accepted now."""


def long_term_key(username: bytes, realm: bytes, password: bytes) -> bytes:
    """RFC 8489, section 9.2.2. The parts are UTF-8 that has been prepared already (ours are ASCII)."""
    return hashlib.md5(b":".join((username, realm, password)), usedforsecurity=False).digest()


class SharedSecrets:
    """Accepts user names that begin with a unix time in the future. Several secrets allow for rotation."""

    def __init__(
        self, secrets: Sequence[str], realm: str, clock: Clock = time.time, *, bare: bool = False
    ) -> None:
        """`bare`: nothing may follow the time."""
        self._secrets = tuple(secrets)
        self._realm = realm.encode()
        self._clock = clock
        self._bare = bare

    def keys(self, username: bytes, realm: bytes) -> Sequence[bytes]:
        if realm != self._realm or not self.unexpired(username):
            return ()
        try:
            name = username.decode()
        except UnicodeDecodeError:
            return ()
        passwords = (make_password(secret, name).encode() for secret in self._secrets)
        return [long_term_key(username, realm, password) for password in passwords]

    def unexpired(self, username: bytes) -> bool:
        if len(username) > MAX_USERNAME or (self._bare and b":" in username):
            return False
        expiry = username.partition(b":")[0]
        return (
            len(expiry) <= MAX_EXPIRY
            and expiry.isdigit()  # for bytes: ASCII digits only
            and int(expiry) > self._clock()
        )


class Nonces:
    """Nonces that carry their own proof: time of issue and a MAC over it and the client's address.

    Nothing is stored, so a flood of requests costs no memory; a nonce serves only the address that it was given to.
    """

    def __init__(self, lifetime: float, clock: Clock = time.time) -> None:
        self._lifetime = lifetime
        self._clock = clock
        self._key = secrets.token_bytes(32)

    def issue(self, client: Address) -> bytes:
        """22 characters."""
        return self._make(int(self._clock()), client)

    def is_fresh(self, nonce: bytes, client: Address) -> bool:
        try:
            (issued,) = struct.unpack_from(">I", base64.urlsafe_b64decode(nonce + b"=="))
        except (ValueError, struct.error):
            return False
        age = self._clock() - issued
        return hmac.compare_digest(nonce, self._make(issued, client)) and age <= self._lifetime

    def _make(self, issued: int, client: Address) -> bytes:
        stamp = struct.pack(">I", issued & 0xFFFFFFFF)
        mac = hmac.digest(self._key, stamp + str(client).encode(), "sha256")[:NONCE_MAC_SIZE]
        return base64.urlsafe_b64encode(stamp + mac).rstrip(b"=")
