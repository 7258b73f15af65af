"""A client with an allocation and a plain peer send each other a datagram (`clients.turn.plain_peer`)."""

from __future__ import annotations

from ..clients.turn.client import TurnClient, TurnCredentials, TurnError, TurnRefused
from ..clients.turn.plain_peer import TRIES, answer_arrives, bound_peer, first_arrival
from ..hosts import Host, MissingCapability
from ..stage.outcome import Outcome
from ..urls import TurnUrl
from .turn_exchange import allocated, written

__all__ = ["exchange_with_plain_peer"]

WITHIN = 2.0
"""Seconds for a datagram, and for its answer, each time."""
FORBIDDEN = 403


def exchange_with_plain_peer(
    outcome: Outcome, url: TurnUrl, credentials: TurnCredentials, client_at: Host, peer_at: Host
) -> None:
    """The plain peer sends to the relayed transport address of a client, and gets its answer from there.

    `peer_at`: a host with a public address, at which the server sees what it sends; it may be that of the client.
    """
    with (
        outcome.expect_to_arrive(TurnError),
        allocated(TurnClient(client_at, url, credentials)) as client,
        bound_peer(peer_at, client.relayed) as peer,
    ):
        address = client.allocation.mapped[0] if peer_at is client_at else peer_at.address
        try:
            client.client.permit(address)
        except TurnRefused as refusal:
            if refusal.code != FORBIDDEN or peer_at is not client_at:
                raise  # a peer of a lab has a public address: there is no good reason
            raise MissingCapability(
                "public_address",
                f"TURN relays to no peer at {address}, and rightly so",
                heal="run it from a machine with a public address, or against a server that is started in a lab",
            ) from refusal
        seen = first_arrival(client.client, client.relayed, peer, within=WITHIN)
        if seen is None:
            outcome.expect(
                False,
                f"nothing from outside reaches the relayed transport address {written(client.relayed)}: "
                f"{TRIES} datagrams of a peer that has a permission and no allocation did not arrive. "
                "The ports of relayed transport addresses do not answer from outside: open them "
                "in the firewall (UDP 49152-65535, or the range of the TURN server)",
                cause="turn.relay_ports_closed",
            )
            return
        outcome.expect(
            answer_arrives(client.client, client.relayed, peer, (address, seen[1]), within=WITHIN),
            f"an answer through {written(client.relayed)} does not reach a peer outside",
        )
