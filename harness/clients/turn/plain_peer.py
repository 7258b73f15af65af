"""A plain peer: a UDP socket without any allocation, as every phone is that needs no relay itself.

Two clients of one TURN server never leave it: only such a peer shows whether the ports of relayed transport addresses
are open from outside.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Iterator

from ...hosts import Host, Socket
from ...waiting import Deadline, WaitTimeout
from .client import TurnClient
from .messages import Address

__all__ = ["TRIES", "answer_arrives", "bound_peer", "first_arrival"]

TRIES = 3
SIZE = 172
"""Bytes of a datagram: 20 ms of audio."""


@contextlib.contextmanager
def bound_peer(host: Host, relayed: Address) -> Iterator[Socket]:
    """A socket on a port that has never talked to the server."""
    family = socket.AF_INET6 if ":" in relayed[0] else socket.AF_INET
    with host.socket(family, socket.SOCK_DGRAM) as bound:
        bound.bind(("", 0))
        yield bound


def first_arrival(client: TurnClient, relayed: Address, peer: Socket, *, within: float) -> Address | None:
    """Send to the relayed transport address; the peer as the server sees it. None when nothing arrived in each try."""
    for _ in range(TRIES):
        payload = secrets.token_bytes(SIZE)
        peer.sendto(payload, relayed)
        deadline = Deadline(within)
        with contextlib.suppress(WaitTimeout):
            while True:
                received = client.receive(within=deadline.remaining())
                if received.data == payload and received.peer is not None:
                    return received.peer
    return None


def answer_arrives(
    client: TurnClient, relayed: Address, peer: Socket, peer_address: Address, *, within: float
) -> bool:
    """Something that the client sends to the peer arrives, and comes from the relayed transport address."""
    peer.settimeout(within)
    for _ in range(TRIES):
        payload = secrets.token_bytes(SIZE)
        client.send(peer_address, payload)
        with contextlib.suppress(TimeoutError):
            data, source = peer.recvfrom(2 * SIZE)
            if data == payload and source[:2] == relayed:
                return True
    return False
