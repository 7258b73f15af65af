"""Three nodes that send each other realtime data through the iroh relay: what a few frames of a look cannot show."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress

from ..clients.relay.client import RelayClient, RelayError
from ..hosts import Host
from ..report.looks import RelayLook, SwarmLook
from ..text import clean
from ..urls import RelayUrl
from ..waiting import Deadline, WaitTimeout
from .certificates import public_roots
from .host import KnowingHost

__all__ = ["look_at_swarm"]

NODES = 3
ROUNDS = 20
FRAMES = 5
"""To each other node in a round: less than any queue of a relay holds (512)."""
SIZE = 1100
"""Bytes, about those of a datagram of QUIC."""
WITHIN = 5.0
"""Seconds for an answer, and for the frames of a round."""
TURN = 0.02
"""Seconds for which one node is waited for, before the next one has its turn."""
SHOWN = 160


def look_at_swarm(host: Host, relay: RelayLook) -> SwarmLook:
    """Let the nodes talk, round by round, until something is missing. `relay` is one at which nodes were let in.

    A round is over when every frame of it is there. What is missing when the relay answers a ping, which it does behind
    all that it had for that node, was lost; without that answer nothing is said.
    """
    url = RelayUrl.parse(relay.url)
    answering = [each.address for each in relay.ports if each.reached == "open"]
    known, tls = KnowingHost(host, url.host, answering), public_roots() if url.secure else None
    sent = arrived = 0
    try:
        with ExitStack() as stack:
            nodes = [
                stack.enter_context(RelayClient(known, url, tls=tls, within=WITHIN)) for _ in range(NODES)
            ]
            for node in nodes:
                node.ping(within=WITHIN)
            while sent < ROUNDS * FRAMES * NODES * (NODES - 1) and sent == arrived:
                here, there = _round(nodes)
                sent, arrived = sent + here, arrived + there
    except (RelayError, WaitTimeout, OSError) as error:
        return SwarmLook("undecided", clean(str(error), SHOWN), sent, arrived)
    return SwarmLook("heard" if sent == arrived else "failed", "", sent, arrived)


def _round(nodes: Sequence[RelayClient]) -> tuple[int, int]:
    """Frames that were sent from each to each, and those of them that arrived once, unchanged, from the right key."""
    frames = {
        (sender.node_id, receiver.node_id): [secrets.token_bytes(SIZE) for _ in range(FRAMES)]
        for sender in nodes
        for receiver in nodes
        if sender is not receiver
    }
    by_id = {node.node_id: node for node in nodes}
    for (sender, receiver), payloads in frames.items():
        for payload in payloads:
            by_id[sender].send(receiver, payload, within=WITHIN)
    came = _received(nodes, FRAMES * (len(nodes) - 1))
    right = sum(
        came[receiver][sender, payload] == 1
        for (sender, receiver), payloads in frames.items()
        for payload in payloads
    )
    return sum(map(len, frames.values())), right


def _received(nodes: Sequence[RelayClient], wanted: int) -> dict[str, Counter[tuple[str, bytes]]]:
    """What came to each node, by source and payload, when all of it is there or nothing more comes.

    Nodes are read in turn, since each has to answer the relay's pings.
    """
    deadline = Deadline(WITHIN)
    came: dict[str, Counter[tuple[str, bytes]]] = {node.node_id: Counter() for node in nodes}
    while any(each.total() < wanted for each in came.values()) and not deadline.over:
        for node in nodes:
            came[node.node_id].update(_waiting(node))
    for node in nodes:
        node.ping(within=WITHIN)
        came[node.node_id].update(_waiting(node))
    return came


def _waiting(node: RelayClient) -> Iterator[tuple[str, bytes]]:
    with suppress(WaitTimeout):
        while True:
            packet = node.receive(within=TURN)
            yield packet.source, packet.payload
