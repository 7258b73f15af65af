"""A service that is dead fails one check, and the others that need it are not reached; alone each says why it fails."""

from __future__ import annotations

import socket
import sys
from dataclasses import replace

import pytest

from harness.checks import realtime, relay, relay_v1, turn
from harness.hosts import LocalHost
from harness.look import relay as relay_look
from harness.report.records import Verdict
from harness.report.run import Run
from harness.servers.reference import Reference
from harness.servers.server import Wants
from harness.stage.check import entry_of
from harness.stage.session import open_session
from harness.stage.survey import look_up

RELAY = [
    relay.relay_is_reachable,
    relay.relay_answers_http,
    relay.relay_admits_a_client,
    relay.relay_forwards_each_frame_once,
    relay.relay_refuses_bad_signatures,
    relay.relay_connection_survives_idle,
    relay_v1.relay_v1_same_key_rules,
]
TURN = [
    turn.turn_is_offered,
    turn.turn_grants_an_allocation,
    turn.turn_allocates_with_offered_credentials,
    turn.turns_is_offered,
    turn.turn_has_udp_3478,
    turn.turn_refuses_wrong_credentials,
    turn.turn_enforces_permissions,
]


def session_with(mutant, directory):
    kind = Reference([sys.executable, "-m", "mutants", mutant])
    return open_session(Run(directory / "run"), kind=kind)


@pytest.mark.parametrize(
    ("mutant", "checks", "failing", "words"),
    [
        ("irohrelay_dead_port", RELAY, relay.relay_is_reachable, "nothing answers at the relay URL"),
        ("turn_advertised_port_closed", TURN, turn.turn_grants_an_allocation, "nothing listens on turn:"),
    ],
)
def test_one_dead_service_fails_once(mutant, checks, failing, words, tmp_path):
    with session_with(mutant, tmp_path) as session:
        outcomes = {check: check(session.stage(entry_of(check).name)) for check in checks}
    failed = [check for check, outcome in outcomes.items() if outcome.verdict is Verdict.FAILED]
    assert failed == [failing]
    behind = checks[checks.index(failing) + 1 :]
    for check in behind:
        assert outcomes[check].verdict is Verdict.NOT_REACHED, (check, outcomes[check])
        assert words in outcomes[check].reason


def test_without_the_one_before_each_says_itself_that_the_relay_is_dead(tmp_path):
    with session_with("irohrelay_dead_port", tmp_path) as session:
        for check in RELAY:
            outcome = check(replace(session, results={}).stage(entry_of(check).name))
            assert outcome.verdict is Verdict.FAILED, (check, outcome)
            assert "nothing answers at the relay URL" in outcome.reason


def test_clients_of_035_do_not_ask_for_ping(tmp_path):
    with session_with("relay_ping_missing", tmp_path) as session:
        target = replace(session.target, capabilities=session.target.capabilities - {"relay_v1"})
        outcome = relay.relay_answers_http(replace(session, target=target).stage("http"))
    assert outcome, outcome
    assert any("/ping" in note and "0.35 does not" in note for note in outcome.notes)


@pytest.mark.parametrize("check", [relay.relay_admits_a_client, realtime.two_devices_exchange_messages])
def test_a_relay_of_another_generation_is_named_before_any_core_starts(check, tmp_path):
    with open_session(Run(tmp_path / "run"), kind=Reference()) as session:
        target = replace(session.target, capabilities=session.target.capabilities - {"relay_v035"})
        outcome = check(replace(session, target=target).stage("generation"))
    assert outcome.verdict is Verdict.FAILED
    assert "does not speak the generation of the target's clients (0.35)" in outcome.reason
    assert not outcome.clients


def test_what_no_client_needs_of_the_relay_is_unsupported_in_words(tmp_path):
    with open_session(Run(tmp_path / "run"), kind=Reference()) as session:
        target = replace(session.target, capabilities=session.target.capabilities - {"relay_v1"})
        outcome = relay_v1.relay_v1_same_key_rules(replace(session, target=target).stage("v1"))
    assert outcome.verdict is Verdict.UNSUPPORTED
    assert outcome.reason == (
        "the iroh relay of reference lets in no nodes of iroh 0.91 and later, which no Delta Chat client is"
    )


def test_only_the_servers_own_relay_is_asked_for_its_generations(tmp_path):
    host = LocalHost()
    with socket.create_server(("127.9.9.9", 0)) as others:
        others.setblocking(False)
        url = f"http://127.9.9.9:{others.getsockname()[1]}"
        for wants, found in (
            (Wants(), {"turn", "turns", "iroh_relay", "relay_v035", "relay_v1"}),
            (Wants(advertised_relay=url), {"turn", "turns", "iroh_relay"}),
        ):
            with open_session(Run(tmp_path / "run"), kind=Reference(), wants=wants) as session:
                target, _ = look_up(replace(session.target, capabilities=frozenset()), host)
            assert target.capabilities == found
        with pytest.raises(BlockingIOError):
            others.accept()


def test_of_a_silent_relay_nothing_is_known(monkeypatch, tmp_path):
    monkeypatch.setattr(relay_look, "WITHIN", 0.5)
    with open_session(Run(tmp_path / "run"), kind=Reference()) as session:
        address = session.target.host
        with socket.create_server((address, 0)) as silent:
            wants = Wants(advertised_relay=f"http://{address}:{silent.getsockname()[1]}")
            with open_session(Run(tmp_path / "other"), kind=Reference(), wants=wants) as other:
                target = replace(other.target, capabilities=frozenset(), other_addresses=frozenset({address}))
                found = look_up(target, LocalHost())[0].capabilities
            assert found == {"turn", "turns", "iroh_relay"}
            silent.settimeout(5)
            silent.accept()[0].close()  # it was asked
