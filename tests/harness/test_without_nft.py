"""Test 16 on a machine that has pip and namespaces, and no program for networks: both ways are proven all the same."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Iterator

import pytest

from harness.checks import realtime_paths
from harness.evidence.edges import Edges
from harness.hosts import MissingCapability
from harness.network import profiles, routing_rules
from harness.network.lab import Lab, possible
from harness.network.preflight import preflight
from harness.network.probe import NotAsItSays, verify
from harness.report.observations import PathSeen
from harness.report.records import Verdict
from harness.report.run import Run
from harness.stage import lab as stage_lab
from harness.stage.check import CHECKS
from harness.stage.outcome import Outcome
from harness.stage.session import Session, open_session

PROGRAMS = {"nft", "conntrack", "iptables-nft", "ip6tables-nft", "tayga"}
WITHOUT_NFT = {profiles.PUBLIC, profiles.UDP_BLOCKED_PUBLIC, profiles.IPV6_ROUTED}


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every program is started by the path that `shutil.which` finds."""
    which = shutil.which
    monkeypatch.setattr(
        shutil, "which", lambda name, **more: None if name in PROGRAMS else which(name, **more)
    )
    preflight.cache_clear()
    yield
    preflight.cache_clear()


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


@pytest.fixture
def session(tmp_path) -> Iterator[Session]:
    preflight().require("netns", "capture", "udp_rules")
    with open_session(Run(tmp_path / "run")) as made:
        yield made


def outcome_of(session: Session, name: str) -> Outcome:
    check = CHECKS[f"{realtime_paths.__name__.rpartition('.')[2]}.{name}"]
    return check.run(session.stage(check.name))


def test_both_ways_are_proven(session):
    direct = outcome_of(session, "two_devices_go_direct")
    relayed = outcome_of(session, "two_devices_are_relayed")
    assert (direct.verdict, relayed.verdict) == (Verdict.PASSED, Verdict.PASSED), (
        direct.reasons + relayed.reasons
    )
    ways = [
        path.name
        for each in (*direct.observations, *relayed.observations)
        if isinstance(path := each, PathSeen) and path.phase == "established"
    ]
    assert ways == ["direct", "relayed(iroh_relay)"]
    assert any("'public'" in note and "counters at the edges" in note for note in direct.notes)
    assert any("'UDP blocked, public'" in note for note in relayed.notes)


def test_udp_that_gets_through_is_found_out(session, monkeypatch):
    """First by the trial of the network, and where nobody tries it by the packets."""
    monkeypatch.setattr(routing_rules, "hold_udp_back", lambda *_given: None)
    monkeypatch.setattr(stage_lab, "self_test", lambda _profile: None)
    outcome = outcome_of(session, "two_devices_are_relayed")
    assert outcome.verdict is Verdict.FAILED
    assert "messages should be relayed, they are not: established: direct" in outcome.reason
    assert "packets arrived directly, and none can" in outcome.reason


def test_udp_that_gets_through_is_not_what_the_network_says(lab):
    device = lab.device("alice", profiles.UDP_BLOCKED_PUBLIC)
    verify(lab, device)
    routing_rules.let_udp_pass(device.routers[0].namespace)
    with pytest.raises(
        NotAsItSays, match="'UDP blocked, public' says of UDP over IPv4: no UDP comes through"
    ):
        verify(lab, device)


@pytest.mark.parametrize("profile", profiles.ALL, ids=lambda profile: profile.name)
def test_a_lab_makes_what_it_can_and_names_what_the_rest_needs(lab, profile):
    if profile in WITHOUT_NFT:
        verify(lab, lab.device("alice", profile))
    else:
        with pytest.raises(MissingCapability, match="nft is not installed: apt-get install nftables"):
            lab.device("alice", profile)


def test_a_device_does_not_move_where_it_cannot_be(lab):
    device = lab.device("alice", profiles.PUBLIC)
    address = device.address
    with pytest.raises(MissingCapability, match="capability nft"):
        lab.move(device, profiles.HOME)
    assert device.address == address
    lab.move(device, profiles.UDP_BLOCKED_PUBLIC)
    verify(lab, device)


def test_the_first_network_that_can_be_made(lab):
    assert possible([profiles.HOME, profiles.PUBLIC]) is profiles.PUBLIC
    with pytest.raises(MissingCapability, match="capability nft"):
        possible([profiles.HOME, profiles.MOBILE])


def test_what_needs_rules_names_them(lab):
    alice, bob = lab.server("alice"), lab.server("bob")
    with pytest.raises(MissingCapability, match="capability nft"):
        lab.cut(alice, bob)
    with pytest.raises(MissingCapability, match="capability nft"):
        lab.device("carol", profiles.UDP_BLOCKED_PUBLIC).routers[0].block("udp")
    with pytest.raises(MissingCapability, match="capability nft"):
        Edges([alice], by_nft=True)


def test_neighbours_behind_a_router_that_blocks_udp_reach_each_other(lab):
    """As with `nft`: what stays in the network behind a router is free."""
    alice = lab.device("alice", profiles.UDP_BLOCKED_PUBLIC)
    bob = lab.device("bob", behind=alice.routers[0])
    with (
        alice.socket(socket.AF_INET, socket.SOCK_DGRAM) as one,
        bob.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        other.bind((bob.address, 5000))
        other.settimeout(10)
        one.sendto(b"hello", (bob.address, 5000))
        assert other.recv(100) == b"hello"


def test_a_router_can_become_another_that_needs_no_rules(lab):
    device = lab.device("alice", profiles.UDP_BLOCKED_PUBLIC)
    router = device.routers[0]
    router.change(firewall=profiles.IPV6_ROUTED.routers[0].firewall)
    assert router.gateway.ipv4 == profiles.PUBLIC.ipv4
    with pytest.raises(NotAsItSays):
        verify(lab, device)
    router.change(firewall=profiles.UDP_BLOCKED_PUBLIC.routers[0].firewall)
    verify(lab, device)
    with pytest.raises(MissingCapability, match="capability nft"):
        router.change(nat=profiles.HOME.routers[0].nat)
    with pytest.raises(ValueError, match="keeps its own"):
        router.renumber(lab.public_address())
