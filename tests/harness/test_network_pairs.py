"""Pairs of networks, and the ways between them that theory expects of calls and of realtime data."""

from __future__ import annotations

import itertools
import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.calls.peers import SelectedPair
from harness.checks import calls_paths, realtime_paths
from harness.evidence import expected
from harness.evidence.verdicts import ObservedPath, PathVerdict
from harness.network import profiles
from harness.network.pairs import Pair, every_pair, networks_of, pair_of
from harness.steps.call_lab import LabCallers, takes_path
from harness.steps.pairs import places_of, rounds, side_by_side

CHATMAIL = frozenset({"home", "symmetric", "mobile", "carrier"})


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("home, mobile", {"home", "mobile"}),
        ("Home,SYMMETRIC, open", {"home", "symmetric, open"}),
        ("UDP blocked, public,only 443, refused", {"UDP blocked, public", "only 443, refused"}),
        ("UDP blocked,public", {"UDP blocked", "public"}),
    ],
)
def test_networks_are_named_as_they_are_called(text, names):
    """A comma with a space can be a part of a name."""
    assert {each.name for each in networks_of(text)} == names


def test_every_network_can_be_named():
    assert networks_of(",".join(each.name for each in reversed(profiles.ALL))) == tuple(profiles.ALL)


def test_calls_go_direct_where_holes_can_be_punched():
    found = {
        frozenset({pair.first.name, pair.second.name}): expected.of_call(pair.first, pair.second).verdict
        for pair in calls_paths.EVERY
        if {pair.first.name, pair.second.name} <= CHATMAIL
    }
    direct = {pair for pair, verdict in found.items() if verdict is PathVerdict.DIRECT}
    assert direct == {frozenset({"home"}), frozenset({"home", "carrier"}), frozenset({"carrier"})}
    assert set(found.values()) == {PathVerdict.DIRECT, PathVerdict.RELAYED}


def test_libwebrtc_may_begin_a_direct_call_through_turn_and_nothing_else_differs():
    for pair in calls_paths.EVERY:
        stays, moves = (expected.of_call(pair.first, pair.second, moves=each) for each in (False, True))
        assert moves.verdict is stays.verdict and not stays.begins_relayed
        assert moves.begins_relayed is (moves.verdict is PathVerdict.DIRECT)


def test_libwebrtc_may_stay_with_turn_where_both_nats_filter_by_address_alone():
    may = {
        str(pair): expected.of_call(pair.first, pair.second, moves=moves).may_stay_relayed
        for pair in calls_paths.EVERY
        for moves in (True, False)
        if expected.of_call(pair.first, pair.second, moves=moves).may_stay_relayed
    }
    assert may == {"address-restricted with address-restricted": True}
    assert not expected.of_call(profiles.ADDRESS_RESTRICTED, profiles.ADDRESS_RESTRICTED).may_stay_relayed


STAYS = expected.of_call(profiles.HOME, profiles.HOME)
MOVES = expected.of_call(profiles.HOME, profiles.HOME, moves=True)
MAY_STAY = expected.of_call(profiles.ADDRESS_RESTRICTED, profiles.ADDRESS_RESTRICTED, moves=True)


@pytest.mark.parametrize(
    ("verdict", "by", "wanted", "in_the_end", "takes"),
    [
        (PathVerdict.MIXED, ("turn",), MOVES, "direct", True),
        (PathVerdict.MIXED, ("turn",), MOVES, "relayed", False),
        (PathVerdict.MIXED, ("5.9.9.9",), MOVES, "direct", False),
        (PathVerdict.MIXED, ("turn",), STAYS, "direct", False),
        (PathVerdict.MIXED, ("turn",), expected.BY_POLICY, "direct", False),
        (PathVerdict.RELAYED, ("turn",), MOVES, "relayed", False),
        (PathVerdict.RELAYED, ("turn",), MAY_STAY, "relayed", True),
        (PathVerdict.RELAYED, ("5.9.9.9",), MAY_STAY, "relayed", False),
        (PathVerdict.DIRECT, (), MAY_STAY, "direct", True),
        (PathVerdict.NONE, (), MAY_STAY, "none", False),
    ],
)
def test_a_call_that_moved_is_as_expected_only_where_it_may_and_ends_direct(
    verdict, by, wanted, in_the_end, takes
):
    assert takes_path(ObservedPath("media", verdict, by), wanted, in_the_end) is takes


@pytest.mark.parametrize(
    ("moving", "ends"), [({"alice"}, "direct"), ({"alice", "bob"}, "relayed"), (set(), "relayed")]
)
def test_a_peer_that_stays_with_its_first_way_does_not_hide_that_the_other_has_moved(moving, ends):
    """libwebrtc calls aioice: one sends directly in the end, and the other through TURN as it began."""
    direct = SelectedPair("srflx", ("5.9.0.7", 1), "srflx", ("5.9.0.9", 2))
    relayed = SelectedPair("relay", ("5.9.9.9", 3), "relay", ("5.9.9.9", 4))
    stats = {"alice": SimpleNamespace(pair=direct), "bob": SimpleNamespace(pair=relayed)}
    callers = SimpleNamespace(moves=lambda name: name in moving)
    assert LabCallers.in_the_end(cast(LabCallers, callers), cast(Any, stats)) == ends


@pytest.mark.parametrize("blocked", [profiles.UDP_BLOCKED, profiles.ONLY_443, profiles.ONLY_443_REFUSED])
def test_without_udp_there_is_no_call_and_the_reason_is_said(blocked):
    for other in (profiles.PUBLIC, profiles.HOME, blocked):
        for found in (expected.of_call(blocked, other), expected.of_call(other, blocked)):
            assert found.verdict is PathVerdict.NONE
            assert "Delta Chat has no TURN over TCP" in found.why


def test_with_ipv6_alone_there_is_no_call_and_the_reason_is_said():
    found = expected.of_call(profiles.HOME, profiles.IPV6_ONLY)
    assert found.verdict is PathVerdict.NONE
    assert "IPv6 only has no IPv4 address" in found.why


def test_where_there_can_be_a_call_realtime_data_takes_the_same_kind_of_way():
    for pair in calls_paths.EVERY:
        call, realtime = (of(pair.first, pair.second) for of in (expected.of_call, expected.of_realtime))
        assert call.verdict in (realtime.verdict, PathVerdict.NONE)


@pytest.mark.parametrize("every", [calls_paths.EVERY, realtime_paths.EVERY], ids=["calls", "realtime"])
def test_every_pair_is_tried_once_and_nobody_twice_at_the_same_time(every):
    pairs = [frozenset({pair.first.name, pair.second.name}) for pair in every]
    kinds = {name for pair in pairs for name in pair}
    assert len(pairs) == len(set(pairs)) == len(kinds) * (len(kinds) + 1) // 2
    assert len(places_of(every)) == 2 * len(kinds)
    found = rounds(every, 3)
    assert sorted(map(str, itertools.chain(*found))) == sorted(map(str, every))
    for each in found:
        names = [name for pair in each for name in pair.devices]
        assert len(each) <= 3
        assert len(names) == len(set(names))


def test_who_has_less_freedom_begins():
    [same, less, also_same] = every_pair([profiles.PUBLIC, profiles.ONLY_443])
    assert (same.first, same.second) == (profiles.ONLY_443, profiles.ONLY_443)
    assert str(less) == "only 443 with public"
    assert less.places == {"alice in only 443": profiles.ONLY_443, "bob in public": profiles.PUBLIC}
    assert also_same.devices == ("alice in public", "bob in public")


def test_pairs_of_one_round_are_tried_at_the_same_time():
    two = [Pair(profiles.HOME, profiles.PUBLIC), Pair(profiles.PUBLIC, profiles.HOME)]
    meeting = threading.Barrier(2)
    found = side_by_side(two, lambda pair: (meeting.wait(10), pair.first.name)[1], at_once=2)
    assert found == [(two[0], "home"), (two[1], "public")]


def test_a_pair_is_named_with_a_colon_and_a_wrong_name_tells_the_nearest():
    assert pair_of("home:Mobile") == Pair(profiles.HOME, profiles.MOBILE)
    assert pair_of("symmetric, open:UDP blocked, public").second is profiles.UDP_BLOCKED_PUBLIC
    for text, sentence in (
        ("home", "no pair of networks like home:mobile"),
        ("home:mobil", "did you mean mobile"),
    ):
        with pytest.raises(ValueError, match=sentence):
            pair_of(text)
