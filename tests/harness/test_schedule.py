"""The order of checks side by side: what depends on another waits for it, and what is heavy has room."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from harness.calls.kinds import PeerChoice
from harness.doors.catalogue import all_checks
from harness.doors.running import _jobs_for
from harness.doors.schedule import COSTS, Schedule, cost_of, default_jobs
from harness.stage.check import CHECKS, Check
from harness.stage.options import Choice
from harness.target import Impact, Service

LONG, SHORT = "calls_many.calls_at_once", "mail.idle_reports_new_mail"


def play(schedule: Schedule, jobs: int) -> list[str]:
    """Run through a schedule; whenever nothing more may be started, the check that began first ends."""
    running: list[str] = []
    started = []
    while not schedule.over:
        while len(running) < jobs and (check := schedule.next()) is not None:
            running.append(check.name)
            started.append(check.name)
        assert running, "nothing runs, and nothing may be started"
        schedule.ended(running.pop(0))
    return started


@pytest.mark.parametrize(
    ("jobs", "processors", "shared"), list(itertools.product((1, 2, 4, 9), (1, 2, 8), (False, True)))
)
def test_every_check_runs_once_and_after_those_it_depends_on(jobs, processors, shared):
    checks = all_checks()
    order = play(Schedule(checks, processors=processors, shared_server=shared), jobs)
    assert sorted(order) == sorted(each.name for each in checks)
    for check in checks:
        assert all(order.index(name) < order.index(check.name) for name in check.after), check.name


def test_a_check_waits_until_what_it_depends_on_has_ended():
    first = replace(CHECKS[SHORT], name="a.first")
    second = replace(CHECKS[SHORT], name="a.second", after=("a.first", "a.not_chosen"))
    schedule = Schedule([second, first], processors=4)
    assert schedule.next() == first
    assert schedule.next() is None
    schedule.ended("a.first")
    assert schedule.next() == second


def test_heavy_checks_do_not_share_processors_that_there_are_not():
    heavy = [replace(CHECKS[LONG], name=LONG), replace(CHECKS[LONG], name="calls.calls_ring_and_end")]
    few = Schedule(heavy, processors=2)
    assert few.next() is not None
    assert few.next() is None
    many = Schedule(heavy, processors=8)
    assert [many.next() is not None for _ in heavy] == [True, True]


def disturbing(impact: Impact, disturbs: tuple[Service, ...]) -> Check:
    return replace(CHECKS[SHORT], name="a.harmful", impact=impact, disturbs=disturbs, after=())


@pytest.mark.parametrize(
    "check", [disturbing(Impact.HARMFUL, ()), disturbing(Impact.LIVE_SAFE, (Service.TURN,))]
)
def test_on_one_server_for_all_a_check_that_disturbs_it_runs_alone(check):
    other = replace(CHECKS[SHORT], name="a.other", after=())
    for pair in ([check, other], [other, check]):
        shared = Schedule(pair, processors=8, shared_server=True)
        assert shared.next() is not None
        assert shared.next() is None
        own = Schedule(pair, processors=8)
        assert [own.next() is not None for _ in pair] == [True, True]


def test_a_further_server_is_started_where_it_has_enough_to_do():
    assert default_jobs([CHECKS[SHORT]] * 5, processors=2) == 1
    assert default_jobs(all_checks(), processors=2) == 4


def test_checks_that_call_with_browsers_run_one_at_a_time():
    with_browser, calls, mails = (
        Choice(peers=PeerChoice.parse(["alice=chromium"])),
        [each for each in all_checks() if each.room == "calls"],
        [each for each in all_checks() if each.room == "mail"],
    )
    assert _jobs_for(with_browser, [*calls, *mails], 8) == 1 < _jobs_for(Choice(), [*calls, *mails], 8)
    assert _jobs_for(with_browser, mails, 8) == _jobs_for(Choice(), mails, 8)


def test_costs_are_those_of_checks_that_there_are():
    all_checks()
    assert COSTS.keys() <= CHECKS.keys()


def test_the_rest_of_a_run_is_estimated():
    checks = [CHECKS[SHORT], CHECKS[LONG]]
    schedule = Schedule(checks, processors=2)
    whole = schedule.seconds_left({}, jobs=2)
    assert whole >= cost_of(CHECKS[LONG]).seconds
    for _ in range(2):
        started = schedule.next()
        assert started is not None
        schedule.ended(started.name)
    assert schedule.seconds_left({}, jobs=2) == 0
