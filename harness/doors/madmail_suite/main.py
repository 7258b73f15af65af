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
from .arguments import Options, parse
from .console import Console, Result
from .suite import run_test
from .tests import AVAILABLE

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
    run = Run(options.out or new_run_directory(RUNS))
    run.begin(machine_seen())
    numbers = [number for number in options.tests if number in AVAILABLE]
    try:
        results = _run(numbers, options, run, console) if numbers else []
    except ServerError as error:
        console.step(str(error))
        return FAILED
    finally:
        run.finish()
        console.close()
    if left := accounts_left(run.records):
        console.step(left)
    console.summary(options.tests, results, run.directory)
    return exit_code(result.verdict for result in results)


def _run(numbers: Sequence[int], options: Options, run: Run, console: Console) -> list[Result]:
    results: list[Result] = []
    console.header(options.choice.title)
    # Tests 15 and 16 are about the relay: a server that offers none fails them.
    choice = replace(options.choice, must=options.choice.must | {"iroh_relay"})
    with open_session(run, choice) as session:
        console.step(f"{session.target.name} is ready at {session.target.host}")
        for number in numbers:
            console.starts(number)
            with recording(run.add, run=run.name, door=f"main.py --test-{number}"):
                results.append(run_test(number, session))
            console.ended(results[-1])
            if not results[-1].passed and not options.cool:
                break
    return results
