"""A server that runs elsewhere, used by real devices behind emulated NATs: nobody counts at the server, and no ledger
is asked. "This machine" and the server are namespaces of ours; nothing leaves them."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from harness.checks import calls_paths, names, realtime_paths
from harness.evidence.edges import Edges
from harness.hosts import MissingCapability
from harness.network import profiles
from harness.network.pairs import Pair
from harness.report.observations import PathSeen
from harness.report.records import Verdict
from harness.report.run import Run
from harness.servers.server import Wants
from harness.stage.outcome import Outcome
from harness.stage.session import open_session

from .outside import NAME, world

CLOSED_443 = """\
table ip closed {
    chain leaving {
        type filter hook output priority filter
        tcp dport 443 reject
    }
}
"""
HOME, SYMMETRIC = profiles.HOME, profiles.SYMMETRIC


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    with world(tmp_path_factory.mktemp("outside")) as opened:
        yield opened


@pytest.fixture
def session(outside, tmp_path):
    with open_session(Run(tmp_path / "run"), outside.choice) as opened:
        yield opened


def paths_in(outcome: Outcome) -> dict[str, PathSeen]:
    return {each.phase: each for each in outcome.observations if isinstance(each, PathSeen)}


def test_networks_without_a_way_to_the_server_are_named_and_nothing_is_passed(session):
    pair = Pair(HOME, profiles.IPV6_ONLY)
    for check in (
        calls_paths.calls_take_the_expected_path,
        realtime_paths.data_takes_the_way_that_networks_allow,
    ):
        outcome = check(session.stage("none"), pairs=[pair])
        assert outcome.verdict is Verdict.UNSUPPORTED
        assert outcome.reason == (
            f"no pair of networks was tried: {pair} was not tried: mail.remote.example is found over IPv4 alone here, "
            "and IPv6 only has none"
        )


@pytest.mark.parametrize(
    ("pair", "name"), [(Pair(HOME, HOME), "direct"), (Pair(HOME, SYMMETRIC), "relayed(turn)")], ids=str
)
def test_calls_take_their_way_by_the_edges_of_devices_alone(outside, session, pair, name):
    with Edges([outside.machine]) as edges:
        outcome = calls_paths.calls_take_the_expected_path(session.stage("calls"), pairs=[pair])
        rows = edges.now()["this machine"].tx.rows
        went = [flow for flow in rows if not flow.source.address.startswith("fe80:")]  # the kernel's own
    assert outcome, outcome
    path = paths_in(outcome)["media"]
    assert path.name == name
    assert set(path.witnesses) == {"counters at the edges", "agents"}
    assert {leg.target for leg in path.legs} & {leg.source for leg in path.legs}
    assert all(leg.source != leg.target for leg in path.legs)
    assert {flow.source.address for flow in went} == {outside.machine.address}
    servers = {outside.remote.address, outside.network.name_servers[0]}
    assert {flow.destination.address for flow in went} == servers


def test_the_uplink_of_a_server_with_both_families_goes_over_ipv4(outside, tmp_path):
    outside.network.names.set(NAME, *outside.remote.addresses)
    assert ":" in outside.machine.resolve(NAME)[0], "this machine would rather use IPv6"
    with open_session(Run(tmp_path / "run"), outside.choice) as session, session.stage("both").lab() as lab:
        assert lab.network.way_out is not None
        assert lab.network.way_out.seen_as == outside.machine.address


def test_realtime_data_of_networks_that_swallow_udp_goes_over_the_relay(session):
    outcome = realtime_paths.two_devices_are_relayed(session.stage("realtime"))
    assert outcome, outcome
    path = paths_in(outcome)["established"]
    assert path.name == "relayed(iroh_relay)"
    assert set(path.witnesses) == {"counters at the edges", "the apps"}
    assert path.delivered_directly == 0


def test_realtime_data_of_homes_goes_direct(session):
    outcome = realtime_paths.two_devices_go_direct(session.stage("realtime"))
    assert outcome, outcome
    assert paths_in(outcome)["established"].name == "direct"


def test_a_dead_relay_in_metadata_is_red(tmp_path):
    with world(tmp_path, Wants(advertised_relay="http://5.9.0.2:9/")) as outside:
        assert outside.remote.address == "5.9.0.2"
        with open_session(Run(tmp_path / "run"), outside.choice) as session:
            outcome = realtime_paths.two_devices_are_relayed(session.stage("realtime"))
    assert outcome.verdict is Verdict.FAILED, outcome


def test_a_device_that_goes_elsewhere_is_named_and_does_not_get_there(outside, session):
    stranger = outside.network.server("stranger")
    with session.stage("egress").lab() as lab, Edges([stranger]) as edges:
        with lab.people(alice=HOME) as people:
            [alice] = people
            with alice.host.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
                other.sendto(b"hello", (stranger.address, 4000))
        arrived = edges.now()["stranger"].rx.rows
        assert not [flow for flow in arrived if ":" not in flow.source.address]
    assert lab.outcome.verdict is Verdict.FAILED
    assert f"alice sent 1 packets to {stranger.address} port 4000 over udp" in lab.outcome.reason


def test_a_name_that_the_target_does_not_have_is_named(outside, session):
    outside.network.names.set("elsewhere.example", "5.9.7.7")
    with session.stage("names").lab() as lab, lab.people(alice=HOME) as people:
        [alice] = people
        assert alice.host.addresses_of("elsewhere.example") == {"5.9.7.7"}
        assert alice.host.addresses_of(NAME) == {outside.remote.address}
    assert lab.outcome.verdict is Verdict.FAILED
    assert "asked DNS for elsewhere.example" in lab.outcome.reason
    assert NAME not in lab.outcome.reason


def test_what_only_a_server_of_ours_can_do_is_unsupported(session):
    outcome = names.core_finds_turn_by_its_name(session.stage("names"))
    assert outcome.verdict is Verdict.UNSUPPORTED
    assert f"{NAME} runs elsewhere: it is as it is, and nobody can set advertised_turn" in outcome.reason


def test_that_there_is_no_call_is_known_without_the_server(session):
    pairs = [Pair(profiles.ONLY_443, SYMMETRIC)]
    outcome = calls_paths.calls_take_the_expected_path(session.stage("calls"), pairs=pairs)
    assert outcome, outcome
    assert paths_in(outcome)["media"].verdict == "none"


def test_networks_from_which_the_server_is_not_reached_are_noted(outside, session):
    outside.machine.namespace.nft(CLOSED_443)
    try:
        pairs = [Pair(profiles.ONLY_443, SYMMETRIC)]
        outcome = calls_paths.calls_take_the_expected_path(session.stage("calls"), pairs=pairs)
    finally:
        outside.machine.namespace.nft("delete table ip closed")
    assert f"only 443 with symmetric was not tried: {NAME} has no mail on port 443" in outcome.notes[0]


def test_a_server_at_an_address_that_labs_have_inside_is_unsupported(outside, session):
    target = replace(session.target, other_addresses=frozenset({"10.0.5.9"}))
    stage = replace(session.stage("inside"), target=target)
    outcome = realtime_paths.two_devices_are_relayed(stage)
    assert outcome.verdict is Verdict.UNSUPPORTED
    assert "the server's address 10.0.5.9 is one that labs have inside" in outcome.reason


def test_a_machine_that_does_not_forward_is_told_how(outside, session):
    outside.machine.namespace.sysctl({"net/ipv4/ip_forward": 0})
    try:
        with (
            pytest.raises(
                MissingCapability, match=r"does not forward packets: sudo sysctl -w net.ipv4.ip_forw"
            ),
            session.stage("lab").lab(),
        ):
            pass
    finally:
        outside.machine.namespace.sysctl({"net/ipv4/ip_forward": 1})
