"""A plain peer: a UDP socket without any allocation, as every phone is that needs no relay itself.

Two clients of one TURN server never leave it: only such a peer shows whether the ports of relayed transport addresses
are open from outside.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Iterator

from ..clients.turn.client import TurnClient, TurnCredentials, TurnError, TurnRefused
from ..hosts import Host, MissingCapability, Socket
from ..stage.outcome import Outcome
from ..urls import TurnUrl
from ..waiting import Deadline, WaitTimeout
from .turn_exchange import AllocatedClient, allocated, written

__all__ = ["exchange_with_plain_peer"]

TRIES = 3
WITHIN = 2.0
"""Seconds for a datagram and its answer, each time."""
SIZE = 172
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
        _bound(peer_at) as peer,
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
        if (port := _first_arrival(client, peer)) is None:
            outcome.expect(
                False,
                f"nothing from outside reaches the relayed transport address {written(client.relayed)}: "
                f"{TRIES} datagrams of a peer that has a permission and no allocation did not arrive. "
                "The ports of relayed transport addresses do not answer from outside: open them "
                "in the firewall (UDP 49152-65535, or the range of the TURN server)",
            )
            return
        outcome.expect(
            _answered(client, peer, (address, port)),
            f"an answer through {written(client.relayed)} does not reach a peer outside",
        )


@contextlib.contextmanager
def _bound(host: Host) -> Iterator[Socket]:
    """On a port that has never talked to the server."""
    with host.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("", 0))
        bound.settimeout(WITHIN)
        yield bound


def _first_arrival(client: AllocatedClient, peer: Socket) -> int | None:
    """The port from which the server saw the peer's datagram come; None when none arrived."""
    for _ in range(TRIES):
        payload = secrets.token_bytes(SIZE)
        peer.sendto(payload, client.relayed)
        deadline = Deadline(WITHIN)
        with contextlib.suppress(WaitTimeout):
            while True:
                received = client.client.receive(within=deadline.remaining())
                if received.data == payload and received.peer is not None:
                    return received.peer[1]
    return None


def _answered(client: AllocatedClient, peer: Socket, address: tuple[str, int]) -> bool:
    for _ in range(TRIES):
        payload = secrets.token_bytes(SIZE)
        client.client.send(address, payload)
        with contextlib.suppress(TimeoutError):
            data, source = peer.recvfrom(2 * SIZE)
            if data == payload and source[:2] == client.relayed:
                return True
    return False
