"""What the checks of calls make of a machine that cannot do them."""

from __future__ import annotations

from harness.calls.call import Call
from harness.checks import call_steps, calls
from harness.hosts import LocalHost
from harness.report.records import Verdict
from harness.report.run import Run
from harness.session import open_session
from harness.waiting import WaitTimeout


def no_devices(names):
    raise AssertionError(f"cores were started for {names}")


def test_without_aiortc_a_call_is_skipped_and_the_capability_named(tmp_path, monkeypatch):
    monkeypatch.setattr(call_steps, "calls_are_possible", lambda: False)
    with open_session(Run(tmp_path / "run")) as session:
        for each in (
            calls.relayed_call_is_heard_and_seen,
            calls.direct_call_leaves_the_relay_alone,
            calls.calls_ring_and_end,
        ):
            outcome = each(session.target, LocalHost(), no_devices)
            assert outcome.verdict is Verdict.SKIPPED
            assert "capability calls" in outcome.reason


def test_a_sender_that_does_not_keep_up_is_no_finding(tmp_path, monkeypatch):
    def too_slow(_call, _seconds, *, numbers):
        raise WaitTimeout(f"alice to send {numbers} messages", 50.0)

    monkeypatch.setattr(Call, "talk", too_slow)
    with open_session(Run(tmp_path / "run")) as session:
        outcome = calls.direct_call_leaves_the_relay_alone(session.target, session.host, session.devices)
    assert outcome.verdict is Verdict.ERROR
    assert "machine too slow" in outcome.reason
