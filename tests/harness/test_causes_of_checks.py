"""Checks that know why something is wrong name the cause, as the doctor does for the same server."""

from __future__ import annotations

import ssl

import pytest

from harness.checks import turn
from harness.clients.mail.imap import ImapError
from harness.clients.relay.client import RelayError
from harness.clients.turn.client import TurnClosed, TurnError
from harness.diagnosis.diagnosis import Diagnosis
from harness.diagnosis.part import Part
from harness.doors.catalogue import all_checks
from harness.hosts import LocalHost
from harness.report.looks import Look
from harness.report.observations import AccountsLeft
from harness.report.records import Verdict
from harness.report.run import Run
from harness.servers.endpoints import read_endpoints
from harness.servers.registry import server_of
from harness.servers.remote import remote_target
from harness.servers.server import Wants
from harness.stage.causes import cause_of
from harness.stage.options import Choice
from harness.stage.second_look import SecondLook
from harness.stage.session import loopback_place, open_session

REMOTE = remote_target("mail.example")
CAUSES = {
    ("irohrelay_dead_port", "relay.relay_is_reachable"): "relay.port_closed",
    ("irohrelay_foreign", "discovery.metadata_offers_a_relay"): "relay.address_foreign",
    ("irohrelay_unusable", "discovery.metadata_offers_a_relay"): "metadata.relay_unusable",
    ("metadata_capability_missing", "discovery.metadata_offers_a_relay"): "metadata.not_advertised",
    ("relay_https_bad_certificate", "relay.relay_is_reachable"): "relay.certificate_untrusted",
    ("turn_advertised_port_closed", "turn.turn_grants_an_allocation"): "turn.not_answering",
    ("turn_foreign", "turn.turn_is_offered"): "turn.address_foreign",
    ("turn_key_missing", "turn.turn_is_offered"): "metadata.turn_missing",
    ("turns_without_tls", "turn.turns_is_offered"): "turn.turns_without_tls",
}


@pytest.mark.parametrize(("mutant", "name"), CAUSES)
def test_a_check_names_the_cause(mutant, name, tmp_path):
    [check] = [each for each in all_checks() if each.name == name]
    with open_session(Run(tmp_path / "run"), kind=server_of(f"mutant={mutant}")) as session:
        assert isinstance(session.host, LocalHost)
        outcome = check.run(session.stage("test"))
    assert outcome.verdict is Verdict.FAILED
    assert outcome.cause == CAUSES[mutant, name]


def test_a_check_of_a_server_elsewhere_asks_the_doctor(tmp_path):
    """A refusal with 401 has several reasons, and the check sees none of them."""
    place = loopback_place(tmp_path / "state", tmp_path / "logs")
    with server_of("mutant=turn_other_secret").start(LocalHost(), place, Wants()):
        [log] = place.logs.glob("*.stdout.log")
        choice = Choice(endpoints=read_endpoints(log))
        with open_session(Run(tmp_path / "run"), choice) as session:
            refused = turn.turn_grants_an_allocation(session.stage("refused"))
            [left] = [each.count for each in refused.observations if isinstance(each, AccountsLeft)]
            again = turn.turn_grants_an_allocation(session.stage("again"))
    assert (refused.verdict, refused.cause) == (Verdict.FAILED, "turn.secret_differs")
    assert left >= 3, "the doctor's two accounts stay on the server as well"
    assert again.cause == refused.cause
    [asked_no_more] = [each.count for each in again.observations if isinstance(each, AccountsLeft)]
    assert asked_no_more == 1


def test_one_cause_is_red_in_one_check(tmp_path):
    """Discovery and TURN both read METADATA: the first of them says what is wrong with it, and that is enough."""
    names = ("discovery.metadata_offers_a_relay", "turn.turn_is_offered", "turn.turns_is_offered")
    checks = {each.name: each for each in all_checks()}
    with open_session(Run(tmp_path / "run"), kind=server_of("mutant=metadata_capability_missing")) as session:
        first, *others = [checks[name].run(session.stage(name)) for name in names]
    assert (first.verdict, first.cause) == (Verdict.FAILED, "metadata.not_advertised")
    assert [each.verdict for each in others] == [Verdict.NOT_REACHED] * 2
    assert {each.because_of for each in others} == {names[0]}


def raised(error: Exception, below: BaseException | None) -> Exception:
    error.__cause__ = below
    return error


def test_an_exception_alone_says_no_more_than_it_shows():
    expired = ssl.SSLCertVerificationError("certificate has expired")
    expired.verify_code = 10
    assert cause_of(raised(ImapError("x"), expired)) == "mail.certificate_expired"
    assert cause_of(raised(RelayError("x"), ConnectionRefusedError())) == "relay.port_closed"
    assert cause_of(raised(TurnClosed("x"), ConnectionRefusedError())) == "turn.not_answering"
    over_tls = TurnClosed("x", over_tls=True)
    assert cause_of(raised(over_tls, ConnectionRefusedError())) == "turn.turns_without_tls"
    assert cause_of(raised(over_tls, expired)) == "turn.turns_certificate"
    connected = TurnError("x", over_tls=True)
    assert cause_of(raised(connected, ssl.SSLEOFError())) == "turn.turns_without_tls"
    assert cause_of(raised(over_tls, TimeoutError())) == "", "a firewall, or a slow server: nobody has looked"
    assert cause_of(raised(RelayError("x"), ssl.SSLEOFError())) == ""
    assert cause_of(raised(ImapError("x"), TimeoutError())) == ""
    assert cause_of(raised(RelayError("x"), None)) == ""
    assert cause_of(ValueError("x")) == ""


def seen_again(monkeypatch, *names, rivals=()):
    """A second look that finds these causes."""
    part = Part()
    for name in names:
        part.found(name, "", "", rivals=rivals)
    found = Diagnosis(Look("mail.example", 0.0), (), tuple(part.causes), (), ())
    monkeypatch.setattr("harness.look.look.look_at", lambda *_: found.look)
    monkeypatch.setattr("harness.diagnosis.diagnosis.diagnose", lambda _: found)
    return SecondLook()


@pytest.mark.parametrize(
    ("found", "rivals", "named"),
    [
        (["turn.secret_differs"], (), "turn.secret_differs"),
        (["relay.paths_missing", "turn.secret_differs"], (), "turn.secret_differs"),
        (["turn.secret_differs"], ("turn.clock_wrong",), ""),
        (["turn.address_dead", "turn.secret_differs"], (), ""),
        (["relay.paths_missing"], (), ""),
    ],
)
def test_of_two_causes_a_check_guesses_none(found, rivals, named, monkeypatch):
    look = seen_again(monkeypatch, *found, rivals=rivals)
    assert look.cause_of("turn.turn_grants_an_allocation", REMOTE, LocalHost()) == named


def test_a_note_explains_a_check_as_well(monkeypatch):
    look = seen_again(monkeypatch, "relay.paths_missing")
    assert look.cause_of("relay.relay_answers_http", REMOTE, LocalHost()) == "relay.paths_missing"
