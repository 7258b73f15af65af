"""Attempts to send through TURN without a permission, or to peers that nobody may get one for (RFC 8656, section 9)."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable
from functools import partial

from ..clients.turn.messages import Message, MessageClass, Method
from ..hosts import Host
from ..stage.outcome import Outcome
from ..stage.stage import Stage
from ..target import Service
from ..waiting import WaitTimeout
from .turn_exchange import FIRST_CHANNEL, AllocatedClient, refusal_of, waiting_payloads, written

__all__ = [
    "expect_channel_includes_permission",
    "expect_peers_refused",
    "expect_permission_needed",
    "judge_peers_at_own_address",
]

NO_PEERS = (
    *("0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254"),  # noqa: S104
    *("172.16.0.1", "192.168.0.1", "224.0.0.1"),
)
"""One address of each kind that no relay may talk to, but for relays of its own."""
LOCALHOST = "127.0.0.1"
SOME_PORT = 9
CHANNELS_OF_OWN_PORTS = 0x4100
"""The first of those that no other part of the check uses."""
ANSWERS_WITHIN = 0.5
"""Seconds in which a server that can be reached through itself has answered itself."""
PAYLOAD = b"\xffthis must not arrive"


def expect_permission_needed(stage: Stage, closed: AllocatedClient, open_: AllocatedClient) -> None:
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


def expect_channel_includes_permission(stage: Stage, bound: AllocatedClient, other: AllocatedClient) -> None:
    """RFC 8656, section 12: ChannelBind installs a permission; aioice never asks for one besides."""
    bound.client.bind(FIRST_CHANNEL, other.relayed)
    other.client.permit(bound.relayed[0])
    for sender, receiver in ((other, bound), (bound, other)):
        sender.client.send(receiver.relayed, PAYLOAD)
        with stage.outcome.expect_to_arrive(
            what="a channel alone should let data through in both directions"
        ):
            receiver.client.receive()


def expect_peers_refused(stage: Stage, peer: AllocatedClient) -> None:
    """Neither a permission nor a channel is granted for addresses of a kind that is no peer's, and nothing gets there.

    Each channel has a number of its own: one that was used for another peer is an error by itself (section 12).
    """
    own, outcome = peer.relayed[0], stage.outcome
    permitted, bound = [], []
    for number, host in enumerate(NO_PEERS, FIRST_CHANNEL):
        if host == own:
            continue  # relays of one server are peers of each other
        if not _is_forbidden(outcome, f"a permission for {host}", partial(peer.client.permit, host)):
            permitted.append(host)
        channel = partial(peer.client.bind, number, (host, SOME_PORT))
        if not _is_forbidden(outcome, f"a channel to {host}:{SOME_PORT}", channel):
            bound.append(host)
    for what, granted in (("permissions for", permitted), ("channels to", bound)):
        outcome.expect(
            not granted, f"TURN grants {what} {', '.join(granted)}", cause="turn.reaches_private_peers"
        )
    if not ipaddress.ip_address(own).is_loopback:
        outcome.note("programs of the server besides TURN were not tried as peers: they are out of sight")
    elif own != LOCALHOST:
        outcome.expect(
            not _reaches_a_program(stage.host, peer, LOCALHOST),
            f"a datagram was relayed to a program on {LOCALHOST}",
        )


def judge_peers_at_own_address(stage: Stage, peer: AllocatedClient) -> None:
    """The address of relays has other sockets, too, that Send or a channel may reach.

    RFC 8656 leaves it to a server to tell ports apart (sections 10.2 and 12.2: "MAY impose restrictions"). coturn knows
    addresses only, and must let its own be a peer, or two of its clients would not meet: there it is a note.
    A server that states `turn_peers_by_port` is held to it.
    """
    own, outcome = peer.relayed[0], stage.outcome
    reached = _reached_at(stage, peer, own)
    if "turn_peers_by_port" in stage.target.capabilities:
        outcome.expect(
            not reached,
            f"clients reach {' and '.join(reached)} at the server's own address {own} through TURN",
        )
        for number, port in enumerate(sorted(_listeners(stage, peer)), CHANNELS_OF_OWN_PORTS):
            channel = partial(peer.client.bind, number, (own, port))
            what = f"a channel to its own listener at {own}:{port}"
            outcome.expect(_is_forbidden(outcome, what, channel), f"TURN grants {what}")
    elif reached:
        outcome.note(
            f"clients reach {' and '.join(reached)} at the server's own address {own} through TURN, and seem to come "
            "from the server: it tells relayed transport addresses from others by no port, which RFC 8656 leaves to it"
        )


def _listeners(stage: Stage, peer: AllocatedClient) -> dict[int, str]:
    """Transport of each listener of TURN, by its port."""
    return {url.port: url.transport for url in (*stage.target.turn, peer.client.server)}


def _reached_at(stage: Stage, peer: AllocatedClient, own: str) -> list[str]:
    """Sockets at the address of relays, other than relays, that a Send indication reaches, in words."""
    client = peer.client
    client.permit(own)
    reached = []
    for port, transport in sorted(_listeners(stage, peer).items()):
        if transport == "udp":
            client.send((own, port), Message(Method.BINDING, MessageClass.REQUEST).encode())
            with contextlib.suppress(WaitTimeout):
                client.receive(within=ANSWERS_WITHIN)
                reached.append(f"TURN itself (port {port})")
    if ipaddress.ip_address(own).is_loopback and _reaches_a_program(stage.host, peer, own):
        reached.append("other programs")
    return reached


def _is_forbidden(outcome: Outcome, what: str, request: Callable[[], object]) -> bool:
    """False if it is granted. A refusal with another code than 403 is a failure by itself."""
    refusal = refusal_of(request)
    if refusal is not None:
        outcome.expect(refusal.code == 403, f"{what}: {refusal}, instead of 403")
    return refusal is not None


def _reaches_a_program(host: Host, peer: AllocatedClient, address: str) -> bool:
    """A Send indication arrives at somebody else's UDP socket on the machine of the server."""
    with host.socket(socket.AF_INET, socket.SOCK_DGRAM) as program:
        program.bind((address, 0))
        program.setblocking(False)
        peer.client.send(program.getsockname()[:2], PAYLOAD)
        peer.client.refresh()
        try:
            return bool(program.recv(1))
        except BlockingIOError:
            return False
