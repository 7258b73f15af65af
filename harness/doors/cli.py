"""`dc-harness`: the door for a person.

`check` runs checks, `signoff` says whether a server may go out, `list` names the checks, `mutants` tries them out,
`serve` runs a server to try things with, `logs` shows what it writes, `report` shows a run that has ended, `history`
all of them.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import importlib
import os
import sys
from collections.abc import Mapping, Sequence

from .check import RUNS
from .choice import NothingChosen, add_names, choose, require_known
from .console import complain, say
from .exit_codes import EXPLANATION, NOTHING_RAN
from .values import from_one, results_directory

__all__ = ["main", "parser_of"]

PROCESSORS = os.cpu_count() or 1
CELLS_PER_PROCESSOR = 3
COMMANDS: Mapping[str, tuple[str, str]] = {
    "check": ("check", "run checks"),
    "completion": ("completion", "print the completion of a shell"),
    "list": ("listing", "name the checks and what they prove"),
    "doctor": ("doctor", "name what is wrong with a server, in seconds"),
    "serve": ("serve", "run a test server for a person's devices until Ctrl-C"),
    "logs": ("logs", "show the log of one service of a running server"),
    "report": ("report", "show runs that have ended"),
    "history": ("history", "changes and numbers over all runs"),
    "signoff": ("signoff", "run everything that a release needs, and say whether it may go out"),
    "matrix": ("matrix", "servers and clients of many versions against each other"),
    "load": ("load", "many clients at once, against a server of ours or one that you own"),
}
"""Commands -> the module of this room that has all of it, loaded where it is asked for, and what it does."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the exit codes are those of `exit_codes`."""
    # To look through all that is loaded takes a quarter of a second and frees nothing.
    atexit.register(gc.freeze)
    words = sys.argv[1:] if argv is None else argv
    parser = parser_of(words[0] if words else "")
    arguments = parser.parse_args(words)
    if "run" in arguments:
        return int(arguments.run(arguments))
    mixed = _mixed(arguments)
    if mixed:
        parser.error(mixed)
    try:
        return _deployments(arguments) if arguments.deployments else _mutants(arguments)
    except NothingChosen as error:
        complain(str(error))
        return NOTHING_RAN


def parser_of(command: str | None) -> argparse.ArgumentParser:
    """The options of one command, and of the others no more than what they do; None: the options of all."""
    parser = argparse.ArgumentParser(
        prog="dc-harness", description="Checks of a chatmail server.", epilog=EXPLANATION
    )
    parser.add_argument(
        "--version",
        action=_ShowVersion,
        nargs=0,
        default=argparse.SUPPRESS,
        help="show the version and exit",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    _add_mutants(commands)
    for name, (module, sentence) in COMMANDS.items():
        if command in (name, None):
            importlib.import_module(f".{module}", __package__).add_command(commands, sentence)
        else:
            commands.add_parser(name, help=sentence)
    return parser


class _ShowVersion(argparse.Action):
    """Looks it up only where somebody asks."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from ..versions import OWN, own_version  # noqa: PLC0415

        say(f"{OWN} {own_version()}")
        parser.exit()


def _add_mutants(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    mutants = commands.add_parser(
        "mutants", help="every check against every wrong server", epilog=EXPLANATION
    )
    add_names(mutants)
    mutants.add_argument(
        "--mutant", action="append", metavar="NAME", help="only this one; repeat it for more"
    )
    mutants.add_argument(
        "--declared", action="store_true", help="only the kills that the mutants declare, not the whole table"
    )
    mutants.add_argument(
        "--jobs",
        type=from_one,
        metavar="N",
        help="at the same time (default: three for each processor, since a cell mostly waits; with --deployments one)",
    )
    mutants.add_argument(
        "--out",
        type=results_directory,
        metavar="DIR",
        help="directory for results (default: reports/runs/...)",
    )
    mutants.add_argument(
        "--deployments",
        action="store_true",
        help="deployments that are wrong, in place of servers: the cause that doctor names, and red checks",
    )
    mutants.add_argument(
        "--fault", action="append", metavar="NAME", help="with --deployments, this one; repeat it for more"
    )
    mutants.add_argument(
        "--on",
        action="append",
        metavar="SERVER",
        help="with --deployments, on this one: reference, coturn, chatmail, madmail; repeat it for more",
    )


def _mixed(arguments: argparse.Namespace) -> str:
    """A sentence, where words of the two tables of `mutants` are used together: one of them would change nothing."""
    of_deployments = arguments.fault or arguments.on
    of_servers = arguments.names or arguments.only or arguments.mutant or arguments.declared
    if of_deployments and not arguments.deployments:
        return "--fault and --on choose deployments: they go with --deployments"
    if of_servers and arguments.deployments:
        return "--deployments runs what each fault declares: it takes --fault and --on, no names of checks and mutants"
    return ""


def _deployments(arguments: argparse.Namespace) -> int:
    from .deployments import run  # noqa: PLC0415

    arguments.jobs = arguments.jobs or PROCESSORS
    return run(arguments)


def _mutants(arguments: argparse.Namespace) -> int:
    from ..hosts import MissingCapability  # noqa: PLC0415
    from ..report.run import new_run_directory  # noqa: PLC0415
    from .catalogue import all_checks  # noqa: PLC0415
    from .mutants import declared_mutants, run  # noqa: PLC0415

    checks = choose(all_checks(), arguments.names, arguments.only)
    directory = arguments.out or new_run_directory(RUNS)
    try:
        declared = declared_mutants()
    except MissingCapability as missing:
        complain(str(missing))
        return NOTHING_RAN
    require_known("mutant", arguments.mutant, {row.name for row in declared}, "python -m mutants")
    rows = [row for row in declared if not arguments.mutant or row.name in arguments.mutant]
    names = [check.name for check in checks]
    jobs = arguments.jobs or CELLS_PER_PROCESSOR * PROCESSORS
    return run(rows, names, directory, jobs, declared=arguments.declared)
