"""What an operator is told of a TURN server whose name does not lead to it, for each way in which that can be."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from harness.checks.names import EVERY_WAY, NAME, turn_host_leads_to_the_target
from harness.hosts import MissingCapability
from harness.network import profiles
from harness.network.lab import NAME_SERVERS, LabHost
from harness.network.resolver import give_name_servers
from harness.report.records import Verdict
from harness.stage.lab import LabSession, open_lab


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabSession]:
    arguments = ["--advertise-turn", f"{NAME}:3478"]
    try:
        with open_lab(tmp_path_factory.mktemp("logs"), arguments=arguments) as session:
            yield session
    except MissingCapability as missing:
        pytest.skip(str(missing))


@pytest.fixture
def home(session: LabSession) -> Iterator[LabHost]:
    session.lab.names.set(NAME, session.server.address)
    yield session.lab.device("alice", profiles.HOME)
    session.lab.names.heal(NAME)


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
def test_the_cause_is_named(session: LabSession, home: LabHost, way: str, cause: str) -> None:
    assert turn_host_leads_to_the_target(session.target, home)
    session.lab.names.fail(NAME, EVERY_WAY[way])
    outcome = turn_host_leads_to_the_target(session.target, home)
    assert outcome.verdict is Verdict.FAILED, outcome
    assert outcome.reason.startswith(f"METADATA names {NAME} as the TURN server")
    assert cause in outcome.reason


def test_a_name_without_an_address_leads_nowhere(session, home):
    session.lab.names.set(NAME)
    outcome = turn_host_leads_to_the_target(session.target, home)
    assert "5.9.0.1 says NOERROR" in outcome.reason


def test_a_slow_name_server_is_mentioned(session, home):
    session.lab.names.fail(NAME, EVERY_WAY["slow"])
    outcome = turn_host_leads_to_the_target(session.target, home)
    assert outcome
    assert f"{NAME} is found after 2." in outcome.notes[0]


@pytest.mark.nightly  # a device asks its next name server after five seconds
def test_a_dead_first_name_server_costs_what_core_waits(session, home):
    silent = session.lab.server("silent")
    give_name_servers(home.namespace, [silent.address, NAME_SERVERS[0]])
    with silent.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind((silent.address, 53))
        outcome = turn_host_leads_to_the_target(session.target, home)
    assert outcome.verdict is Verdict.FAILED, outcome
    assert "s to find it: core gives up after 5 s" in outcome.reason
