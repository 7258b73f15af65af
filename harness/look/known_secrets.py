"""Shared secrets of TURN that everybody knows: defaults of programs, and of examples in their documentation."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from ..clients.turn.client import TurnCredentials

__all__ = ["KNOWN", "known_secret"]

KNOWN: Mapping[str, str] = {
    "": "the empty one",
    "north": "the example of coturn's documentation, and the literal one of chatmail-turn 0.4",
    "secret": "the word `secret`",
    "static-auth-secret": "the name of coturn's own option",
    "changeme": "a placeholder",
    "logen": "the example of coturn's documentation",
}
"""Secret -> where it is known from."""


def known_secret(credentials: TurnCredentials) -> str:
    """Where the secret is known from that these credentials were made of; empty: it is none of those.

    No server is asked: whoever has one pair of credentials can try the list at home.
    """
    for secret, source in KNOWN.items():
        made = TurnCredentials.from_secret(secret, credentials.username)
        if hmac.compare_digest(made.password.encode(), credentials.password.encode()):
            return source
    return ""
