"""Counts of all clients together, and late ones, beside those at the server's edge: the words where they differ."""

from __future__ import annotations

import pytest

from harness.clients.relay.client import RelayError
from harness.clients.relay.metrics import RelayMetrics
from harness.clients.turn.ledger import Count
from harness.clients.turn.sessions import TurnSession
from harness.evidence import paths
from harness.evidence.flows import Connection, Counts, EdgeCounts, Endpoint, Flow, PacketClass, Stream
from harness.evidence.late import differing_sessions, metrics_beside_edge
from harness.evidence.paths import PathVerdict
from harness.servers.coturn import sessions_in

from .recorded import REALTIME

ALICE, BOB = "5.9.0.10", "5.9.0.20"
RELAY = next(each for site in REALTIME.relays for each in (Endpoint(min(site.addresses), min(site.tcp)),))
METRICS = """\
# TYPE relayserver_bytes_sent counter
relayserver_bytes_sent_total 50000
relayserver_bytes_recv_total 40000
relayserver_send_packets_sent_total 100
relayserver_send_packets_recv_total 50
relayserver_got_ping_total 7
"""


def edge(*, taken: int, given: int, stranger: str | None = None) -> EdgeCounts:
    """Of the server: both devices have sent it a half of `taken` and got a half of `given`."""
    streams = {
        Connection(RELAY, Endpoint(each, 40000)): Stream(sent=given // 2, received=taken // 2)
        for each in (ALICE, BOB)
    }
    if stranger is not None:
        streams[Connection(RELAY, Endpoint(stranger, 40000))] = Stream(1, 1)
    return EdgeCounts(streams=streams)


def device_edges(*, taken: int, given: int) -> dict[str, EdgeCounts]:
    return {
        name: EdgeCounts(
            streams={
                Connection(Endpoint(address, 40000), RELAY): Stream(sent=taken // 2, received=given // 2)
            }
        )
        for name, address in (("alice", ALICE), ("bob", BOB))
    }


def test_metrics_are_read_with_the_headers_of_frames():
    assert RelayMetrics.parse(METRICS) == RelayMetrics(taken=40000 + 37 * 50, given=50000 + 37 * 100)
    with pytest.raises(RelayError, match="the relay's metrics have no 'bytes_recv'"):
        RelayMetrics.parse("relayserver_accepts_total 3\n")


def test_metrics_that_agree_are_a_witness_by_name():
    path = paths.of_realtime(
        device_edges(taken=60000, given=62000),
        REALTIME,
        50000,
        None,
        metrics=RelayMetrics(59000, 61000),
        server=edge(taken=60000, given=62000),
    )
    assert path.verdict is PathVerdict.RELAYED, path.sentence
    assert "the relay's metrics" in path.witnesses


@pytest.mark.parametrize("claimed", [RelayMetrics(30000, 61000), RelayMetrics(59000, 90000)])
def test_a_relay_whose_metrics_lie_is_noticed(claimed):
    path = paths.of_realtime(
        device_edges(taken=60000, given=62000),
        REALTIME,
        50000,
        None,
        metrics=claimed,
        server=edge(taken=60000, given=62000),
    )
    assert path.verdict is PathVerdict.DISAGREEMENT
    assert "the relay's metrics have" in path.sentence
    assert "but the server's edge" in path.sentence


def test_metrics_are_no_witness_where_others_use_the_relay_too_or_nobody_counts_there():
    metrics = RelayMetrics(1, 1)
    assert not list(metrics_beside_edge(metrics, None, REALTIME))
    assert not list(metrics_beside_edge(metrics, edge(taken=9, given=9, stranger="9.9.9.9"), REALTIME))


LOG = """\
5: : session 000000000000000001: new, realm=<r>, username=<1>, lifetime=600
6: : session 000000000000000001: usage: realm=<r>, username=<1>, rp=2040, rb=200000, sp=8, sb=900
7: : session 000000000000000002: usage: realm=<r>, username=<1>, rp=1, rb=20, sp=1, sb=100
8: : session 000000000000000001: usage: realm=<r>, username=<1>, rp=10, rb=1000, sp=2, sb=100
8: : session 000000000000000001: peer usage: realm=<r>, username=<1>, rp=999, rb=1, sp=1, sb=1
8: : session 000000000000000001: closed (2nd stage), user <1> realm <r> origin <>, local 5.9.0.1:3478, \
remote 5.9.0.10:46007, reason: allocation timeout
"""


def test_sessions_of_coturn_are_the_sum_of_what_it_says_until_their_end():
    assert sessions_in(LOG) == [
        TurnSession("5.9.0.10:46007", "5.9.0.1:3478", Count(2050, 201000), Count(10, 1000))
    ]


def turn_edge(packets: int) -> EdgeCounts:
    client, server = Endpoint(ALICE, 46007), Endpoint("5.9.0.1", 3478)
    here = {
        Flow(client, server, PacketClass.RTP, channel=True): Count(packets - 50, 1),
        Flow(client, server, PacketClass.STUN): Count(50, 1),
        Flow(Endpoint(BOB, 1), server, PacketClass.STUN): Count(77, 1),
    }
    return EdgeCounts(tx=Counts({Flow(server, client, PacketClass.STUN): Count(10, 1)}), rx=Counts(here))


def test_a_session_that_is_as_the_edge_saw_it_is_right():
    assert differing_sessions(sessions_in(LOG), turn_edge(2050)) == []
    assert differing_sessions(sessions_in(LOG), turn_edge(2100)) == [], "a busy socket lost some"
    assert differing_sessions(sessions_in(LOG), EdgeCounts()) == [], "over TCP, packets are not counted"


@pytest.mark.parametrize("packets", [1000, 5000])
def test_a_session_that_is_another_is_named(packets):
    assert differing_sessions(sessions_in(LOG), turn_edge(packets)) == [
        f"the TURN server counted 2050 packets from 5.9.0.10:46007, and {packets} passed the server's edge"
    ]
