"""Conduct of a load in Locust's processes: when it ends, what is gathered and written, and a page that only shows."""

from __future__ import annotations

import ctypes
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import gevent
from flask import abort, request
from locust import argument_parser, events, runners
from locust.runners import MasterRunner, WorkerRunner

from ..report.client_load import StepTimes
from ..waiting import Deadline
from .counting import CARRIED, MOST_COMPLAINTS, totals
from .plan import LoadPlan
from .results import Carried, Complaint, LoadResults, MissingMessage, WorkerCounts

__all__ = ["PLAN", "begin"]

PLAN = LoadPlan.of_environment()
WRITE_EVERY = 5.0
TICK = 0.5
PR_SET_PDEATHSIG = 1
QUIET, ARRIVES_WITHIN, LOOKED_WITHIN = 20.0, 240.0, 120.0
"""Seconds after the end of a load: without any arrival, until nobody waits for one any more; that all wait at the most;
and for a look into the mailboxes that something is missing from."""
LOOK = "look for what is missing"
"""Message of a master to its workers."""
MASTER_GONE_AFTER, WORKER_GONE_AFTER = 15, 30
"""Seconds without a word of them. Locust itself waits a minute, and three seconds: a busy worker is silent for more."""


class Gathered:
    """What all processes counted; written every few seconds, and at the end."""

    def __init__(self) -> None:
        self.of_worker: dict[str, dict[str, Any]] = {}
        self.most_users = 0
        self.most_workers = 0
        self.lost = 0
        self._ends = False

    def end(self) -> None:
        """From now on workers leave because they are told to."""
        self._ends = True

    def write(self, environment: Any, *, complete: bool) -> None:
        runner = environment.runner
        self.most_users = max(self.most_users, runner.user_count)
        if isinstance(runner, MasterRunner):
            self._count_workers(runner)
        parts = list(self.of_worker.values()) or [_as_data()]
        missing = [MissingMessage(*each) for part in parts for each in part["missing"]]
        carried = {name: Carried() for name in CARRIED}
        complaints: Counter[tuple[str, str]] = Counter()
        for part in parts:
            for name, each in carried.items():
                each.add(part[name])
            complaints.update({(service, text): times for service, text, times in part["complaints"]})
        LoadResults(
            complete=complete,
            users_wanted=PLAN.users,
            users_reached=self.most_users,
            seconds=round(time.monotonic() - totals.began, 1),
            workers=self.most_workers,
            workers_lost=self.lost,
            of_workers=tuple(WorkerCounts.of(part["itself"]) for part in parts),
            steps=tuple(_steps(environment)),
            offers=frozenset(each for part in parts for each in part["offers"]),
            stalled=round(max(part["stalled"] for part in parts), 2),
            complaints=tuple(
                Complaint(*said, times) for said, times in complaints.most_common(MOST_COMPLAINTS)
            ),
            missing=tuple(sorted(missing, key=lambda each: each.submitted)),
            not_there=sum(part["not_there"] for part in parts),
            untold=sum(part["untold"] for part in parts),
            messages=carried["messages"],
            media=carried["media"],
            frames=carried["frames"],
        ).write(Path(PLAN.results))

    def parts(self, environment: Any) -> list[dict[str, Any]]:
        """What each process said last that is still there. Of one that has said nothing yet, nothing."""
        if not isinstance(environment.runner, MasterRunner):
            return [_as_data()]
        missing = {each.id for each in environment.runner.clients.missing}
        return [part for name, part in self.of_worker.items() if name not in missing]

    def _count_workers(self, runner: MasterRunner) -> None:
        """Workers that leave at the end, when they are told to, are not lost."""
        self.most_workers = max(self.most_workers, runner.worker_count)
        if self._ends:
            return
        runs = runner.state in (runners.STATE_SPAWNING, runners.STATE_RUNNING)
        gone = self.most_workers - runner.worker_count if runs else len(runner.clients.missing)
        self.lost = max(self.lost, gone)


gathered = Gathered()


def begin(look: Callable[[], None]) -> None:
    """Let Locust tell us of everything that happens in its processes. `look`: for the missing messages of this one."""
    # A worker asks for these again for each option, in each second in which clients come: half of what it does then.
    argument_parser.default_args_dict = cache(argument_parser.default_args_dict)
    runners.MASTER_HEARTBEAT_TIMEOUT, runners.HEARTBEAT_LIVENESS = MASTER_GONE_AFTER, WORKER_GONE_AFTER
    events.init.add_listener(_begin)
    events.init.add_listener(lambda environment, **_kwargs: _look_when_told(environment.runner, look))
    events.test_start.add_listener(_clients_come)
    events.test_stopping.add_listener(_clients_go)
    events.test_stop.add_listener(_clients_have_gone)
    events.report_to_master.add_listener(_tell_master)
    events.worker_report.add_listener(_hear_worker)
    events.quitting.add_listener(_end)


def _begin(environment: Any, web_ui: Any = None, **_kwargs: Any) -> None:
    totals.began = time.monotonic()
    if isinstance(environment.runner, WorkerRunner):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # one that Locust has forked goes with it
    else:
        gevent.signal_handler(signal.SIGTERM, gathered.end)  # besides Locust's own: workers get it, too
    if web_ui is not None:
        web_ui.app.before_request(_only_look)
    gevent.spawn(_watch_the_clock)


def _look_when_told(runner: Any, look: Callable[[], None]) -> None:
    runner.register_message(LOOK, lambda **_kwargs: gevent.spawn(look))


def _watch_the_clock() -> None:
    """Who waits for longer than it asked for has been kept waiting by its own process, or that by the machine."""
    while True:
        began = time.monotonic()
        gevent.sleep(TICK)
        totals.stalled = max(totals.stalled, time.monotonic() - began - TICK)


def _only_look() -> None:
    """Somebody at the page could ask for more clients than the plan allows, or for ever."""
    if request.method not in ("GET", "HEAD"):
        abort(403)


def _clients_come(environment: Any, **_kwargs: Any) -> None:
    totals.began = time.monotonic()
    if PLAN.own_part or not isinstance(environment.runner, WorkerRunner):
        gevent.spawn(_write_now_and_then, environment)
    if not isinstance(environment.runner, WorkerRunner):
        gevent.spawn(_conduct, environment)


def _conduct(environment: Any) -> None:
    """Let clients send for as long as is planned, then wait until everything has arrived, and let them leave."""
    gevent.sleep(PLAN.run_time)
    if not _everything_arrives(environment):
        environment.runner.send_message(LOOK)
        _comes_true(lambda: all(part["has_looked"] for part in gathered.parts(environment)), LOOKED_WITHIN)
    environment.runner.stop()


def _everything_arrives(environment: Any) -> bool:
    """False: nothing came for a while, and something is still missing."""
    counts: list[tuple[int, ...]] = []
    since = time.monotonic()

    def is_over() -> bool:
        nonlocal counts, since
        parts = gathered.parts(environment)
        now = [(*part["messages"].values(), part["at_work"], part["awaited"]) for part in parts]
        if now != counts:
            counts, since = now, time.monotonic()
        return all(part["is_over"] for part in parts) or time.monotonic() - since > QUIET

    _comes_true(is_over, ARRIVES_WITHIN)
    return all(part["is_over"] for part in gathered.parts(environment))


def _comes_true(condition: Callable[[], bool], within: float) -> None:
    deadline = Deadline(within)
    while not condition() and not deadline.over:
        gevent.sleep(TICK)


def _as_data() -> dict[str, Any]:
    """What this process counted, and whether all of it is over: nobody sends or awaits anything."""
    data, sends = totals.as_data(), time.monotonic() - totals.began < PLAN.run_time
    return {**data, "is_over": not (sends or data["at_work"] or data["awaited"])}


def _write_now_and_then(environment: Any) -> None:
    while True:
        gathered.write(environment, complete=False)
        gevent.sleep(WRITE_EVERY)


def _clients_go(environment: Any, **_kwargs: Any) -> None:
    gathered.most_users = max(gathered.most_users, environment.runner.user_count)
    if isinstance(environment.runner, MasterRunner):
        gathered.write(environment, complete=False)


def _clients_have_gone(environment: Any, **_kwargs: Any) -> None:
    """All have said what they got: Locust's own end of a headless load does not wait for that."""
    if not isinstance(environment.runner, WorkerRunner):
        gevent.spawn(_leave, environment)


def _leave(environment: Any) -> None:
    environment.runner.quit()
    if environment.web_ui is not None:
        environment.web_ui.stop()


def _tell_master(client_id: str, data: dict[str, Any]) -> None:  # noqa: ARG001  # Locust gives it
    data["carried"] = _as_data()


def _hear_worker(client_id: str, data: dict[str, Any]) -> None:
    if "carried" in data:
        gathered.of_worker[client_id] = data["carried"]


def _end(environment: Any, **_kwargs: Any) -> None:
    if PLAN.own_part or not isinstance(environment.runner, WorkerRunner):
        gathered.write(environment, complete=time.monotonic() - totals.began >= PLAN.run_time - 1)


def _steps(environment: Any) -> Iterator[StepTimes]:
    for (name, service), entry in sorted(environment.stats.entries.items(), key=lambda each: each[0][::-1]):
        times = (entry.get_response_time_percentile(part) or 0.0 for part in (0.5, 0.95, 0.99))
        yield StepTimes(service, name, entry.num_requests, entry.num_failures, *times)
