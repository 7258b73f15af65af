"""`dc-harness check`: the checks that somebody chooses, on one server."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from .choice import NothingChosen, add_names, choose
from .console import complain, say
from .exit_codes import EXPLANATION, NOTHING_RAN
from .values import from_one, results_directory

if TYPE_CHECKING:
    from ..report.records import Verdict

__all__ = ["RUNS", "add_command", "add_run_options"]

RUNS = Path("reports/runs")


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser], sentence: str) -> None:
    parser = commands.add_parser("check", help=sentence, epilog=EXPLANATION)
    add_names(parser)
    parser.add_argument(
        "--failed", type=Path, metavar="RUN", help="only checks that failed in this run, or were not reached"
    )
    parser.add_argument(
        "--undecided",
        type=Path,
        metavar="RUN",
        help="only checks that this run has no verdict on: undecided, or not run when it was interrupted",
    )
    add_run_options(parser)
    parser.set_defaults(run=functools.partial(check, parser))


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of whatever runs checks: the server, and the run itself."""
    from ..stage.options import add_options  # noqa: PLC0415 - other commands need not load it

    add_options(parser.add_argument)
    parser.add_argument(
        "--jobs",
        type=from_one,
        metavar="N",
        help="checks at the same time, each with a server of its own where we start it (default: as many as this "
        "machine bears, at most two for each processor; on somebody else's server 2)",
    )
    parser.add_argument(
        "--out",
        type=results_directory,
        metavar="DIR",
        help="directory for results (default: reports/runs/...)",
    )


def check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """The exit codes are those of `exit_codes`."""
    from ..report.reading import Unreadable  # noqa: PLC0415
    from .catalogue import all_checks  # noqa: PLC0415 - it loads everything
    from .running import Order, run_checks  # noqa: PLC0415

    try:
        chosen = choose(all_checks(), arguments.names, arguments.only)
    except NothingChosen as error:
        complain(str(error))
        return NOTHING_RAN
    try:
        again = _to_repeat(arguments.failed, arguments.undecided)
        order = Order.read(arguments)
    except (ValueError, Unreadable) as error:
        parser.error(str(error))
    if again is not None:
        chosen = [each for each in chosen if each.name in again]
    if not chosen:
        say("nothing to repeat: the run has no such check, or none that is chosen")
        return NOTHING_RAN
    return run_checks(chosen, order)


def _to_repeat(failed: Path | None, undecided: Path | None) -> set[str] | None:
    """Names of the checks that earlier runs give reason to repeat; None: nobody asks for that. Raises `Unreadable`."""
    from ..report.records import Verdict  # noqa: PLC0415

    if failed is undecided is None:
        return None
    return {
        *(_with(failed, Verdict.FAILED, Verdict.NOT_REACHED) if failed else ()),
        *(_with(undecided, Verdict.UNDECIDED, Verdict.NOT_RUN) if undecided else ()),
    }


def _with(run: Path, *verdicts: Verdict) -> Iterator[str]:
    from ..report.plan import checks  # noqa: PLC0415
    from ..report.reading import read_run  # noqa: PLC0415

    return (each.check for each in checks(read_run(run).records) if each.verdict in verdicts)
