"""Cells as processes: each is a `dc-harness check` of its own, as many at a time as this machine has processors for.

A cell that crashes, hangs or eats memory harms no other, each has a server and cores of its own, and the same command
can be typed again. What a cell costs was measured (docs/matrix.md), and those start that still fit.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from ..hosts import Host

__all__ = ["OUTPUT", "Child", "Ended", "Job", "run_jobs"]

ENTRY = (sys.executable, "-c", "import sys; from harness.doors.cli import main; sys.exit(main())")
OUTPUT = "output.log"
WITHIN = 600.0
"""Seconds for one cell; the longest of those that we know takes a minute on a busy machine."""
PATIENCE = 30.0
"""Seconds between SIGTERM and SIGKILL: a check closes its lab first."""


@dataclass(frozen=True)
class Job:
    """One cell, as it is started."""

    key: str
    words: tuple[str, ...]
    """Arguments of `dc-harness`."""
    directory: Path
    cost: float
    """Processors that it keeps busy."""


@dataclass(frozen=True)
class Ended:
    """A cell that has ended."""

    job: Job
    exit_code: int
    """As of a shell: negative is a signal."""
    seconds: float
    cpu_s: float
    """Seconds of processor time, of everything that it started and waited for."""


class Child:
    """The process of one cell. The kernel ends it when we are gone."""

    def __init__(self, host: Host, job: Job) -> None:
        self._job = job
        self._lock = threading.Lock()
        self._started = time.monotonic()
        job.directory.mkdir(parents=True, exist_ok=True)
        with (job.directory / OUTPUT).open("wb") as output:
            self._process = host.start_program(
                [*ENTRY, *job.words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,  # Ctrl-C in the terminal is for us, and we end it
            )

    def wait(self, within: float = WITHIN) -> Ended:
        """Return when it has ended; one that takes too long is ended."""
        timers = [threading.Timer(within, self.end), threading.Timer(within + PATIENCE, self.end, [True])]
        for each in timers:
            each.daemon = True
            each.start()
        pid = self._process.pid
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        for each in timers:
            each.cancel()
        with self._lock:
            _, status, usage = os.wait4(pid, 0)
            self._process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - self._started
        return Ended(self._job, self._process.returncode, seconds, usage.ru_utime + usage.ru_stime)

    def end(self, kill: bool = False) -> None:
        """Ask it to end, or kill it with all that it has started. Safe to call again."""
        with self._lock:
            if self._process.returncode is not None:
                return
            if kill:
                os.killpg(self._process.pid, signal.SIGKILL)
            else:
                os.kill(self._process.pid, signal.SIGTERM)


def run_jobs(
    jobs: Iterable[Job],
    host: Host,
    *,
    at_once: int,
    processors: float,
    ended: Callable[[Ended], Iterable[Job]],
) -> None:
    """Run all of them; each call of `ended` may name further ones. What runs when we are interrupted is ended."""
    waiting = list(jobs)
    running: dict[Future[Ended], tuple[Job, Child]] = {}
    with ThreadPoolExecutor(at_once) as threads:
        try:
            while waiting or running:
                while len(running) < at_once and (job := _next(waiting, running.values(), processors)):
                    waiting.remove(job)
                    child = Child(host, job)
                    running[threads.submit(child.wait)] = (job, child)
                for each in wait(running, return_when=FIRST_COMPLETED).done:
                    del running[each]
                    waiting += ended(each.result())
        except BaseException:
            for _job, child in running.values():
                child.end()
            _, late = wait(running, timeout=PATIENCE)
            for each in late:
                running[each][1].end(kill=True)
            raise


def _next(waiting: Iterable[Job], running: Iterable[tuple[Job, Child]], processors: float) -> Job | None:
    """The first that fits beside those that run; where nothing runs, the first."""
    busy = [job.cost for job, _ in running]
    return next((job for job in waiting if not busy or sum(busy) + job.cost <= processors), None)
