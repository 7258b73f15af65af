"""A run of the suite: which tests, in which order, with which exit code."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from ...hosts import MissingCapability
from ...report.findings import accounts_left
from ...report.observations import Measured
from ...report.run import Run, new_run_directory
from ...servers.server import ServerError
from ...stage.check import recording
from ...stage.session import open_session
from ...stage.survey import machine_seen
from ..exit_codes import FAILED, NOTHING_RAN, PASSED, exit_code
from ..interrupts import Interrupted, interruptible, uninterrupted
from .arguments import Options
from .console import Console, Result
from .side_by_side import results_side_by_side
from .suite import run_test

__all__ = ["run_tests"]

RUNS = Path("reports/runs")


def run_tests(options: Options, console: Console, words: Sequence[str]) -> int:
    """Run the chosen tests, and write the reports. `words`: the command line, for tests in processes of their own."""
    run = Run(options.out or new_run_directory(RUNS))
    interrupted = ""
    with uninterrupted():
        try:
            with interruptible():
                order = [] if options.seed is None else [Measured("order of the tests, --seed", options.seed)]
                run.begin(machine_seen(), *order)
                results = _results(options, run, console, words) if options.tests else []
        except (ServerError, MissingCapability, Interrupted) as error:
            interrupted = str(error)
            console.step(interrupted)
            if isinstance(error, Interrupted):
                return error.exit_code
            return NOTHING_RAN if isinstance(error, MissingCapability) else FAILED
        finally:
            run.end(interrupted=interrupted, jobs=options.jobs)
            run.finish()
            console.close()
        if left := accounts_left(run.records):
            console.step(left)
        options.copy_results(run.directory)
        console.summary(options.tests, options.named, results, run.directory)
    code = exit_code(result.verdict for result in results)
    missing = any(each.left_out for each in results if each.number in options.named)
    return FAILED if code == PASSED and missing else code


def _results(options: Options, run: Run, console: Console, words: Sequence[str]) -> list[Result]:
    results: list[Result] = []
    console.header(options.choice.title)
    if options.jobs > 1:
        found = results_side_by_side(options, run, words, console.starts)
    else:
        found = _one_by_one(options, run, console)
    with closing(found):
        for result in found:
            results.append(result)
            console.ended(result)
            if not (result.passed or result.left_out or options.cool):
                break
    return results


def _one_by_one(options: Options, run: Run, console: Console) -> Generator[Result]:
    # Delta Chat clients of a server without a relay use somebody else's: no core may start, and 15 and 16 fail.
    choice = replace(options.choice, must=options.choice.must | {"iroh_relay"})
    with open_session(run, choice) as session:
        console.step(f"{session.target.name} is ready at {session.target.host}")
        for number in options.tests:
            console.starts(number)
            with recording(run.add, run=run.name, door=f"main.py --test-{number}"):
                result = run_test(number, session)
            yield result
