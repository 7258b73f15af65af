"""`--jobs`: numbers of the suite at the same time, each in a process and with a server of its own where we start it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from ...hosts import LocalHost
from ...report.merge import below
from ...report.plan import checks
from ...report.reading import Unreadable, read_run
from ...report.records import Verdict
from ...report.run import Run
from ...servers.process import Process
from ...stage.outcome import Outcome
from .arguments import COPIES, Options
from .console import Result
from .tests import NAMES

__all__ = ["may_start", "results_side_by_side"]

PROGRAM = "import sys; from harness.doors.madmail_suite.main import main; sys.exit(main())"
ALONE = frozenset({11, 13, 14, 17})
"""On a server that all share: they close it for a moment, purge everybody's mail, or come with a hundred accounts."""
LOOK_EVERY = 0.05
PATIENCE = 30.0
"""Seconds that a number gets to close what it has started."""


@dataclass(frozen=True)
class _Running:
    number: int
    process: Process
    directory: Path
    began: float


def results_side_by_side(
    options: Options, run: Run, argv: Sequence[str], starts: Callable[[int], None]
) -> Generator[Result]:
    """Run the chosen numbers, and give each result as it is there. Records and evidence go into `run`.

    Whoever stops listening ends all that still run.
    """
    waiting = list(options.tests)
    with ExitStack() as stack:
        running: list[_Running] = []
        while waiting or running:
            while (
                waiting
                and len(running) < options.jobs
                and may_start(waiting[0], [each.number for each in running], options)
            ):
                starts(waiting[0])
                begun = _begin(waiting.pop(0), options, run, argv)
                stack.enter_context(begun.process)
                begun.process.start()
                running.append(begun)
            for each in [each for each in running if each.process.ends_within(LOOK_EVERY)]:
                running.remove(each)
                yield _result(each, run)


def may_start(number: int, running: Collection[int], options: Options) -> bool:
    """A number may stand beside those that run."""
    return not (options.choice.is_remote and running and ALONE & {number, *running})


def _begin(number: int, options: Options, run: Run, argv: Sequence[str]) -> _Running:
    """A number as a run of its own, by the same command line; its process is not started yet."""
    directory = run.directory / f"test-{number}"
    directory.mkdir(parents=True, exist_ok=True)
    others = ",".join(str(each) for each in NAMES if each != number)
    words = [*argv, f"--test-{number}", "--no-test", others, "--jobs", "1", "--out", str(directory)]
    words += [word for flag in options.copies for word in (f"--{flag}", str(directory / COPIES[flag]))]
    process = Process(
        f"test #{number}",
        LocalHost(),
        [sys.executable, "-c", PROGRAM, *words],
        log=directory / "output.txt",
        ready=lambda: True,
        ready_when="start",
        within=PATIENCE,
        patience=PATIENCE,
    )
    return _Running(number, process, directory, time.monotonic())


def _result(ended: _Running, run: Run) -> Result:
    """Its records go into the run, with their evidence where it is."""
    seconds = time.monotonic() - ended.began
    try:
        records = read_run(ended.directory).records
    except Unreadable:
        records = ()
    found = Outcome()
    for record in checks(records):
        run.append(replace(below(ended.directory.name, record), run=run.name))
        found.include(Outcome(record.verdict, [record.reason] if record.reason else [], list(record.notes)))
    if not checks(records):
        found = Outcome(Verdict.UNDECIDED, [f"it came to no result: see {ended.process.log}"])
    return Result(ended.number, found.verdict, found.reason, tuple(found.notes), seconds)
