"""What becomes of a check, whichever way it ends."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness.steps.outcome import Outcome, PromiseBroken, check, current_outcome, recording

from harness.clients.core.eras import CoreUnsupported
from harness.hosts import MissingCapability
from harness.report.records import Verdict
from harness.target import Target

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


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """The checks that a test makes are forgotten with it."""
    monkeypatch.setattr("harness.steps.outcome.CHECKS", {})


def collect(outcome: Outcome) -> None:
    outcome.measurements["seen"] = 7
    outcome.clients["alice"] = "v2"
    outcome.paths["media"] = "not proven"
    outcome.evidence.append(Path("alice.log"))
    outcome.note("somebody looked")


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (PromiseBroken("no relay"), Verdict.FAILED),
        (MissingCapability("calls", "no aiortc", heal="pip install aiortc"), Verdict.SKIPPED),
        (CoreUnsupported("too old"), Verdict.UNSUPPORTED),
        (ValueError("we crashed"), Verdict.UNDECIDED),
    ],
)
def test_what_was_collected_before_an_exception_is_recorded(error, verdict):
    @check()
    def ends(target: Target) -> Outcome:
        """Ends before its time."""
        collect(current_outcome())
        raise error

    records = []
    with recording(lambda record, files: records.append((record, files)), run="run", door="test"):
        outcome = ends(TARGET)
    [(record, files)] = records
    assert (outcome.verdict, record.verdict) == (verdict, verdict)
    assert str(error) in record.reason
    assert (record.measurements, record.clients, record.paths) == (
        {"seen": 7},
        {"alice": "v2"},
        {"media": "not proven"},
    )
    assert "somebody looked" in record.notes
    assert list(files) == [Path("alice.log")]


def test_a_promise_that_was_broken_before_stays_broken():
    @check()
    def ends(target: Target) -> Outcome:
        """Finds something, and cannot go on."""
        current_outcome().expect(False, "nothing arrived")
        raise MissingCapability("calls", "no aiortc", heal="pip install aiortc")

    outcome = ends(TARGET)
    assert outcome.verdict is Verdict.FAILED
    assert outcome.reasons[0] == "nothing arrived"
    assert "no aiortc" in outcome.reason


def test_each_check_collects_for_itself():
    @check()
    def inner(target: Target) -> Outcome:
        """Runs inside another one."""
        return current_outcome().expect(False, "inside")

    @check()
    def outer(target: Target) -> Outcome:
        """Runs another one."""
        assert not inner(target)
        return current_outcome().note("outside")

    outcome = outer(TARGET)
    assert outcome
    assert outcome.notes == ["outside"]
    assert current_outcome() is not current_outcome()
