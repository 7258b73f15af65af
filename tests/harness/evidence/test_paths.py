"""The verdict, on recorded flows with known answers, on lies, and on any mix of flows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.clients.turn.ledger import NOTHING, Count
from harness.evidence import paths
from harness.evidence.flows import Connection, Counts, EdgeCounts, Flow, PacketClass, Stream
from harness.evidence.paths import ClientCounts, PathVerdict, RelayedBytes

from .recorded import (
    ALICE,
    ALICE_INSIDE,
    BOB,
    BOB_INSIDE,
    BOTH_WAYS,
    CALL,
    DIRECT,
    FOREIGN,
    IDLE,
    IROH,
    MIXED,
    NOTHING_BUT_CHECKS,
    OVER_TCP,
    OVER_THE_RELAY,
    REALTIME,
    RELAY_PORT,
    RELAYED_BOTH,
    RELAYED_ONE_LEG,
    STRANGER,
    TURN,
    WITHOUT_THE_RELAY,
    counts,
    edge,
    ledger,
    probes,
    rtp,
    sides,
    tcp,
)


@pytest.mark.parametrize(
    ("edges", "claimed", "expected", "directly"),
    [
        (RELAYED_BOTH, ledger(500, 400), "relayed(turn)", 0),
        (RELAYED_ONE_LEG, ledger(500, 400), "relayed(turn)", 0),
        (OVER_TCP, ledger(500, 400), "relayed(turn)", 0),
        (DIRECT, ledger(0, 0), "direct", 900),
        (MIXED, ledger(200, 0), "mixed(direct 78%, turn 22%)", 700),
        (FOREIGN, ledger(0, 0), "foreign(7.7.7.7)", 0),
    ],
    ids=["both legs", "one leg", "one leg over TCP", "direct", "mixed", "foreign"],
)
def test_a_call_with_a_known_answer(edges, claimed, expected, directly):
    path = paths.of_call(edges, CALL, sides(500, 400), claimed)
    assert path.name == expected, path
    assert path.delivered_directly == directly
    assert path.contradictions == ()
    assert len(path.witnesses) == 3


def test_a_call_that_never_came_about():
    path = paths.of_call(NOTHING_BUT_CHECKS, CALL, sides(0, 0), ledger(0, 0))
    assert path.verdict is PathVerdict.NONE
    assert path.attempted_directly == 0


def test_two_witnesses_are_enough_and_one_is_not():
    assert paths.of_call(DIRECT, CALL, sides(500, 400), None).is_direct
    assert paths.of_call(RELAYED_BOTH, CALL, None, ledger(500, 400)).is_relayed_by("turn")
    alone = paths.of_call(DIRECT, CALL, None, None)
    assert alone.verdict is PathVerdict.NOT_PROVEN
    assert "counters at the edges alone is no proof" in alone.sentence


def test_without_counters_outside_the_clients_nothing_is_proven():
    path = paths.of_call({}, CALL, sides(500, 400), ledger(500, 400))
    assert path.verdict is PathVerdict.NOT_PROVEN
    assert "nobody counted at the edge of alice" in path.sentence


def test_a_hidden_direct_path_is_seen():
    """The devices see each other although their NATs should not let them, and the agents are told nothing of it."""
    path = paths.of_call(DIRECT, CALL, sides(500, 400), ledger(0, 0))
    assert not path.is_relayed_by("turn")
    assert path.delivered_directly == 900


@pytest.mark.parametrize(
    ("edges", "claimed", "words"),
    [
        (RELAYED_BOTH, ledger(0, 0), "ledger has from alice: 0 packets"),
        (RELAYED_BOTH, ledger(700, 400), "ledger has from alice: 700 packets"),
        (RELAYED_BOTH, ledger(500, 404), "ledger has from bob: 404 packets"),
        (
            DIRECT,
            ledger(500, 400),
            "alice: 500 packets/100000 bytes, but bob's edge received from relays: 0 packets",
        ),
        (NOTHING_BUT_CHECKS, ledger(500, 400), "ledger has from alice: 500 packets"),
    ],
    ids=["nothing", "too much", "four too much", "of a direct call", "of no call"],
)
def test_a_ledger_that_lies_is_a_disagreement(edges, claimed, words):
    said = sides(0, 0) if edges is NOTHING_BUT_CHECKS else sides(500, 400)
    path = paths.of_call(edges, CALL, said, claimed)
    assert path.verdict is PathVerdict.DISAGREEMENT
    assert words in path.sentence


def test_agents_that_lie_are_a_disagreement():
    path = paths.of_call(RELAYED_BOTH, CALL, sides(600, 400), ledger(500, 400))
    assert path.verdict is PathVerdict.DISAGREEMENT
    assert (
        "alice sent: 600 packets/120000 bytes, but alice's edge sent: 500 packets/100000 bytes"
        in path.sentence
    )


def test_three_packets_may_be_on_their_way_and_four_may_not():
    assert paths.of_call(RELAYED_BOTH, CALL, sides(503, 397), ledger(497, 403)).is_relayed_by("turn")
    assert paths.of_call(RELAYED_BOTH, CALL, sides(504, 400), None).verdict is PathVerdict.DISAGREEMENT


def test_who_hangs_up_first_does_not_hear_the_good_byes_of_the_other():
    up, down = Count(500, 100_000), Count(400, 80_000)

    def verdict(received: Count) -> PathVerdict:
        said = {"alice": ClientCounts(up, down), "bob": ClientCounts(down, received)}
        return paths.of_call(RELAYED_BOTH, CALL, said, None).verdict

    assert verdict(Count(500 - 7, 100_000 - 7 * 54)) is PathVerdict.RELAYED
    assert verdict(Count(500 - 8, 100_000 - 8 * 54)) is PathVerdict.DISAGREEMENT  # more than good-byes
    assert verdict(Count(500 - 4, 100_000 - 4 * 150)) is PathVerdict.DISAGREEMENT  # sound


def test_what_the_lab_took_away_is_no_disagreement():
    edges = RELAYED_BOTH | {"bob": edge({}, rtp(TURN, BOB_INSIDE, 450, channel=True))}
    edges["alice"] = edge(rtp(ALICE_INSIDE, TURN, 500, channel=True), {})
    up = Count(500, 100_000)
    said = {"alice": ClientCounts(up, NOTHING), "bob": ClientCounts(NOTHING, Count(450, 90_000))}
    assert paths.of_call(edges, CALL, said, ledger(500, 0)).verdict is PathVerdict.DISAGREEMENT
    assert paths.of_call(edges, CALL, said, ledger(500, 0), lost={"alice": 50}).is_relayed_by("turn")
    assert paths.of_call(edges, CALL, said, ledger(450, 0), lost={"alice": 50}).is_relayed_by("turn")


def test_what_the_lab_took_away_behind_the_counters_is_no_disagreement():
    up, down = Count(500, 100_000), Count(400, 80_000)
    said = {"alice": ClientCounts(up, down), "bob": ClientCounts(down, Count(450, 90_000))}
    path = paths.of_call(RELAYED_BOTH, CALL, said, ledger(500, 400))
    assert "bob's edge received: 500 packets/100000 bytes, but bob received: 450" in path.sentence
    assert paths.of_call(RELAYED_BOTH, CALL, said, None, lost={"alice": 47}).is_relayed_by("turn")
    assert (
        paths.of_call(RELAYED_BOTH, CALL, said, None, lost={"alice": 46}).verdict is PathVerdict.DISAGREEMENT
    )


@pytest.mark.parametrize("framing", [4, 40])
def test_a_long_call_with_one_leg_over_tcp_or_tls(framing):
    """Framing grows with the call, and stands on one side of the relay only."""
    packets = 100_000
    size = packets * (200 + framing)
    edges = {
        "alice": edge({}, {}, {Connection(ALICE_INSIDE, TURN): Stream(sent=size, received=size)}),
        "bob": edge(
            rtp(BOB_INSIDE, TURN, packets, channel=True), rtp(TURN, BOB_INSIDE, packets, channel=True)
        ),
    }
    path = paths.of_call(edges, CALL, sides(packets, packets), ledger(packets, packets))
    assert path.is_relayed_by("turn"), path
    assert path.delivered_directly == 0


def test_an_edge_whose_account_does_not_add_up_proves_nothing():
    full = EdgeCounts(Counts({}, total=9, other=9), Counts())
    path = paths.of_call(RELAYED_BOTH | {"alice": full}, CALL, sides(500, 400), ledger(500, 400))
    assert path.verdict is PathVerdict.NOT_PROVEN
    assert "edge of alice, sent: 9 packets had no room" in path.sentence


# Realtime data


@pytest.mark.parametrize(
    ("edges", "arrived", "claimed", "expected"),
    [
        (OVER_THE_RELAY, 60_000, RelayedBytes(90_000, 90_000), "relayed(iroh relay)"),
        (OVER_THE_RELAY, None, RelayedBytes(90_000, 90_000), "relayed(iroh relay)"),
        (WITHOUT_THE_RELAY, 60_000, RelayedBytes(180, 180), "direct"),
        (BOTH_WAYS, 20_000, RelayedBytes(10_100, 10_100), "mixed(direct 75%, iroh relay 25%)"),
        (IDLE, 0, RelayedBytes(52, 52), "none"),
        (OVER_THE_RELAY, 60_000, RelayedBytes(0, 0), "disagreement"),
        (OVER_THE_RELAY, 60_000, RelayedBytes(90_000, 120_000), "disagreement"),
        (OVER_THE_RELAY, 100_000, RelayedBytes(90_000, 90_000), "disagreement"),
        (WITHOUT_THE_RELAY, 60_000, RelayedBytes(90_000, 90_000), "disagreement"),
        (OVER_THE_RELAY, None, None, "not proven"),
    ],
)
def test_realtime_data_with_a_known_answer(edges, arrived, claimed, expected):
    path = paths.of_realtime(edges, REALTIME, arrived, claimed)
    assert path.name == expected or path.name.startswith(expected + "("), path


def test_a_ledger_inside_tls_has_fewer_bytes_than_the_wire():
    inside = RelayedBytes(75_000, 75_000)
    assert paths.of_realtime(OVER_THE_RELAY, REALTIME, 60_000, inside).verdict is PathVerdict.DISAGREEMENT
    assert paths.of_realtime(OVER_THE_RELAY, REALTIME, 60_000, inside, tls=True).is_relayed_by("iroh relay")


def test_probes_that_arrive_are_no_data():
    edges = OVER_THE_RELAY | {"bob": edge({}, probes(ALICE, BOB_INSIDE), tcp(BOB_INSIDE, 40_000, 50_000))}
    path = paths.of_realtime(edges, REALTIME, 60_000, RelayedBytes(90_000, 90_000))
    assert path.is_relayed_by("iroh relay")
    assert path.delivered_directly == 0


# Any mix

endpoints = st.sampled_from([ALICE_INSIDE, ALICE, BOB_INSIDE, BOB, TURN, RELAY_PORT, STRANGER, IROH])
numbers = st.integers(0, 10**6)
any_count = st.builds(Count, numbers, numbers)
any_rows = st.dictionaries(
    st.builds(Flow, endpoints, endpoints, st.sampled_from(PacketClass), st.booleans()), any_count, max_size=6
)
any_counts = st.builds(Counts, any_rows, numbers, numbers, numbers) | any_rows.map(counts)
any_edge = st.builds(
    EdgeCounts,
    any_counts,
    any_counts,
    st.dictionaries(
        st.builds(Connection, endpoints, endpoints), st.builds(Stream, numbers, numbers), max_size=3
    ),
)
names = st.sampled_from(["alice", "bob", "carol"])
any_edges = st.dictionaries(names, any_edge)


@given(
    edges=any_edges,
    agents=st.none() | st.dictionaries(names, st.builds(ClientCounts, any_count, any_count)),
    claimed=st.none() | st.dictionaries(names, any_count),
    lost=st.none() | st.dictionaries(names, numbers),
    server=st.none() | any_edge,
)
def test_any_mix_of_flows_is_one_verdict_about_a_call(edges, agents, claimed, lost, server):
    path = paths.of_call(edges, CALL, agents, claimed, server=server, lost=lost)
    assert_sound(path)


@given(
    edges=any_edges,
    arrived=st.none() | numbers,
    claimed=st.none() | st.builds(RelayedBytes, numbers, numbers),
    tls=st.booleans(),
    server=st.none() | any_edge,
)
def test_any_mix_of_flows_is_one_verdict_about_realtime_data(edges, arrived, claimed, tls, server):
    path = paths.of_realtime(edges, REALTIME, arrived, claimed, server=server, tls=tls)
    assert_sound(path)


def assert_sound(path: paths.ObservedPath) -> None:
    assert isinstance(path.verdict, PathVerdict)
    assert path.name in path.sentence
    assert not path.shares or sum(path.shares.values()) == pytest.approx(1)
    if path.verdict in (PathVerdict.DIRECT, PathVerdict.RELAYED, PathVerdict.MIXED, PathVerdict.NONE):
        assert len(path.witnesses) >= 2
        assert not path.contradictions
        assert not path.doubts
    if path.verdict is PathVerdict.NOT_PROVEN:
        assert path.doubts
    if path.verdict is PathVerdict.DISAGREEMENT:
        assert path.contradictions
