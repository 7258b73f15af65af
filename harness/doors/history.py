"""`dc-harness history`: verdicts and numbers of all runs so far, by server."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from .console import complain, say
from .exit_codes import NOTHING_RAN, PASSED, USAGE

__all__ = ["add_command"]

REPORTS = Path("reports")
WIDTH = 80


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser], sentence: str) -> None:
    parser = commands.add_parser(
        "history",
        help=sentence,
        description="Runs below reports/runs are added to reports/history.sqlite, which keeps them when their "
        "directories are gone.",
    )
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="further runs to add")
    parser.add_argument("--server", default="", metavar="NAME", help="only this one, as its runs name it")
    parser.add_argument("--check", default="*", metavar="PATTERN", help="numbers of these checks only")
    parser.add_argument("--html", type=Path, metavar="FILE", help="a page, with plots of the numbers")
    parser.add_argument(
        "--file",
        type=Path,
        default=REPORTS / "history.sqlite",
        metavar="FILE",
        help="default: reports/history.sqlite",
    )
    parser.set_defaults(run=history)


def history(arguments: argparse.Namespace) -> int:
    """0; 2 if a run or the file cannot be read, 5 if there is no run."""
    from ..report.history import History, HistoryError  # noqa: PLC0415 - other commands need not load it
    from ..report.history_page import Past, render_history, render_history_page  # noqa: PLC0415
    from ..report.reading import Unreadable, read_run  # noqa: PLC0415
    from ..report.run import RESULTS  # noqa: PLC0415

    found = sorted(each.parent for each in (REPORTS / "runs").glob(f"*/{RESULTS}"))
    try:
        with History(arguments.file) as kept:
            for place in [*found, *arguments.runs]:
                if not kept.has(place.name):
                    run = read_run(place)
                    kept.add(run.name, run.records)
            of = arguments.server
            past = Past(
                kept.runs(of), kept.transitions(of), kept.shares(of), list(kept.courses(of, arguments.check))
            )
    except (HistoryError, Unreadable) as error:
        complain(str(error))
        return USAGE
    if arguments.html is not None:
        arguments.html.write_text(render_history_page(past), encoding="utf-8")
        say(f"written: {arguments.html}")
    else:
        say(render_history(past, max(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)))
    return PASSED if past.runs else NOTHING_RAN
