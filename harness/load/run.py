"""Runs a load: Locust in processes of its own, so that what it does to Python's blocking calls stays there."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from ..hosts import Host, MissingCapability, end_process
from .plan import PLAN, LoadPlan
from .results import LoadResults

__all__ = ["cost_of", "require_locust", "run_load"]

OVERTIME = 60.0
"""Seconds after the end in which Locust may still be at work."""
LEAVE = 15
"""Seconds for clients to end what they are doing."""
PATIENCE = 10.0


def require_locust() -> None:
    """Raise `MissingCapability` where the extra is not installed."""
    if importlib.util.find_spec("locust") is None:
        raise MissingCapability("locust", "it is not installed", heal="pip install 'dc-harness[load]'")


def run_load(
    host: Host,
    plan: LoadPlan,
    directory: Path,
    roles: Sequence[str] = (),
    *,
    cost: Callable[[], dict[str, float]] = dict,
) -> LoadResults | None:
    """Run Locust until it ends by itself, or ten seconds after Ctrl-C. `roles`: further words for it.

    `cost` is asked at the end, before the clients have gone. None: nothing was written, as by a worker of many.
    """
    file = directory / "plan.json"
    plan.write(file)
    words = [
        *(sys.executable, "-m", "locust", "-f", str(Path(__file__).with_name("users.py"))),
        *("--headless", "--users", str(plan.users), "--spawn-rate", str(plan.spawn_rate)),
        *("--run-time", f"{plan.run_time}s", "--stop-timeout", str(LEAVE)),
        *("--loglevel", "INFO", "--only-summary", "--exit-code-on-error", "0", *roles),
    ]
    with (directory / "locust.log").open("wb") as log:
        process = host.start_program(
            words, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, PLAN: str(file)}
        )
        spent: dict[str, float] = {}
        try:
            deadline = time.monotonic() + plan.run_time + OVERTIME
            while process.poll() is None and time.monotonic() < deadline:
                spent = cost() or spent
                try:
                    process.wait(1.0)
                except subprocess.TimeoutExpired:
                    continue
        except KeyboardInterrupt:
            process.send_signal(signal.SIGINT)
            raise
        finally:
            end_process(process, patience=PATIENCE)
    results = Path(plan.results)
    if not results.is_file():
        return None
    found = replace(LoadResults.read(results), server=spent)
    found.write(results)
    return found


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
