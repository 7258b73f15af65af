"""Attempts to send through TURN without a permission, or to peers that nobody may get one for (RFC 8656, section 9)."""

from __future__ import annotations

import ipaddress
import itertools
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from ..clients.turn.messages import Address, Kind, Message, Method
from ..hosts import Host
from ..stage.outcome import Outcome
from ..stage.stage import Stage
from ..target import Service
from .turn_exchange import FIRST_CHANNEL, Peer, refusal_of, waiting_payloads, written

__all__ = [
    "expect_channel_includes_permission",
    "expect_own_programs_unreachable",
    "expect_peers_refused",
    "expect_permission_needed",
]

NO_PEERS = (
    *("0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254"),  # noqa: S104
    *("172.16.0.1", "192.168.0.1", "224.0.0.1"),
)
"""One address of each kind that no relay may talk to, but for relays of its own."""
SOME_PORT = 9
PAYLOAD = b"\xffthis must not arrive"


def expect_permission_needed(stage: Stage, closed: Peer, open_: Peer) -> None:
    """One of two allocations has given a permission, the other one none."""
    open_.client.permit(closed.relayed[0])
    closed.client.send(open_.relayed, PAYLOAD)
    closed.client.refresh()  # answered: the server has dealt with everything that came before
    stage.outcome.expect(
        not waiting_payloads(open_.client), "a Send indication was relayed without a permission for its peer"
    )
    open_.client.send(closed.relayed, PAYLOAD)
    open_.client.refresh()
    stage.outcome.expect(
        not waiting_payloads(closed.client), "data of a peer arrived without a permission for it"
    )
    ledger = stage.ledger(Service.TURN, otherwise="dropped datagrams were not counted")
    if ledger is None:
        return
    found = ledger.allocation_of(written(closed.allocation.mapped), written(closed.relayed))
    drops = None if found is None else found.drops.get("no_permission")
    stage.outcome.expect(
        drops is not None and (drops.packets, drops.bytes) == (2, 2 * len(PAYLOAD)),
        f"the ledger of TURN says {drops} of two datagrams that were sent without a permission",
    )


def expect_channel_includes_permission(stage: Stage, bound: Peer, other: Peer) -> None:
    """RFC 8656, section 12: ChannelBind installs a permission; aioice never asks for one besides."""
    bound.client.bind(FIRST_CHANNEL, other.relayed)
    other.client.permit(bound.relayed[0])
    for sender, receiver in ((other, bound), (bound, other)):
        sender.client.send(receiver.relayed, PAYLOAD)
        with stage.outcome.expect_to_arrive(
            what="a channel alone should let data through in both directions"
        ):
            receiver.client.receive()


def expect_peers_refused(stage: Stage, peer: Peer) -> None:
    """Neither a permission nor a channel is granted for addresses of a kind that is no peer's.

    Each channel has a number of its own: one that was used for another peer is an error by itself (section 12).
    """
    own, outcome = peer.relayed[0], stage.outcome
    channels = itertools.count(FIRST_CHANNEL)
    for host in NO_PEERS:
        if host != own:  # relays of this server are peers; the rest of their address is tried below
            _expect_forbidden(outcome, f"a permission for {host}", partial(peer.client.permit, host))
        _expect_no_channel(outcome, peer, next(channels), (host, SOME_PORT))
    for port in sorted({url.port for url in (peer.client.server, *stage.target.turn)}):
        _expect_no_channel(outcome, peer, next(channels), (own, port))


def expect_own_programs_unreachable(stage: Stage, peer: Peer) -> None:
    """The address of relays has other sockets, too: with a permission for it, Send must not reach them."""
    own, outcome = peer.relayed[0], stage.outcome
    peer.client.permit(own)
    for port in {url.port for url in (peer.client.server, *stage.target.turn) if url.transport == "udp"}:
        peer.client.send((own, port), Message(Method.BINDING, Kind.REQUEST).encode())
    outcome.expect(not waiting_payloads(peer.client), "the server talks to itself through a relay")
    if not ipaddress.ip_address(own).is_loopback:
        outcome.note("programs of the server besides TURN were not tried as peers: they are out of sight")
        return
    for address in sorted({own, "127.0.0.1"}):
        with _program(stage.host, address) as program:
            peer.client.send(program.getsockname()[:2], PAYLOAD)
            peer.client.refresh()
            outcome.expect(not _has_received(program), f"a datagram was relayed to a program on {address}")


def _expect_no_channel(outcome: Outcome, peer: Peer, number: int, address: Address) -> None:
    _expect_forbidden(outcome, f"a channel to {written(address)}", partial(peer.client.bind, number, address))


def _expect_forbidden(outcome: Outcome, what: str, request: Callable[[], object]) -> None:
    refusal = refusal_of(request)
    if refusal is None:
        outcome.expect(False, f"TURN grants {what}")
    else:
        outcome.expect(refusal.code == 403, f"{what}: {refusal}, instead of 403")


@contextmanager
def _program(host: Host, address: str) -> Iterator[socket.socket]:
    """Somebody else's UDP service on the machine of the server."""
    with host.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind((address, 0))
        bound.setblocking(False)
        yield bound


def _has_received(program: socket.socket) -> bool:
    try:
        return bool(program.recv(1))
    except BlockingIOError:
        return False
