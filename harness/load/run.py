"""Runs a load: Locust in processes of its own, so that what it does to Python's blocking calls stays there."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ..hosts import Host, MissingCapability
from ..servers.process import Process
from .plan import PLAN, LoadPlan
from .results import LoadResults

__all__ = ["COME_WITHIN", "cost_of", "read_results", "require_locust", "run_load"]

COME_WITHIN = 120
"""Seconds in which the workers of a master have to come."""
LEAVE = 15
"""Seconds for clients to end what they are doing."""
OVERTIME = 450.0
"""Seconds after the end of sending in which Locust may still be at work: what is on its way, a look, and the leave."""
PATIENCE = 25.0
"""Seconds from SIGTERM until every process of it is killed; in these it writes what it has."""


def require_locust() -> None:
    """Raise `MissingCapability` where the extra is not installed."""
    if importlib.util.find_spec("locust") is None:
        raise MissingCapability("locust", "it is not installed", heal="pip install 'dc-harness[load]'")


def run_load(
    host: Host,
    plan: LoadPlan,
    directory: Path,
    log: Path,
    roles: Sequence[str] = (),
    *,
    cost: Callable[[], dict[str, float]] = dict,
) -> None:
    """Run Locust until it ends by itself; whatever raises in the meantime ends it with all of its processes.

    `directory`: for what only Locust reads; `roles`: further words for it; `cost` is asked until the clients have
    gone. Results are in the plan's file, also where it was cut short. Raises `ServerError` where Locust does not start.
    """
    file = directory / "plan.json"
    file.touch(mode=0o600)
    plan.write(file)
    results = Path(plan.results)
    results.unlink(missing_ok=True)  # of another load
    words = [
        *(sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("users.py"))),
        *("--users", str(plan.users), "--spawn-rate", str(plan.spawn_rate), "--stop-timeout", str(LEAVE)),
        *("--loglevel", "INFO", "--only-summary", "--exit-code-on-error", "0", *roles),
    ]
    locust = Process(
        "Locust",
        host,
        words,
        log=log,
        ready=lambda: True,
        ready_when="start",
        within=1.0,
        environment={PLAN: str(file)},
        directory=directory,  # where nobody has left settings for it
        patience=PATIENCE,
    )
    spent: dict[str, float] = {}
    with locust:
        locust.start()
        deadline = time.monotonic() + COME_WITHIN + plan.run_time + OVERTIME
        try:
            while not locust.ends_within(1.0) and time.monotonic() < deadline:
                spent = cost() or spent
        finally:
            locust.close()
            if (found := read_results(plan)) is not None:
                replace(found, server=spent).write(results)


def read_results(plan: LoadPlan) -> LoadResults | None:
    """Everything that was counted; None: nobody came to write it."""
    file = Path(plan.results)
    return LoadResults.read(file) if file.is_file() else None


def cost_of(pid: int) -> dict[str, float]:
    """CPU seconds and resident megabytes of a process and its descendants so far (proc(5))."""
    children: dict[int, list[int]] = {}
    numbers: dict[int, tuple[float, float]] = {}
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it has just ended
            children.setdefault(int(fields[1]), []).append(int(entry.name))
            numbers[int(entry.name)] = (
                (int(fields[11]) + int(fields[12])) / tick,
                int(fields[21]) * page / 1e6,
            )
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    known = [numbers[each] for each in found if each in numbers]
    return {"cpu_seconds": sum(cpu for cpu, _ in known), "megabytes": sum(size for _, size in known)}
