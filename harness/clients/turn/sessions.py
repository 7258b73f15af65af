"""Sessions of a TURN server as it counts them itself, each client's traffic in both directions."""

from __future__ import annotations

from dataclasses import dataclass

from .ledger import Count

__all__ = ["TurnSession"]


@dataclass(frozen=True)
class TurnSession:
    """One that has ended: all that went between a client and the server's listener, STUN messages included."""

    client: str
    """`address:port` of the client's end, as the server sees it."""
    server: str
    from_client: Count
    """Packets, and bytes of their UDP payload."""
    to_client: Count
