"""What the checks of calls make of a machine that cannot do them."""

from __future__ import annotations

import time

import pytest

from harness.calls.agent import Stats
from harness.calls.call import Call
from harness.calls.quality import MachineTooSlow
from harness.checks import calls, calls_interrupted, calls_lifetimes, calls_many
from harness.hosts import LocalHost
from harness.report.records import Verdict
from harness.report.run import Run
from harness.stage.session import open_session
from harness.steps import calls as call_steps
from harness.waiting import WaitTimeout, wait_until


def no_devices(names):
    raise AssertionError(f"cores were started for {names}")


def test_without_aiortc_a_call_is_skipped_and_the_capability_named(tmp_path, monkeypatch):
    monkeypatch.setattr(call_steps, "calls_are_possible", lambda: False)
    with open_session(Run(tmp_path / "run")) as session:
        for each in (
            calls.relayed_call_is_heard_and_seen,
            calls.direct_call_leaves_the_relay_alone,
            calls.calls_ring_and_end,
            calls_lifetimes.relayed_call_outlives_credentials,
            calls_lifetimes.relayed_call_outlives_lifetimes,
            calls.relayed_call_over_tcp_and_tls,
            calls_many.calls_at_once,
            calls_interrupted.call_survives_a_pause_of_turn,
            calls_interrupted.calling_survives_a_restart_of_turn,
        ):
            outcome = each(session.target, LocalHost(), no_devices)
            assert outcome.verdict is Verdict.SKIPPED
            assert "capability calls" in outcome.reason


@pytest.mark.parametrize(
    ("each", "arguments", "capability"),
    [
        (calls_lifetimes.relayed_call_outlives_lifetimes, [], "short_turn_lifetimes"),
        (calls_lifetimes.relayed_call_outlives_credentials, [], "short_turn_ttl"),
        (calls_lifetimes.relayed_call_outlives_credentials, ["--turn-ttl", "30"], "short_turn_lifetimes"),
    ],
)
def test_what_nobody_would_wait_for_is_skipped_before_any_core_starts(each, arguments, capability, tmp_path):
    with open_session(Run(tmp_path / "run"), arguments=arguments) as session:
        outcome = each(session.target, session.host, no_devices)
    assert outcome.verdict is Verdict.SKIPPED
    assert f"capability {capability}" in outcome.reason


def test_credentials_that_expire_before_the_call_are_no_finding(tmp_path, monkeypatch):
    ttl = 3

    def too_late(*given):
        begun = time.time()
        wait_until(lambda: time.time() > begun + ttl, "the credentials to expire", within=30)
        return call_steps.set_up(*given)

    monkeypatch.setattr(calls_lifetimes, "set_up", too_late)
    arguments = [*calls_lifetimes.SHORT_LIVES, "--turn-ttl", str(ttl)]
    with open_session(Run(tmp_path / "run"), arguments=arguments) as session:
        outcome = calls_lifetimes.relayed_call_outlives_credentials(
            session.target, session.host, session.devices
        )
    assert outcome.verdict is Verdict.UNDECIDED
    assert "machine too slow (the credentials expired before the call" in outcome.reason


@pytest.mark.nightly
def test_a_call_of_aioice_is_cut_where_permissions_are_strict(tmp_path):
    """RFC 8656 to the letter is no fault, but aioice never refreshes a permission: the option shows what that does."""
    arguments = [*calls_lifetimes.SHORT_LIVES, "--turn-strict-permissions"]
    with open_session(Run(tmp_path / "run"), arguments=arguments) as session:
        outcome = calls_lifetimes.relayed_call_outlives_lifetimes(
            session.target, session.host, session.devices
        )
    assert outcome.verdict is Verdict.FAILED, outcome
    assert "heard nothing for" in outcome.reason


def test_a_sender_that_does_not_keep_up_is_no_finding(tmp_path, monkeypatch):
    def too_slow(_call, _seconds, *, numbers):
        raise WaitTimeout(f"alice to send {numbers} messages", 50.0)

    monkeypatch.setattr(Call, "talk", too_slow)
    with open_session(Run(tmp_path / "run")) as session:
        outcome = calls.direct_call_leaves_the_relay_alone(session.target, session.host, session.devices)
    assert outcome.verdict is Verdict.UNDECIDED
    assert "machine too slow" in outcome.reason


def test_a_call_that_does_not_come_up_beside_starved_ones_is_no_finding(tmp_path, monkeypatch):
    """The first of two calls is up, and its sides do not keep their pace: why the second is late is not known."""

    def only_the_first(outcome, name, *others):
        if name != "1-of-2":
            raise WaitTimeout("the call to be connected", 12.0)
        return call_steps.set_up(outcome, name, *others)

    def starved(_stats, name):
        raise MachineTooSlow(f"machine too slow ({name}'s audio: sent 31 of 50 per second)")

    monkeypatch.setattr(calls_many, "set_up", only_the_first)
    monkeypatch.setattr(Stats, "check_pace", starved)
    with open_session(Run(tmp_path / "run")) as session:
        outcome = calls_many.calls_at_once(session.target, session.host, session.devices, 2)
    assert outcome.verdict is Verdict.UNDECIDED
    assert "machine too slow" in outcome.reason
