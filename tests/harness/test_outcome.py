"""What becomes of a check, whichever way it ends."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from pathlib import Path

import pytest

from harness.calls.kinds import PeerChoice
from harness.clients.core.eras import CoreUnsupported
from harness.clients.mail.imap import ImapError
from harness.hosts import MissingCapability
from harness.network.pairs import Pair
from harness.network.profiles import HOME, MOBILE
from harness.report.observations import Measured
from harness.report.records import Record, Verdict
from harness.servers.server import Unsupported
from harness.stage.check import check, recording
from harness.stage.options import Choice
from harness.stage.outcome import Outcome, PromiseBroken
from harness.stage.stage import Stage
from harness.target import Service, Target

from .stages import stage_with

TARGET = Target(
    name="nobody",
    host="127.0.0.1",
    domain="chatmail.test",
    imaps=1,
    imap=1,
    submissions=1,
    submission=1,
    https=1,
    ca_file=None,
    dialect="unknown",
)


@pytest.fixture
def stage(tmp_path):
    return stage_with(TARGET, tmp_path)


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """The checks that a test makes are forgotten with it."""
    monkeypatch.setattr("harness.stage.check.CHECKS", {})


def collect(outcome: Outcome) -> None:
    outcome.observe(Measured("seen", 7))
    outcome.clients["alice"] = "v2"
    outcome.profiles["alice"] = "home"
    outcome.seed = 5
    outcome.evidence.append(Path("alice.log"))
    outcome.note("somebody looked")


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (PromiseBroken("no relay"), Verdict.FAILED),
        (ImapError("no IMAP at x:993"), Verdict.FAILED),
        (MissingCapability("calls", "no aiortc", heal="pip install aiortc"), Verdict.SKIPPED),
        (CoreUnsupported("too old"), Verdict.UNSUPPORTED),
        (Unsupported("coturn cannot set strict_permissions"), Verdict.UNSUPPORTED),
        (ValueError("we crashed"), Verdict.UNDECIDED),
    ],
)
def test_what_was_collected_before_an_exception_is_recorded(error, verdict, stage):
    @check()
    def ends(stage: Stage, outcome: Outcome) -> None:
        """Ends before its time."""
        collect(outcome)
        raise error

    records = []
    with recording(lambda record, files: records.append((record, files)), run="run", door="test"):
        outcome = ends(stage)
    [(record, files)] = records
    assert (outcome.verdict, record.verdict) == (verdict, verdict)
    assert str(error) in record.reason
    assert record.observations == (Measured("seen", 7),)
    assert (record.clients, record.profiles, record.seed) == ({"alice": "v2"}, {"alice": "home"}, 5)
    assert "somebody looked" in record.notes
    assert list(files) == [Path("alice.log")]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("no such candidate"), "a program of ours failed: no such candidate"),
        (
            OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH)),
            "a program of ours failed: network is unreachable",
        ),
        (RuntimeError(b"not a frame"), "a program of ours failed: not a frame"),
    ],
)
def test_a_crash_of_ours_is_told_in_words(error, reason, stage):
    """Neither names of classes nor numbers of the system; those are in the log."""

    @check()
    def crashes(stage: Stage, outcome: Outcome) -> None:
        """Cannot go on."""
        raise error

    outcome = crashes(stage)
    assert (outcome.verdict, outcome.reason) == (Verdict.UNDECIDED, reason)


def test_a_promise_that_was_broken_before_stays_broken(stage):
    @check()
    def ends(stage: Stage, outcome: Outcome) -> None:
        """Finds something, and cannot go on."""
        outcome.expect(False, "nothing arrived")
        raise MissingCapability("calls", "no aiortc", heal="pip install aiortc")

    outcome = ends(stage)
    assert outcome.verdict is Verdict.FAILED
    assert outcome.reasons[0] == "nothing arrived"
    assert "no aiortc" in outcome.reason


def test_each_check_collects_for_itself(stage):
    seen = []

    @check()
    def inner(stage: Stage, outcome: Outcome) -> None:
        """Runs inside another one."""
        seen.append(stage.outcome)
        outcome.expect(False, "inside")

    @check()
    def outer(stage: Stage, outcome: Outcome) -> None:
        """Runs another one."""
        assert not inner(stage)
        seen.append(stage.outcome)
        stage.outcome.note("outside")

    outcome = outer(stage)
    assert outcome
    assert outcome.notes == ["outside"]
    assert seen[0] is not outcome
    assert seen[1] is outcome


def test_a_service_that_is_not_ours_to_stop_is_left_alone(stage):
    @check(disturbs=(Service.MAIL,))
    def restarts(stage: Stage, outcome: Outcome) -> None:
        """Restarts mail."""
        raise AssertionError("it runs")

    outcome = restarts(stage)
    assert outcome.verdict is Verdict.UNSUPPORTED
    assert outcome.reason == "nobody: the program behind mail is not ours to stop and start"


def test_a_note_is_said_once():
    assert Outcome().note("seen").note("seen").notes == ["seen"]


def test_a_note_that_several_parts_have_stands_once():
    parts = [Outcome().note("no call: no UDP comes through") for _ in range(2)]
    whole = Outcome()
    for part in parts:
        whole.include(part)
    assert whole.notes == ["no call: no UDP comes through"]


def test_a_failure_is_told_once_and_what_it_explains_is_not_reached(stage):
    """However long the chain is, the first cause stands in the record."""

    @check()
    def turn_answers(stage: Stage, outcome: Outcome) -> None:
        """Is dead."""
        outcome.expect(False, "TURN does not answer")

    @check(after=("test_outcome.turn_answers",))
    def call_is_heard(stage: Stage, outcome: Outcome) -> None:
        """Needs TURN."""
        raise AssertionError("it was tried")

    @check(after=("test_outcome.call_is_heard",))
    def call_is_seen(stage: Stage, outcome: Outcome) -> None:
        """Needs a call."""
        raise AssertionError("it was tried")

    records: list[Record] = []
    with recording(lambda record, _files: records.append(record), run="run", door="test"):
        for each in (turn_answers, call_is_heard, call_is_seen):
            each(stage)
    assert [each.verdict for each in records] == ["failed", "not reached", "not reached"]
    assert [each.because_of for each in records] == ["", *["test_outcome.turn_answers"] * 2]
    why = "test_outcome.turn_answers failed before: TURN does not answer"
    assert [each.reason for each in records[1:]] == [why, why]


def causes_of(stage, *functions):
    """Causes of the checks when they ran one after the other."""
    records = []
    with recording(lambda record, _files: records.append(record), run="r", door="d"):
        for function in functions:
            function(stage)
    return {record.check.rpartition(".")[2]: record.cause for record in records}


def test_a_cause_goes_into_the_record_the_first_of_several(stage):
    @check()
    def two_causes(_stage, outcome):
        outcome.expect(True, "fine", cause="turn.clock_wrong")
        outcome.expect(False, "nothing is known")
        outcome.expect(False, "no answer", cause="turn.not_answering")
        outcome.expect(False, "closed", cause="turn.relay_ports_closed")

    @check()
    def broken(_stage, _outcome):
        raise PromiseBroken("no TURN", cause="metadata.turn_missing")

    @check(after=("test_outcome.broken",))
    def behind(_stage, _outcome):
        raise AssertionError

    assert causes_of(stage, two_causes, broken, behind) == {
        "two_causes": "turn.not_answering",
        "broken": "metadata.turn_missing",
        "behind": "metadata.turn_missing",
    }


@pytest.mark.parametrize(
    ("chosen", "looked_at"), [((), ("its own",)), ((Pair(HOME, MOBILE),), ("home with mobile",))]
)
def test_a_check_between_networks_looks_at_the_pairs_that_were_chosen(chosen, looked_at, tmp_path):
    seen: list[str] = []

    @check()
    def looks(stage: Stage, _outcome: Outcome, pairs=("its own",)) -> None:
        """Looks between networks."""
        seen.extend(map(str, pairs))

    stage = stage_with(TARGET, tmp_path)
    looks(replace(stage, session=replace(stage.session, choice=Choice(pairs=chosen))))
    assert tuple(seen) == looked_at


@pytest.mark.parametrize(
    ("peers", "verdict", "reason"),
    [
        (
            PeerChoice(),
            Verdict.SKIPPED,
            "capability chromium: bob's devices have no call window: --peer bob=chromium",
        ),
        (PeerChoice().with_windows(("bob",)), Verdict.PASSED, ""),
    ],
    ids=["agents", "a window for bob"],
)
def test_a_check_of_call_windows_is_skipped_with_the_option_that_gives_them(peers, verdict, reason, tmp_path):
    @check(windows=("bob",))
    def needs_a_window(_stage: Stage, _outcome: Outcome) -> None:
        """Needs a window."""

    stage = stage_with(TARGET, tmp_path)
    outcome = needs_a_window(replace(stage, session=replace(stage.session, choice=Choice(peers=peers))))
    assert (outcome.verdict, outcome.reason) == (verdict, reason)


def named_causes(stage, *causes):
    """A check for each name of a cause, which fails by it; the records that come of them, one after the other."""
    records: list[Record] = []
    with recording(lambda record, _files: records.append(record), run="run", door="test"):
        for number, cause in enumerate(causes):

            def fails(stage: Stage, outcome: Outcome, cause: str = cause) -> None:
                """Fails."""
                outcome.expect(False, "no mail", cause=cause)

            fails.__name__ = f"number_{number}"
            check()(fails)(stage)
    return records


def test_what_a_cause_explains_is_red_once(stage):
    first, *others = named_causes(stage, *["name.dns_silent"] * 3)
    assert first.verdict is Verdict.FAILED
    for each in others:
        assert (each.verdict, each.because_of, each.cause) == (Verdict.NOT_REACHED, first.check, first.cause)
        assert each.reason == f"{first.check} failed before, for the same cause: no mail"


@pytest.mark.parametrize(
    "causes",
    [
        ("name.dns_silent", "name.does_not_resolve"),
        ("name.address_dead", "name.address_dead"),  # which does not explain such a check
        ("", ""),
    ],
)
def test_what_a_cause_does_not_explain_is_a_failure_of_its_own(causes, stage):
    assert [each.verdict for each in named_causes(stage, *causes)] == [Verdict.FAILED] * 2


def test_a_check_that_is_run_again_is_not_explained_by_itself(stage):
    @check()
    def imap_answers(stage: Stage, outcome: Outcome) -> None:
        """Fails."""
        outcome.expect(False, "no mail", cause="name.dns_silent")

    assert [imap_answers(stage).verdict for _ in range(2)] == [Verdict.FAILED] * 2
