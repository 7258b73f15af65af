"""What an operator is told of a TURN server whose name does not lead to it, for each way in which that can be."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from harness.checks.names import ELSEWHERE, EVERY_WAY, NAME, turn_host_leads_to_the_target
from harness.network import profiles
from harness.network.lab import NAME_SERVERS, LabHost
from harness.network.names import Wrong
from harness.network.resolver import give_name_servers
from harness.report.observations import NameLookup
from harness.report.records import Verdict
from harness.servers.server import Wants
from harness.stage.lab import LabStage
from harness.stage.outcome import Outcome

from .labs import lab_stage


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabStage]:
    with lab_stage(tmp_path_factory.mktemp("lab"), Wants(advertised_turn=f"{NAME}:3478")) as lab:
        yield lab


@pytest.fixture
def home(lab: LabStage) -> Iterator[LabHost]:
    lab.network.names.set(NAME, lab.machine.address)
    yield lab.network.device("alice", profiles.HOME)
    lab.network.names.heal(NAME)


def checked(lab: LabStage, host: LabHost) -> Outcome:
    """The check, made on a device's machine in the lab."""
    return turn_host_leads_to_the_target(replace(lab.stage, target=lab.target, host=host))


@pytest.mark.parametrize(
    ("way", "cause"),
    [
        ("NXDOMAIN", f"but that name leads nowhere ({NAME} has no address: 5.9.0.1 says NXDOMAIN)"),
        ("SERVFAIL", "but no name server says where that is (turn.chat.example: 5.9.0.1 says SERVFAIL)"),
        ("wrong-answer", "and that is at 5.9.7.7, where 5.9.0.2 is not"),
        pytest.param("time-out", "5.9.0.1 did not answer within 5 s", marks=pytest.mark.nightly),
        pytest.param("too-slow", "5.9.0.1 did not answer within 5 s", marks=pytest.mark.nightly),
    ],
)
def test_the_cause_is_named(lab: LabStage, home: LabHost, way: str, cause: str) -> None:
    assert checked(lab, home)
    lab.network.names.fail(NAME, EVERY_WAY[way])
    outcome = checked(lab, home)
    assert outcome.verdict is Verdict.FAILED, outcome
    assert outcome.reason.startswith(f"METADATA names {NAME} as the TURN server")
    assert cause in outcome.reason


@pytest.mark.parametrize(
    "addresses",
    [(ELSEWHERE,), ("5.9.0.2", ELSEWHERE), (ELSEWHERE, "5.9.0.2"), ("5.9.0.2", "2a0a:7::7")],
    ids=["alone", "behind ours", "before ours", "of the other family"],
)
def test_one_address_of_somebody_else_is_enough(lab, home, addresses):
    """Core makes a server of each, and phones send their credentials to all of them."""
    assert lab.machine.address == "5.9.0.2"
    lab.network.names.fail(NAME, Wrong(addresses))
    outcome = checked(lab, home)
    assert outcome.verdict is Verdict.FAILED, outcome
    assert "where 5.9.0.2 is not" in outcome.reason
    assert "somebody else's server, or" in outcome.reason
    [lookup] = (each for each in outcome.observations if isinstance(each, NameLookup))
    assert set(lookup.addresses) == set(addresses)
    assert lookup.cause == outcome.reason


def test_several_addresses_of_the_target_are_its_own(lab, home):
    own, another, *_ = (each for each in lab.machine.addresses if ":" not in each)
    lab.network.names.set(NAME, own, another)
    assert checked(lab, home)


def test_a_name_without_an_address_leads_nowhere(lab, home):
    lab.network.names.set(NAME)
    outcome = checked(lab, home)
    assert "5.9.0.1 says NOERROR" in outcome.reason


def test_a_slow_name_server_is_mentioned(lab, home):
    lab.network.names.fail(NAME, EVERY_WAY["slow"])
    outcome = checked(lab, home)
    assert outcome
    assert f"{NAME} is found after 2." in outcome.notes[0]


@pytest.mark.nightly  # a device asks its next name server after five seconds
def test_a_dead_first_name_server_costs_what_core_waits(lab, home):
    silent = lab.network.server("silent")
    give_name_servers(home.namespace, [silent.address, NAME_SERVERS[0]])
    with silent.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind((silent.address, 53))
        outcome = checked(lab, home)
    assert outcome.verdict is Verdict.FAILED, outcome
    assert "s to find it: core gives up after 5 s" in outcome.reason
