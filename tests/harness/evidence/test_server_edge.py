"""The edge of the server as a witness: it agrees, it contradicts, and it is left out where it cannot know."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.evidence import paths
from harness.evidence.flows import Connection, Counts, EdgeCounts, Endpoint, Stream
from harness.evidence.parties import ObservedDevice, Parties
from harness.evidence.paths import PathVerdict

from .recorded import (
    ALICE,
    BOB,
    BOB_INSIDE,
    CALL,
    DIRECT,
    IDLE,
    IROH,
    OVER_TCP,
    OVER_THE_RELAY,
    REALTIME,
    RELAYED_BOTH,
    TURN,
    WITHOUT_THE_RELAY,
    checks,
    edge,
    rtp,
    sides,
    tcp,
)

IMAPS = Endpoint(TURN.address, 993)


def turn_edge(*, from_alice: int = 500, to_bob: int = 500) -> EdgeCounts:
    """Of a call in which alice has sent 500 packets and bob 400, if nothing else is said."""
    return edge(
        tx=rtp(TURN, BOB, to_bob, channel=True) | rtp(TURN, ALICE, 400, channel=True) | checks(TURN, BOB),
        rx=rtp(ALICE, TURN, from_alice, channel=True) | rtp(BOB, TURN, 400, channel=True),
    )


def relay_edge(*, from_alice: int = 50_000, to_bob: int = 50_000) -> EdgeCounts:
    """Of an exchange in which alice had 50000 bytes for bob, and bob 40000 for her; and of their mail."""
    streams = {
        Connection(IROH, ALICE): Stream(sent=40_000, received=from_alice),
        Connection(IROH, BOB): Stream(sent=to_bob, received=40_000),
        Connection(IMAPS, ALICE): Stream(sent=90_000, received=9_000),
    }
    return edge({}, {}, streams)


# Calls


def test_both_edges_of_a_relayed_call_are_a_proof_without_agents_and_ledger():
    path = paths.of_call(RELAYED_BOTH, CALL, None, None, server=turn_edge())
    assert path.is_relayed_by("turn"), path
    assert path.sentence == (
        "media: relayed(turn), by counters at the edges and counters at the server's edge"
    )


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (
            turn_edge(from_alice=496),
            "alice's edge sent to relays: 500 packets/100000 bytes, "
            "but the server's edge received from alice: 496 packets/99200 bytes",
        ),
        (
            turn_edge(to_bob=504),
            "the server's edge sent to bob: 504 packets/100800 bytes, "
            "but bob's edge received from relays: 500 packets/100000 bytes",
        ),
        (edge({}, {}), "the server's edge received from alice: 0 packets/0 bytes"),
    ],
    ids=["too few came", "too many went", "nothing"],
)
def test_a_server_edge_that_counted_something_else_is_a_disagreement(server, words):
    path = paths.of_call(RELAYED_BOTH, CALL, sides(500, 400), None, server=server)
    assert path.verdict is PathVerdict.DISAGREEMENT
    assert words in path.sentence


def test_three_packets_may_be_on_their_way_between_two_edges():
    assert paths.of_call(
        RELAYED_BOTH, CALL, None, None, server=turn_edge(from_alice=497, to_bob=503)
    ).is_relayed_by("turn")


def test_what_the_lab_took_away_on_the_way_to_the_server_is_no_disagreement():
    server = turn_edge(from_alice=450, to_bob=450)
    edges = RELAYED_BOTH | {
        "bob": edge(rtp(BOB_INSIDE, TURN, 400, channel=True), rtp(TURN, BOB_INSIDE, 450, channel=True))
    }
    assert paths.of_call(edges, CALL, None, None, server=server).verdict is PathVerdict.DISAGREEMENT
    assert paths.of_call(edges, CALL, None, None, server=server, lost={"alice": 50}).is_relayed_by("turn")


def test_of_a_direct_call_the_server_edge_has_nothing():
    assert paths.of_call(DIRECT, CALL, None, None, server=edge({}, {})).is_direct
    path = paths.of_call(DIRECT, CALL, sides(500, 400), None, server=turn_edge())
    assert path.verdict is PathVerdict.DISAGREEMENT


def test_a_leg_over_tcp_is_compared_by_the_bytes_of_its_stream():
    server = edge(
        rtp(TURN, BOB, 500, channel=True),
        rtp(BOB, TURN, 400, channel=True),
        {Connection(TURN, ALICE): Stream(sent=82_000, received=101_900)},
    )
    assert paths.of_call(OVER_TCP, CALL, None, None, server=server).is_relayed_by("turn")
    half = replace(server, streams={Connection(TURN, ALICE): Stream(sent=82_000, received=50_000)})
    path = paths.of_call(OVER_TCP, CALL, None, None, server=half)
    assert "the server's edge received from alice: 50000 bytes over TCP" in path.sentence


def test_a_server_edge_whose_account_does_not_add_up_is_no_witness():
    full = replace(turn_edge(), rx=Counts({}, total=9, other=9))
    assert paths.of_call(RELAYED_BOTH, CALL, None, None, server=full).verdict is PathVerdict.NOT_PROVEN
    assert paths.of_call(RELAYED_BOTH, CALL, sides(500, 400), None, server=full).is_relayed_by("turn")


# Realtime data


def test_both_edges_prove_realtime_data_of_which_nobody_else_says_anything():
    path = paths.of_realtime(OVER_THE_RELAY, REALTIME, None, None, server=relay_edge(), phase="joining")
    assert path.is_relayed_by("iroh relay"), path
    assert path.sentence == (
        "joining: relayed(iroh relay), by counters at the edges and counters at the server's edge"
    )


@pytest.mark.parametrize(
    ("server", "words"),
    [
        (
            relay_edge(from_alice=45_000),
            "alice's edge sent to the relay: 50000 bytes over TCP, "
            "but the server's edge received from alice: 45000 bytes over TCP",
        ),
        (
            relay_edge(to_bob=55_000),
            "bob's edge received from the relay: 50000 bytes over TCP, "
            "but the server's edge sent to bob: 55000 bytes over TCP",
        ),
        (edge({}, {}), "the server's edge sent to alice: 0 packets/0 bytes"),
    ],
    ids=["too little came", "too much went", "nothing"],
)
def test_realtime_data_that_the_server_edge_counted_otherwise_is_a_disagreement(server, words):
    path = paths.of_realtime(OVER_THE_RELAY, REALTIME, 60_000, None, server=server)
    assert path.verdict is PathVerdict.DISAGREEMENT
    assert words in path.sentence


def test_the_faults_of_two_devices_do_not_cancel_each_other():
    swapped = relay_edge(from_alice=40_000)
    streams = {**swapped.streams, Connection(IROH, BOB): Stream(sent=50_000, received=50_000)}
    path = paths.of_realtime(OVER_THE_RELAY, REALTIME, None, None, server=replace(swapped, streams=streams))
    assert len(path.contradictions) == 2


def test_four_kilobytes_may_be_on_their_way_between_two_edges():
    server = relay_edge(from_alice=50_000 - 4096, to_bob=50_000 + 4096)
    assert paths.of_realtime(OVER_THE_RELAY, REALTIME, None, None, server=server).is_relayed_by("iroh relay")


def test_direct_data_while_the_relay_is_idle():
    quiet = edge({}, {}, {Connection(IROH, ALICE): Stream(90, 90), Connection(IROH, BOB): Stream(90, 90)})
    assert paths.of_realtime(WITHOUT_THE_RELAY, REALTIME, None, None, server=quiet).is_direct
    assert paths.of_realtime(IDLE, REALTIME, None, None, server=quiet).verdict is PathVerdict.NONE


# Devices that it cannot, or need not, know


SAME_ROOF = tuple(replace(each, addresses=each.addresses | {"5.9.0.9"}) for each in REALTIME.devices)
"""Behind one NAT: at the server both come from its outer address."""


def test_devices_that_share_an_outer_address_are_left_out():
    who = replace(REALTIME, devices=SAME_ROOF)
    nothing = edge({}, {})
    alone = paths.of_realtime(OVER_THE_RELAY, who, None, None, server=nothing)
    assert alone.verdict is PathVerdict.NOT_PROVEN
    assert "counters at the edges alone is no proof" in alone.sentence
    with_apps = paths.of_realtime(OVER_THE_RELAY, who, 60_000, None, server=nothing)
    assert with_apps.is_relayed_by("iroh relay")
    assert "the server's edge" not in with_apps.sentence
    call = replace(CALL, devices=SAME_ROOF)
    assert paths.of_call(RELAYED_BOTH, call, None, None, server=nothing).verdict is PathVerdict.NOT_PROVEN
    assert paths.of_call(RELAYED_BOTH, call, sides(500, 400), None, server=nothing).is_relayed_by("turn")


def test_a_third_device_with_an_address_of_its_own_is_still_compared():
    carol_inside, carol = Endpoint("10.0.3.2", 41000), Endpoint("5.9.0.30", 63000)
    lone = ObservedDevice("carol", frozenset({carol_inside.address, carol.address}))
    who = Parties((*SAME_ROOF, lone), REALTIME.relays, REALTIME.others)
    edges = OVER_THE_RELAY | {"carol": edge({}, {}, tcp(carol_inside, 20_000, 20_000))}
    server = edge({}, {}, {Connection(IROH, carol): Stream(sent=20_000, received=10_000)})
    path = paths.of_realtime(edges, who, 60_000, None, server=server)
    [contradiction] = path.contradictions
    assert "received from carol: 10000" in contradiction


def test_a_device_that_the_phase_is_not_about_is_not_counted():
    """What the relay had for it, the lab took away."""
    carol = Endpoint("5.9.0.30", 63000)
    server = relay_edge()
    streams = {**server.streams, Connection(IROH, carol): Stream(sent=70_000, received=0)}
    path = paths.of_realtime(
        OVER_THE_RELAY, REALTIME, None, None, server=replace(server, streams=streams), phase="isolated"
    )
    assert path.is_relayed_by("iroh relay"), path


def test_a_device_that_has_moved_is_known_by_both_addresses():
    mobile_inside, mobile = Endpoint("100.64.0.7", 42000), Endpoint("5.9.0.40", 64000)
    bob = REALTIME.devices[1]
    moved = replace(bob, addresses=bob.addresses | {mobile_inside.address, mobile.address})
    who = replace(REALTIME, devices=(REALTIME.devices[0], moved))
    edges = OVER_THE_RELAY | {
        "bob": edge({}, {}, tcp(BOB_INSIDE, 10_000, 20_000) | tcp(mobile_inside, 30_000, 30_000))
    }
    before = relay_edge().streams
    streams = {
        **before,
        Connection(IROH, BOB): Stream(sent=20_000, received=10_000),
        Connection(IROH, mobile): Stream(sent=30_000, received=30_000),
    }
    path = paths.of_realtime(edges, who, None, None, server=edge({}, {}, streams))
    assert path.is_relayed_by("iroh relay"), path
    stayed = paths.of_realtime(edges, REALTIME, None, None, server=edge({}, {}, streams))
    assert stayed.verdict is PathVerdict.DISAGREEMENT


def test_where_nobody_counted_at_the_server_it_is_no_witness():
    assert paths.of_realtime(OVER_THE_RELAY, REALTIME, None, None).verdict is PathVerdict.NOT_PROVEN
