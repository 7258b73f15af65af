"""`dc-harness check`: the checks that somebody chooses, on one server."""

from __future__ import annotations

import argparse
import functools
from pathlib import Path

from .choice import NO_SUCH_CHECK, add_names, choose
from .console import say
from .exit_codes import EXPLANATION, NOTHING_RAN

__all__ = ["RUNS", "add_command", "add_run_options"]

RUNS = Path("reports/runs")


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("check", help="run checks", epilog=EXPLANATION)
    add_names(parser)
    add_run_options(parser)
    parser.set_defaults(run=functools.partial(check, parser))


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Declare the options of whatever runs checks: the server, and the run itself."""
    from ..stage.options import add_options  # noqa: PLC0415 - other commands need not load it

    add_options(parser.add_argument)
    parser.add_argument(
        "--jobs",
        type=_positive,
        metavar="N",
        help="checks at the same time, each with a server of its own where we start it (default: as many as this "
        "machine bears, at most two for each processor; on somebody else's server 2)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="directory for results (default: reports/runs/...)"
    )


def check(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> int:
    """The exit codes are those of `exit_codes`."""
    from .catalogue import all_checks  # noqa: PLC0415 - it loads everything
    from .running import Order, run_checks  # noqa: PLC0415

    chosen = choose(all_checks(), arguments.names, arguments.only)
    if not chosen:
        say(NO_SUCH_CHECK)
        return NOTHING_RAN
    try:
        order = Order.read(arguments)
    except ValueError as error:
        parser.error(str(error))
    return run_checks(chosen, order)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of at least 1")
    return int(text)
