"""`dc-harness`: the door for a person.

`check` runs checks, `list` names them, `serve` runs a server to try things with, `logs` shows what it writes.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

from . import logs, serve
from .checks.catalogue import all_checks, run_check
from .checks.outcome import Check, recording
from .report.records import Record, Verdict
from .report.run import Run, new_run_directory
from .report.summary import counts
from .session import open_session
from .targets.reference import ServerError

__all__ = ["main"]

PASSED, FAILED, NOTHING_RAN = 0, 1, 5
RUNS = Path("reports/runs")


def main(argv: Sequence[str] | None = None) -> int:
    """0: passed, 1: failed or in error, 2: usage, 5: nothing ran."""
    arguments = _parser().parse_args(argv)
    if "run" in arguments:
        return int(arguments.run(arguments))
    chosen = [check for check in all_checks() if _wanted(check, arguments.names)]
    if arguments.command == "list":
        for check in chosen:
            _say(f"{check.name:48} {', '.join(check.requirements):32} {check.sentence}")
        return PASSED if chosen else NOTHING_RAN
    return _check(chosen, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="dc-harness", description="Checks of a chatmail server.")
    commands = parser.add_subparsers(dest="command", required=True)
    names = argparse.ArgumentParser(add_help=False)
    names.add_argument(
        "names", nargs="*", metavar="CHECK", help="names or patterns like 'mail.*'; default: all"
    )
    commands.add_parser("list", parents=[names], help="name the checks and what they prove")
    check = commands.add_parser("check", parents=[names], help="run checks")
    check.add_argument("--domain", metavar="HOST", help="server under test (default: an embedded one)")
    check.add_argument(
        "--ca-file", type=Path, metavar="FILE", help="CA that signed the certificates of --domain"
    )
    check.add_argument("--rpc-server", type=Path, metavar="PATH", help="another deltachat-rpc-server")
    check.add_argument(
        "--out", type=Path, metavar="DIR", help="directory for results (default: reports/runs/...)"
    )
    serve.add_command(commands)
    logs.add_command(commands)
    return parser


def _wanted(check: Check, patterns: Sequence[str]) -> bool:
    return not patterns or any(fnmatch(check.name, pattern) for pattern in patterns)


def _check(checks: Sequence[Check], arguments: argparse.Namespace) -> int:
    if not checks:
        _say("no check has such a name; `dc-harness list` shows them")
        return NOTHING_RAN
    progress = logging.getLogger("harness.progress")
    progress.setLevel(logging.INFO)
    progress.addHandler(logging.StreamHandler(sys.stderr))
    run = Run(arguments.out or new_run_directory(RUNS))

    def show(record: Record, files: Sequence[Path]) -> None:
        run.add(record, files)
        _say(f"{record.verdict:11} {record.check:48} {record.duration:6.2f} s  {run.records[-1].reason}")
        for note in record.notes:
            _say(f"{'':11} note: {note}")

    try:
        with (
            open_session(
                run, domain=arguments.domain, ca_file=arguments.ca_file, binary=arguments.rpc_server
            ) as session,
            recording(show, run=run.name, door="dc-harness check"),
        ):
            for check in checks:
                run_check(check, session)
    except ServerError as error:
        _say(str(error))
        return FAILED
    finally:
        run.finish()
    _say(f"{counts(run.records)}. Results in {run.directory}")
    verdicts = {record.verdict for record in run.records}
    if verdicts & {Verdict.FAILED, Verdict.ERROR}:
        return FAILED
    return PASSED if Verdict.PASSED in verdicts else NOTHING_RAN


def _say(text: str) -> None:
    sys.stdout.write(text.rstrip() + "\n")
    sys.stdout.flush()
