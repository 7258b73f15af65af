"""Recorded flows with known answers."""

from __future__ import annotations

from collections.abc import Mapping

from harness.clients.turn.ledger import Count
from harness.evidence.flows import Connection, Counts, EdgeCounts, Endpoint, Flow, PacketClass, Stream
from harness.evidence.parties import ObservedDevice, Parties, Site
from harness.evidence.paths import ClientCounts

ALICE_INSIDE, ALICE = Endpoint("10.0.1.2", 40000), Endpoint("5.9.0.10", 61000)
BOB_INSIDE, BOB = Endpoint("10.0.2.2", 50000), Endpoint("5.9.0.20", 62000)
TURN, RELAY_PORT = Endpoint("5.9.0.1", 3478), Endpoint("5.9.0.1", 49200)
STRANGER = Endpoint("7.7.7.7", 3478)
IROH = Endpoint("5.9.0.1", 3340)

TURN_SERVICE = Site("turn", frozenset({"5.9.0.1"}), tcp=frozenset({3478, 5349}), udp=None)
IROH_SERVICE = Site("iroh relay", frozenset({"5.9.0.1"}), tcp=frozenset({3340}), udp=frozenset({3478}))
MAIL = Site("mail", frozenset({"5.9.0.1"}), tcp=frozenset({993, 465}))
DEVICES = (
    ObservedDevice("alice", frozenset({"10.0.1.2", "5.9.0.10"}), ("home",)),
    ObservedDevice("bob", frozenset({"10.0.2.2", "5.9.0.20"}), ("mobile",)),
)
CALL = Parties(DEVICES, (TURN_SERVICE,), (MAIL, IROH_SERVICE))
REALTIME = Parties(DEVICES, (IROH_SERVICE,), (MAIL, TURN_SERVICE))

Rows = Mapping[Flow, Count]


def counts(rows: Rows) -> Counts:
    return Counts(rows, sum(each.packets for each in rows.values()))


def edge(tx: Rows, rx: Rows, streams: Mapping[Connection, Stream] | None = None) -> EdgeCounts:
    return EdgeCounts(counts(tx), counts(rx), streams or {})


def rtp(source: Endpoint, destination: Endpoint, packets: int, *, channel: bool = False) -> dict[Flow, Count]:
    return {Flow(source, destination, PacketClass.RTP, channel): Count(packets, packets * 200)}


def checks(source: Endpoint, destination: Endpoint) -> dict[Flow, Count]:
    return {Flow(source, destination, PacketClass.STUN): Count(20, 1760)}


def sides(alice: int, bob: int) -> dict[str, ClientCounts]:
    """What the agents say when all that was sent arrived."""
    up, down = Count(alice, alice * 200), Count(bob, bob * 200)
    return {"alice": ClientCounts(up, down), "bob": ClientCounts(down, up)}


def ledger(alice: int, bob: int) -> dict[str, Count]:
    return {"alice": Count(alice, alice * 200), "bob": Count(bob, bob * 200)}


RELAYED_BOTH = {
    "alice": edge(
        rtp(ALICE_INSIDE, TURN, 500, channel=True) | checks(ALICE_INSIDE, BOB),
        rtp(TURN, ALICE_INSIDE, 400, channel=True),
    ),
    "bob": edge(
        rtp(BOB_INSIDE, TURN, 400, channel=True) | checks(BOB_INSIDE, ALICE),
        rtp(TURN, BOB_INSIDE, 500, channel=True),
    ),
}
RELAYED_ONE_LEG = {
    "alice": edge(rtp(ALICE_INSIDE, RELAY_PORT, 500), rtp(RELAY_PORT, ALICE_INSIDE, 400)),
    "bob": edge(rtp(BOB_INSIDE, TURN, 400, channel=True), rtp(TURN, BOB_INSIDE, 500, channel=True)),
}
DIRECT = {
    "alice": edge(rtp(ALICE_INSIDE, BOB, 500), rtp(BOB, ALICE_INSIDE, 400) | checks(BOB, ALICE_INSIDE)),
    "bob": edge(rtp(BOB_INSIDE, ALICE, 400), rtp(ALICE, BOB_INSIDE, 500)),
}
MIXED = {
    "alice": edge(
        rtp(ALICE_INSIDE, BOB, 300) | rtp(ALICE_INSIDE, TURN, 200, channel=True),
        rtp(BOB, ALICE_INSIDE, 400),
    ),
    "bob": edge(
        rtp(BOB_INSIDE, ALICE, 400), rtp(ALICE, BOB_INSIDE, 300) | rtp(TURN, BOB_INSIDE, 200, channel=True)
    ),
}
NOTHING_BUT_CHECKS = {
    "alice": edge(checks(ALICE_INSIDE, BOB), {}),
    "bob": edge(checks(BOB_INSIDE, ALICE), {}),
}
FOREIGN = {
    "alice": edge(rtp(ALICE_INSIDE, STRANGER, 500), rtp(STRANGER, ALICE_INSIDE, 400)),
    "bob": edge(rtp(BOB_INSIDE, STRANGER, 400), rtp(STRANGER, BOB_INSIDE, 500)),
}
OVER_TCP = {
    "alice": edge({}, {}, {Connection(ALICE_INSIDE, TURN): Stream(sent=101_900, received=82_000)}),
    "bob": edge(rtp(BOB_INSIDE, TURN, 400, channel=True), rtp(TURN, BOB_INSIDE, 500, channel=True)),
}


# Realtime data


def quic(source: Endpoint, destination: Endpoint, size: int) -> dict[Flow, Count]:
    """The first byte is chance, so a flow stands in several classes."""
    half = size // 2
    return {
        Flow(source, destination, PacketClass.OTHER): Count(10, size - half),
        Flow(source, destination, PacketClass.STUN, channel=True): Count(10, half - 40),
        Flow(source, destination, PacketClass.DISCO): Count(30, 3000),
        Flow(source, destination, PacketClass.STUN): Count(3, 300),
    }


def probes(source: Endpoint, destination: Endpoint) -> dict[Flow, Count]:
    return {Flow(source, destination, PacketClass.DISCO): Count(30, 3000)}


def tcp(local: Endpoint, sent: int, received: int) -> dict[Connection, Stream]:
    return {Connection(local, IROH): Stream(sent, received)}


OVER_THE_RELAY = {
    "alice": edge(probes(ALICE_INSIDE, BOB), {}, tcp(ALICE_INSIDE, 50_000, 40_000)),
    "bob": edge(probes(BOB_INSIDE, ALICE), {}, tcp(BOB_INSIDE, 40_000, 50_000)),
}
WITHOUT_THE_RELAY = {
    "alice": edge(
        quic(ALICE_INSIDE, BOB, 50_000), quic(BOB, ALICE_INSIDE, 40_000), tcp(ALICE_INSIDE, 90, 90)
    ),
    "bob": edge(quic(BOB_INSIDE, ALICE, 40_000), quic(ALICE, BOB_INSIDE, 50_000), tcp(BOB_INSIDE, 90, 90)),
}
BOTH_WAYS = {
    "alice": edge(quic(ALICE_INSIDE, BOB, 30_000), {}, tcp(ALICE_INSIDE, 10_000, 100)),
    "bob": edge({}, quic(ALICE, BOB_INSIDE, 30_000), tcp(BOB_INSIDE, 100, 10_000)),
}
IDLE = {"alice": edge({}, {}, tcp(ALICE_INSIDE, 26, 26)), "bob": edge({}, {}, tcp(BOB_INSIDE, 26, 26))}
