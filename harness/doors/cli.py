"""`dc-harness`: the door for a person.

`check` runs checks, `list` names them, `mutants` tries them out, `serve` runs a server to try things with, `logs`
shows what it writes, `report` shows a run that has ended.
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from . import logs, report, serve
from .console import say
from .exit_codes import EXPLANATION, FAILED, NOTHING_RAN, PASSED

if TYPE_CHECKING:
    from ..stage.check import Check

__all__ = ["main"]

RUNS = Path("reports/runs")
WIDTH = 80
"""Columns of a list in a pipe, and at least on a terminal."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit codes are those of `exit_codes`."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if "run" in arguments:
        return int(arguments.run(arguments))
    from .catalogue import choose  # noqa: PLC0415 - commands without checks need not load them

    chosen = choose(arguments.names, arguments.only)
    if not chosen:
        say("no check has such a name and room; `dc-harness list` shows them")
        return NOTHING_RAN
    if arguments.command == "list":
        say(render_list(chosen, max(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)))
        return PASSED
    if arguments.command == "mutants":
        return _mutants(chosen, arguments)
    from ..stage.options import Choice  # noqa: PLC0415

    try:
        choice = Choice.read(vars(arguments).get)
    except ValueError as error:
        parser.error(str(error))
    from ..report.run import new_run_directory  # noqa: PLC0415
    from .check import check  # noqa: PLC0415

    return check(chosen, choice, arguments.out or new_run_directory(RUNS))


def render_list(checks: Sequence[Check], width: int) -> str:
    """Below the name of each room its checks: name, promises and impact, then the sentence; no line is wider."""
    lines = []
    for room, found in itertools.groupby(checks, key=lambda check: check.room):
        lines.append(room)
        for check in found:
            name = check.name.partition(".")[2]
            proves = ", ".join(check.requirements)
            head = f"  {name}  {proves}" if proves else f"  {name}"
            lines += textwrap.wrap(head, width, subsequent_indent="      ", break_long_words=False)
            text = f"{check.sentence} ({check.impact})"
            lines += textwrap.wrap(text, width, initial_indent="    ", subsequent_indent="    ")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    from ..stage.options import add_options  # noqa: PLC0415

    parser = argparse.ArgumentParser(
        prog="dc-harness", description="Checks of a chatmail server.", epilog=EXPLANATION
    )
    commands = parser.add_subparsers(dest="command", required=True)
    names = argparse.ArgumentParser(add_help=False)
    names.add_argument(
        "names", nargs="*", metavar="CHECK", help="names or patterns like 'mail.*'; default: all"
    )
    names.add_argument(
        "--only",
        action="append",
        metavar="ROOM",
        help="checks of this room, such as calls; repeat it for more",
    )
    commands.add_parser("list", parents=[names], help="name the checks and what they prove")
    check = commands.add_parser("check", parents=[names], help="run checks", epilog=EXPLANATION)
    add_options(check.add_argument)
    mutants = commands.add_parser("mutants", parents=[names], help="every check against every wrong server")
    mutants.add_argument(
        "--mutant", action="append", metavar="NAME", help="only this one; repeat it for more"
    )
    mutants.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="at the same time"
    )
    for command in (check, mutants):
        command.add_argument(
            "--out", type=Path, metavar="DIR", help="directory for results (default: reports/runs/...)"
        )
    serve.add_command(commands)
    logs.add_command(commands)
    report.add_command(commands)
    return parser


def _mutants(checks: Sequence[Check], arguments: argparse.Namespace) -> int:
    from ..report.run import new_run_directory  # noqa: PLC0415
    from .mutants import as_json, declared_mutants, judge, render, run_table  # noqa: PLC0415

    directory = arguments.out or new_run_directory(RUNS)
    rows = [row for row in declared_mutants() if not arguments.mutant or row.name in arguments.mutant]
    if not rows:
        say("no mutant has such a name; `python -m mutants` shows them")
        return NOTHING_RAN
    names = [check.name for check in checks]
    cells = []
    for cell in run_table(rows, names, directory, arguments.jobs):
        cells.append(cell)
        sys.stderr.write(f"{cell.seconds:7.2f} s  {cell.mutant}  {cell.check}  {cell.verdict}\n")
    (directory / "mutants.json").write_text(as_json(cells), encoding="utf-8")
    say(render(rows, names, cells))
    faults = judge(cells)
    for fault in faults:
        say(fault)
    say(f"Results in {directory}")
    return FAILED if faults else PASSED
