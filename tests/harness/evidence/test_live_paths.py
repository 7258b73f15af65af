"""The verdict on real packets: two hosts, directly and through a forwarder that stands in for a relay."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from pyroute2 import IPRoute

from harness.clients.turn.ledger import NOTHING, Count
from harness.evidence import egress, paths
from harness.evidence.edges import Edges
from harness.evidence.egress import DirectTraffic
from harness.evidence.flows import Endpoint, Stream
from harness.evidence.parties import ObservedDevice, Parties, Site
from harness.evidence.paths import ClientCounts, PathVerdict, RelayedBytes
from harness.network.lab import LabHost
from harness.network.links import connect

from .rooms import lab, pair, send_over_tcp, udp

__all__ = ["lab", "pair"]

RTP = b"\x80\x6f" + bytes(198)
CHECK = b"\0\1" + bytes(86)
PACKETS = 200


def parties(pair: tuple[LabHost, LabHost], *relays: Site) -> Parties:
    return Parties(tuple(ObservedDevice(host.name, frozenset(host.addresses)) for host in pair), relays)


@contextmanager
def forwarder(host: LabHost, first: Endpoint, second: Endpoint) -> Iterator[Endpoint]:
    """What one of two sends here goes to the other."""
    with udp(host) as relay:

        def forward() -> None:
            while data := (received := relay.recvfrom(2000))[0]:
                relay.sendto(data, second if received[1] == first else first)

        thread = threading.Thread(target=forward)
        thread.start()
        try:
            yield Endpoint(*relay.getsockname())
        finally:
            with udp(host) as stopper:
                stopper.sendto(b"", relay.getsockname())
            thread.join()


def talk(one: socket.socket, other: socket.socket, via: Endpoint | None = None) -> dict[str, ClientCounts]:
    """Both send `PACKETS`; what they say about it."""
    got = {one: 0, other: 0}
    for _ in range(PACKETS):
        for sender, receiver in ((one, other), (other, one)):
            sender.sendto(RTP, via or receiver.getsockname())
            got[receiver] += len(receiver.recv(2000))
    sent = Count(PACKETS, PACKETS * len(RTP))
    return {
        name: ClientCounts(sent, Count(size // len(RTP), size))
        for name, size in (("alice", got[one]), ("bob", got[other]))
    }


def test_direct(pair):
    alice, bob = pair
    with Edges(pair) as edges, udp(alice) as one, udp(bob) as other:
        edges.begin("media")
        agents = talk(one, other)
        edges.settle(within=10)
        path = paths.of_call(edges.phase("media"), parties(pair), agents, {})
    assert path.is_direct, path
    assert path.delivered_directly == path.attempted_directly == 2 * PACKETS


def test_relayed_with_checks_that_arrive(lab, pair, tmp_path):
    """Connectivity checks go directly, as in a real call: they are no media."""
    alice, bob = pair
    server = lab.server("server")
    who = parties(pair, Site("turn", frozenset(server.addresses), udp=None))
    with Edges([*pair, server], tmp_path / "capture.pcapng") as edges, udp(alice) as one, udp(bob) as other:
        ends = Endpoint(*one.getsockname()), Endpoint(*other.getsockname())
        with forwarder(server, *ends) as relay:
            edges.begin("signalling")
            one.sendto(CHECK, ends[1])
            assert other.recv(100) == CHECK
            edges.begin("media")
            agents = talk(one, other, relay)
            one.sendto(CHECK, ends[1])
            edges.settle(within=10)
            media = edges.phase("media")
            signalling = edges.phase("signalling")
    carried = {name: Count(PACKETS, PACKETS * len(RTP)) for name in ("alice", "bob")}
    path = paths.of_call(media, who, agents, carried)
    assert path.is_relayed_by("turn"), path
    assert path.delivered_directly == 0
    silent = {name: ClientCounts(NOTHING, NOTHING) for name in ("alice", "bob")}
    assert paths.of_call(signalling, who, silent, {}).verdict is PathVerdict.NONE
    assert paths.of_call(media, who, agents, {}).verdict is PathVerdict.DISAGREEMENT
    assert egress.of_edges(media, who, devices=DirectTraffic.CONNECTIVITY_CHECKS)
    assert not egress.of_edges(media, who)

    stranger = paths.of_call(media, parties(pair), agents, {})
    assert stranger.name == f"foreign({server.address})"


def test_a_hidden_direct_path_turns_the_verdict(lab, pair):
    """The agents say that they use the relay, and so does its ledger; half of the packets take another way."""
    alice, bob = pair
    server = lab.server("server")
    who = parties(pair, Site("turn", frozenset(server.addresses), udp=None))
    with Edges(pair) as edges, udp(alice) as one, udp(bob) as other:
        with forwarder(server, Endpoint(*one.getsockname()), Endpoint(*other.getsockname())) as relay:
            talk(one, other, relay)
            talk(one, other)
        edges.settle(within=10)
        now = edges.now()
    both = Count(2 * PACKETS, 2 * PACKETS * len(RTP))
    agents = {name: ClientCounts(both, both) for name in ("alice", "bob")}
    path = paths.of_call(now, who, agents, {"alice": both, "bob": both})
    assert not path.is_relayed_by("turn")
    assert path.verdict is PathVerdict.DISAGREEMENT
    half = Count(PACKETS, PACKETS * len(RTP))
    honest = paths.of_call(now, who, agents, {"alice": half, "bob": half})
    assert honest.name == "mixed(direct 50%, turn 50%)"
    assert honest.delivered_directly == 2 * PACKETS


def test_realtime_data_over_tcp_and_over_udp(lab, pair):
    alice, bob = pair
    server = lab.server("server")
    who = parties(pair, Site("iroh relay", frozenset(server.addresses), tcp=frozenset({3340})))
    with Edges(pair) as edges, udp(alice) as one, udp(bob) as other:
        edges.begin("relayed")
        send_over_tcp(alice, server, bytes(300_000), bytes(1000))
        send_over_tcp(bob, server, bytes(500), bytes(300_000))
        edges.settle(within=10)
        edges.begin("direct")
        for first in range(256):
            one.sendto(bytes([first, 0]) + bytes(998), other.getsockname())
            other.recv(2000)
        edges.settle(within=10)
        relayed = paths.of_realtime(edges.phase("relayed"), who, 250_000, RelayedBytes(300_500, 301_000))
        direct = paths.of_realtime(edges.phase("direct"), who, 200_000, RelayedBytes(0, 0))
    assert relayed.is_relayed_by("iroh relay"), relayed
    assert direct.is_direct, direct
    assert direct.delivered_directly == 252, "four first bytes are those of STUN"


def test_a_host_that_moves_keeps_its_account(lab, pair):
    alice, bob = pair
    with Edges(pair) as edges, udp(bob) as other:
        edges.begin("media")
        with udp(alice) as one:
            one.sendto(RTP, other.getsockname())
            other.recv(2000)
        send_over_tcp(alice, bob, bytes(5000), bytes(1))
        alice.link.upstream.call(remove, alice.link.outer)
        moved = LabHost(
            "alice",
            "5.9.9.9",
            alice.namespace,
            connect(lab.internet, alice.namespace, 99, ["5.9.9.9"]),
            ("5.9.9.9",),
        )
        edges.follow(moved)
        with udp(moved) as one:
            one.sendto(RTP, other.getsockname())
            other.recv(2000)
        edges.settle(within=10)
        counted = edges.phase("media")["alice"]
    sources = {flow.source.address for flow in counted.tx.rows if flow.kind.value == "rtp"}
    assert sources == {alice.address, "5.9.9.9"}
    assert list(counted.streams.values()) == [Stream(5000, 1)]
    assert counted.problems == []


def remove(interface: str) -> None:
    with IPRoute() as netlink:
        netlink.link("del", index=socket.if_nametoindex(interface))
