"""The command line of madmail's suite, as a drop-in must understand it."""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...hosts import MissingCapability
from ...stage.options import Choice, add_options
from ..console import complain
from ..exit_codes import EXPLANATION, NOTHING_RAN
from ..values import from_one, results_directory
from .stress import Stress, add_stress_flags, read_stress
from .tests import NAMES, select

__all__ = ["COPIES", "Options", "parse"]

COPIES = {"json": "results.jsonl", "junit": "junit.xml", "html": "report.html"}
"""Flags, and the files of a run that they name."""
IN_A_LAB = "a lab of namespaces stands for containers: --server starts a server in one"
LATER = {"lxc": IN_A_LAB, "keep-lxc": IN_A_LAB}


@dataclass(frozen=True)
class Options:
    """Options that the caller gave."""

    tests: tuple[int, ...]
    named: frozenset[int]
    """Tests that were asked for by number."""
    choice: Choice
    out: Path | None
    cool: bool
    color: bool
    list_only: bool
    copies: Mapping[str, Path]
    """Flags, and the further places where the caller wants their files."""
    jobs: int = 1
    """Numbers at the same time."""
    seed: int | None = None
    """Number from which their order follows; None: madmail's."""
    stress: Stress | None = None
    """A load in place of all tests; None: tests."""

    def copy_results(self, directory: Path) -> None:
        """Put the results of a finished run where the caller wants them besides."""
        for flag, place in self.copies.items():
            place.parent.mkdir(parents=True, exist_ok=True)
            if place.resolve() != (directory / COPIES[flag]).resolve():
                shutil.copyfile(directory / COPIES[flag], place)


def parse(argv: Sequence[str] | None) -> Options:
    """Understand the command line and the environment; argparse ends the program with exit code 2 if it cannot."""
    parser = argparse.ArgumentParser(
        prog="main.py",
        description="Tests of a chatmail server with real Delta Chat clients. "
        "Without --domain they run against the embedded reference server.",
        epilog=f"{EXPLANATION} "
        "Environment: REMOTE1 (like --domain), RPC_SERVER_PATH (another core), also from a .env file.",
    )
    for number, name in NAMES.items():
        parser.add_argument(
            f"--test-{number}",
            action="append_const",
            const=number,
            dest="tests",
            help=name.replace("%", "%%"),
        )
    parser.add_argument("--all", action="store_true", help="every test but 20 and 21; the default")
    parser.add_argument(
        "--no-test", type=_numbers, action="extend", default=[], metavar="LIST", help="leave out, e.g. 7,8"
    )
    parser.add_argument("--list", action="store_true", help="show the tests and end")
    add_options(parser.add_argument, domain=os.environ.get("REMOTE1") or None)
    parser.add_argument("--out", type=Path, help="directory for results (default: reports/runs/test_run_...)")
    parser.add_argument("--cool", action="store_true", help="one symbol per test; goes on after a failure")
    parser.add_argument("--color", action="store_true", help="colour the pass and fail lines")
    parser.add_argument(
        "--jobs",
        type=from_one,
        default=1,
        metavar="N",
        help="tests at the same time, each with a server of its own where we start it (default: 1)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help="another order of the tests behind 20, 21 and 22, that follows from N",
    )
    for flag, name in COPIES.items():
        parser.add_argument(f"--{flag}", type=Path, metavar="FILE", help=f"write {name} there as well")
    add_stress_flags(parser)
    for flag in LATER:
        parser.add_argument(f"--{flag}", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    for flag, instead in LATER.items():
        if getattr(given, flag.replace("-", "_")):
            parser.error(f"--{flag} is not available in this version; {instead}")
    rpc_server = os.environ.get("RPC_SERVER_PATH")
    if rpc_server and not os.access(rpc_server, os.X_OK):
        parser.error(f"RPC_SERVER_PATH: {rpc_server} is no program that can be run")
    if rpc_server and not given.rpc_server and not given.core:
        given.rpc_server = Path(rpc_server)
    try:
        choice = Choice.read(vars(given).get)
        asked = read_stress(given) if given.stress else None
        if given.out:  # the last one: a number that runs beside others is given one more
            results_directory(given.out)
    except MissingCapability as missing:
        complain(str(missing))
        raise SystemExit(NOTHING_RAN) from missing
    except (ValueError, argparse.ArgumentTypeError) as error:
        parser.error(str(error))
    return Options(
        tests=tuple(select(given.tests or (), everything=given.all, without=given.no_test, seed=given.seed)),
        named=frozenset(given.tests or ()) - set(given.no_test),
        choice=choice,
        out=given.out,
        cool=given.cool,
        color=given.color and not given.cool,
        list_only=given.list,
        copies={flag: given_path for flag in COPIES if (given_path := getattr(given, flag))},
        jobs=given.jobs,
        seed=given.seed,
        stress=asked,
    )


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",") if word.strip()]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers like 7,8") from None
