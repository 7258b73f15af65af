"""Verdicts of the checks of calls on machines that cannot do them, and on servers that nobody would wait for."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from harness.calls import agent
from harness.calls.call import Call
from harness.calls.peers import Stats
from harness.calls.quality import MachineTooSlow
from harness.checks import calls, calls_lifetimes, calls_many
from harness.clients.device import Device
from harness.doors.catalogue import all_checks
from harness.report.records import Verdict
from harness.report.run import Run
from harness.servers.server import Wants
from harness.stage.session import open_session
from harness.steps import calls as call_steps
from harness.waiting import WaitTimeout, wait_until

SHORT_LIVES = Wants(turn_lifetimes=calls_lifetimes.SHORT_LIVES)


@pytest.fixture
def no_core(monkeypatch):
    def start(name, *_others, **_options):
        raise AssertionError(f"a core was started for {name}")

    monkeypatch.setattr(Device, "start", start)


def test_without_aiortc_every_call_is_skipped_and_says_what_heals_it(tmp_path, monkeypatch, no_core):
    monkeypatch.setattr(agent, "calls_are_possible", lambda: False)
    calling = [each for each in all_checks() if "calls" in each.needs]
    assert len([each for each in calling if each.room.startswith("calls")]) == 15
    with open_session(Run(tmp_path / "run")) as session:
        for check in calling:
            outcome = check.run(session.stage(check.name))
            assert outcome.verdict is Verdict.SKIPPED, check.name
            assert "capability calls" in outcome.reason
            assert "pip install" in outcome.reason


@pytest.mark.parametrize(
    ("check", "wants", "capability"),
    [
        (calls_lifetimes.relayed_call_outlives_lifetimes, Wants(), "short_turn_lifetimes"),
        (calls_lifetimes.relayed_call_outlives_credentials, Wants(), "short_turn_ttl"),
        (calls_lifetimes.relayed_call_outlives_credentials, Wants(turn_ttl=30), "short_turn_lifetimes"),
    ],
)
def test_what_nobody_would_wait_for_is_skipped_before_any_core_starts(
    check, wants, capability, tmp_path, no_core
):
    with open_session(Run(tmp_path / "run"), wants=wants) as session:
        outcome = check(replace(session.stage("long"), as_it_is=True))
    assert outcome.verdict is Verdict.SKIPPED
    assert f"capability {capability}" in outcome.reason


def test_credentials_that_expire_before_the_call_are_no_finding(tmp_path, monkeypatch):
    ttl = 3

    def too_late(*given):
        begun = time.time()
        wait_until(lambda: time.time() > begun + ttl, "the credentials to expire", within=30)
        return call_steps.set_up(*given)

    monkeypatch.setattr(calls_lifetimes, "set_up", too_late)
    with open_session(Run(tmp_path / "run"), wants=replace(SHORT_LIVES, turn_ttl=ttl)) as session:
        stage = replace(session.stage("late"), as_it_is=True)
        outcome = calls_lifetimes.relayed_call_outlives_credentials(stage)
    assert outcome.verdict is Verdict.UNDECIDED
    assert "machine too slow (the credentials expired before the call" in outcome.reason


@pytest.mark.nightly
def test_a_call_of_aioice_is_cut_where_permissions_are_strict(tmp_path):
    """RFC 8656 to the letter is no fault, but aioice never refreshes a permission: the option shows what that does."""
    with open_session(Run(tmp_path / "run"), wants=replace(SHORT_LIVES, strict_permissions=True)) as session:
        outcome = calls_lifetimes.relayed_call_outlives_lifetimes(session.stage("strict"))
    assert outcome.verdict is Verdict.FAILED, outcome
    assert "heard nothing for" in outcome.reason


def test_a_sender_that_does_not_keep_up_is_no_finding(tmp_path, monkeypatch):
    def too_slow(_call, _seconds, *, numbers):
        raise WaitTimeout(f"alice to send {numbers} messages", 50.0)

    monkeypatch.setattr(Call, "talk", too_slow)
    with open_session(Run(tmp_path / "run")) as session:
        outcome = calls.direct_call_leaves_the_relay_alone(session.stage("slow"))
    assert outcome.verdict is Verdict.UNDECIDED
    assert outcome.reason.startswith("machine too slow")


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
        outcome = calls_many.calls_at_once(session.stage("starved"), calls=2)
    assert outcome.verdict is Verdict.UNDECIDED
    assert outcome.reason.startswith("machine too slow")
