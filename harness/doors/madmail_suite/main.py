"""The drop-in for madmail's `tests/deltachat-test/main.py`: which tests, in which order, with which exit code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import dotenv

from ...report.findings import accounts_left
from ...report.run import Run, new_run_directory
from ...servers.server import ServerError
from ...stage.check import recording
from ...stage.session import open_session
from ...stage.survey import machine_seen
from ..exit_codes import FAILED, PASSED, exit_code
from ..interrupts import Interrupted, interruptible
from .arguments import Options, parse
from .console import Console, Result
from .stress import stress
from .suite import run_test

__all__ = ["main"]

RUNS = Path("reports/runs")


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for. The exit codes are those of `exit_codes`."""
    dotenv.load_dotenv(dotenv.find_dotenv(usecwd=True))
    options = parse(argv)
    console = Console(sys.stdout, cool=options.cool, color=options.color)
    if options.list_only:
        console.listing()
        return PASSED
    if options.stress is not None:
        code = stress(options.stress, console)
        options.copy_results(options.stress.order.directory)
        console.close()
        return code
    run = Run(options.out or new_run_directory(RUNS))
    interrupted = ""
    with interruptible():
        try:
            run.begin(machine_seen())
            results = _run(options, run, console) if options.tests else []
        except (ServerError, Interrupted) as error:
            interrupted = str(error)
            console.step(interrupted)
            return error.exit_code if isinstance(error, Interrupted) else FAILED
        finally:
            run.end(interrupted=interrupted)
            run.finish()
            console.close()
    if left := accounts_left(run.records):
        console.step(left)
    options.copy_results(run.directory)
    console.summary(options.tests, options.named, results, run.directory)
    code = exit_code(result.verdict for result in results)
    missing = any(each.left_out for each in results if each.number in options.named)
    return FAILED if code == PASSED and missing else code


def _run(options: Options, run: Run, console: Console) -> list[Result]:
    results: list[Result] = []
    console.header(options.choice.title)
    # Delta Chat clients of a server without a relay use somebody else's: no core may start, and 15 and 16 fail.
    choice = replace(options.choice, must=options.choice.must | {"iroh_relay"})
    with open_session(run, choice) as session:
        console.step(f"{session.target.name} is ready at {session.target.host}")
        for number in options.tests:
            console.starts(number)
            with recording(run.add, run=run.name, door=f"main.py --test-{number}"):
                results.append(run_test(number, session))
            console.ended(results[-1])
            if not (results[-1].passed or results[-1].left_out or options.cool):
                break
    return results
