"""A run of checks on one server: the plan first, then checks side by side, reports and the verdict at its end."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from ..network.preflight import enter_user_namespace
from ..report.must import MustList
from ..report.run import Run, new_run_directory
from ..report.terminal import render_end
from ..stage.check import Check
from ..stage.options import Choice, option_names
from .catalogue import all_checks
from .check import RUNS
from .console import say
from .display import display
from .exit_codes import exit_code_of
from .interrupts import Interrupted, interruptible, uninterrupted
from .must_file import capabilities_of, read_must_list
from .schedule import Schedule, default_jobs
from .side_by_side import NoServer, SideBySide
from .workers import Duty, Worker, shared_forks

__all__ = ["Order", "run_checks"]

MOST_ON_ANOTHERS = 2
"""Checks at the same time on somebody else's server, unless somebody asks for more."""
FILE_SUFFIX = ".toml"


@dataclass(frozen=True)
class Order:
    """A run as somebody asked for it."""

    choice: Choice
    options: Mapping[str, Any]
    """Those that the choice was made of: each worker reads them again."""
    directory: Path
    door: str
    """Command by which it was asked for."""
    jobs: int | None = None
    """Checks at the same time; None: as many as this machine bears."""
    must: MustList | None = None

    @classmethod
    def read(cls, arguments: argparse.Namespace) -> Self:
        """Make sense of a command line. Raises `ValueError` with a sentence."""
        options = {name: getattr(arguments, name) for name in option_names()}
        files = [each for each in options["must"] if each.endswith(FILE_SUFFIX)]
        options["must"] = [each for each in options["must"] if each not in files]
        choice, must = Choice.read(options.get), None
        if len(files) > 1:
            raise ValueError(f"--must: {' and '.join(files)} are two must-lists; name one")
        if files:
            must = read_must_list(Path(files[0]), choice.name, all_checks())
            options["must"] += capabilities_of(must)
            choice = Choice.read(options.get)
        directory = arguments.out or new_run_directory(RUNS)
        return cls(choice, options, directory, f"dc-harness {arguments.command}", arguments.jobs, must)


def run_checks(chosen: Sequence[Check], order: Order) -> int:
    """Run these checks; results go to the order's directory, and the end of the run to stdout."""
    processors = len(os.sched_getaffinity(0))
    jobs = min(order.jobs or _jobs_for(order.choice, chosen, processors), len(chosen))
    run = Run(order.directory)
    run.plan(((each.name, each.requirements) for each in chosen), target=order.choice.name)
    if order.must is not None:
        run.begin(order.must, target=order.choice.name)
    enter_user_namespace()  # for all workers: one that does it by itself would not hear of our end

    forks = shared_forks()

    def start(number: int) -> Worker:
        logs = run.logs if jobs == 1 else run.logs / f"job-{number + 1}"
        return Worker(Duty(order.options, (number, jobs), order.directory, logs, order.door, forks))

    schedule = Schedule(chosen, processors=processors, shared_server=order.choice.is_remote)
    code, interrupted = None, ""
    with uninterrupted():
        try:
            with interruptible(), display(order.choice.name, [each.name for each in chosen], jobs) as watcher:
                SideBySide(schedule, run, watcher, start, jobs).go()
        except NoServer as refused:
            code, interrupted = refused.exit_code, str(refused)
        except Interrupted as signal:
            code, interrupted = signal.exit_code, str(signal)
        run.end(interrupted=interrupted, jobs=jobs)
        run.finish()
        say(
            f"\n{render_end(run.records, directory=run.directory)}\n\nReport: {run.directory / 'report.html'}"
        )
    return exit_code_of(run.records) if code is None else code


def _jobs_for(choice: Choice, chosen: Sequence[Check], processors: int) -> int:
    """The default of `--jobs`. Given accounts, and a server that keeps a ledger, are not shared, nor are browsers."""
    if choice.given is not None or choice.endpoints is not None:
        return 1
    most = default_jobs(chosen, processors)
    if any("calls" in each.needs for each in chosen):
        most = choice.peers.at_once(most)
    return min(MOST_ON_ANOTHERS, most) if choice.is_remote else most
