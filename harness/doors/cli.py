"""`dc-harness`: the door for a person.

`check` runs checks, `list` names them, `mutants` tries them out, `serve` runs a server to try things with, `logs`
shows what it writes.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from ..checks.catalogue import all_checks, is_in_room, run_check
from ..network.preflight import preflight
from ..report.call_matrix import render_matrices
from ..report.calls import render_calls
from ..report.records import Record, Verdict
from ..report.run import Run, new_run_directory
from ..report.summary import accounts_left, counts
from ..servers.reference import ServerError
from ..stage.options import Choice, add_options
from ..stage.session import open_session
from ..steps.outcome import Check, recording
from . import logs, serve
from .mutants import as_json, declared_mutants, judge, render, run_table

__all__ = ["main"]

PASSED, FAILED, NOTHING_RAN = 0, 1, 5
RUNS = Path("reports/runs")


def main(argv: Sequence[str] | None = None) -> int:
    """0: passed, 1: failed or in error, 2: usage, 5: nothing ran."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if "run" in arguments:
        return int(arguments.run(arguments))
    chosen = [check for check in all_checks() if _wanted(check, arguments.names, arguments.only)]
    if arguments.command == "list":
        for check in chosen:
            _say(f"{check.name:48} {', '.join(check.requirements):32} {check.impact:14} {check.sentence}")
        return PASSED if chosen else NOTHING_RAN
    if not chosen:
        _say("no check has such a name and room; `dc-harness list` shows them")
        return NOTHING_RAN
    if arguments.command == "mutants":
        return _mutants(chosen, arguments)
    try:
        choice = Choice.read(vars(arguments).get)
    except ValueError as error:
        parser.error(str(error))
    return _check(chosen, choice, arguments.out)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dc-harness", description="Checks of a chatmail server.")
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
    check = commands.add_parser("check", parents=[names], help="run checks")
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
    return parser


def _wanted(check: Check, patterns: Sequence[str], rooms: Sequence[str] | None) -> bool:
    named = not patterns or any(fnmatch(check.name, pattern) for pattern in patterns)
    return named and (not rooms or any(is_in_room(check, room) for room in rooms))


def _check(checks: Sequence[Check], choice: Choice, out: Path | None) -> int:
    progress = logging.getLogger("harness.progress")
    progress.setLevel(logging.INFO)
    progress.addHandler(logging.StreamHandler(sys.stderr))
    run = Run(out or new_run_directory(RUNS), machine=preflight().sentences())

    def show(record: Record, files: Sequence[Path]) -> None:
        run.add(record, files)
        _say(f"{record.verdict:11} {record.check:48} {record.duration:6.2f} s  {run.records[-1].reason}")
        for phase, path in record.paths.items():
            _say(f"{'':11} path: {phase}: {path}")
        for note in record.notes:
            _say(f"{'':11} note: {note}")

    try:
        with (
            open_session(run, choice) as session,
            recording(show, run=run.name, door="dc-harness check"),
        ):
            for check in checks:
                run_check(check, session)
    except ServerError as error:
        _say(str(error))
        return FAILED
    finally:
        run.finish()
    for table in filter(None, (render_calls(run.records), render_matrices(run.records))):
        _say(f"\n{table}")
        _say("")
    if left := accounts_left(run.records):
        _say(f"{left}.")
    _say(f"{counts(run.records)}. Results in {run.directory}")
    verdicts = {record.verdict for record in run.records}
    if verdicts & {Verdict.FAILED, Verdict.UNDECIDED}:
        return FAILED
    return PASSED if Verdict.PASSED in verdicts else NOTHING_RAN


def _mutants(checks: Sequence[Check], arguments: argparse.Namespace) -> int:
    directory = arguments.out or new_run_directory(RUNS)
    rows = [row for row in declared_mutants() if not arguments.mutant or row.name in arguments.mutant]
    if not rows:
        _say("no mutant has such a name; `python -m mutants` shows them")
        return NOTHING_RAN
    names = [check.name for check in checks]
    cells = []
    for cell in run_table(rows, names, directory, arguments.jobs):
        cells.append(cell)
        sys.stderr.write(f"{cell.seconds:7.2f} s  {cell.mutant}  {cell.check}  {cell.verdict}\n")
    (directory / "mutants.json").write_text(as_json(cells), encoding="utf-8")
    _say(render(rows, names, cells))
    faults = judge(cells)
    for fault in faults:
        _say(fault)
    _say(f"Results in {directory}")
    return FAILED if faults else PASSED


def _say(text: str) -> None:
    sys.stdout.write(text.rstrip() + "\n")
    sys.stdout.flush()
