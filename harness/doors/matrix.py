"""`dc-harness matrix`: servers and clients of many versions against each other, as a page."""

from __future__ import annotations

import argparse
import os
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .console import complain, say
from .exit_codes import EXPLANATION, FAILED, NOTHING_RAN, PASSED, UNDECIDED, USAGE
from .interrupts import Interrupted, interruptible, uninterrupted
from .values import from_one, results_directory

if TYPE_CHECKING:
    from ..matrix.plan import Axes
    from ..matrix.registry import Interop
    from ..matrix.run import Settings
    from ..report.cells import CellOf, Shard
    from ..report.records import Record

__all__ = ["add_command"]

RUNS = Path("reports/runs")
FILE = Path("interop.toml")
EXIT_CODES = {"OK": PASSED, "NOT_OK": FAILED, "NO_VERDICT": UNDECIDED}
SHARD = re.compile(r"([1-9]\d{0,3})/([1-9]\d{0,3})")


def add_command(commands: argparse._SubParsersAction[argparse.ArgumentParser], sentence: str) -> None:
    parser = commands.add_parser("matrix", help=sentence, epilog=EXPLANATION)
    parser.add_argument(
        "file", nargs="?", type=Path, default=FILE, metavar="FILE", help=f"the registry (default: {FILE})"
    )
    for axis, what in (
        ("servers", "names in the registry"),
        ("clients", "versions of core, or newest"),
        ("peers", "programs that take part in calls"),
        ("scenarios", "names in the registry"),
    ):
        parser.add_argument(f"--{axis}", metavar="A,B", help=f"only these: {what}")
    parser.add_argument(
        "--networks", action="append", metavar="FIRST:SECOND", help="only this pair; repeat it for more"
    )
    parser.add_argument(
        "--pairs",
        choices=("all", "pairwise"),
        default="pairwise",
        help="every combination, or each two values of two axes in one cell at least (default)",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="choose other combinations")
    parser.add_argument("--shard", metavar="I/N", help="one of N parts, for a machine of its own")
    parser.add_argument(
        "--repeat", type=from_one, default=1, metavar="N", help="tries of each cell; all count"
    )
    parser.add_argument(
        "--jobs", type=from_one, metavar="N", help="most cells at a time (default: as many as fit)"
    )
    parser.add_argument("--compare", type=Path, metavar="RUN", help="mark what is different from this matrix")
    parser.add_argument(
        "--out",
        type=results_directory,
        metavar="DIR",
        help="directory for results (default: reports/runs/...)",
    )
    parser.set_defaults(run=matrix)


def matrix(arguments: argparse.Namespace) -> int:
    """Run it. Exit code 2 for a registry or an option that is wrong, before anything is started."""
    from ..hosts import MissingCapability  # noqa: PLC0415 - other commands need not load it
    from ..matrix.registry import read_interop  # noqa: PLC0415
    from ..report.reading import Unreadable, read_run  # noqa: PLC0415
    from .catalogue import all_checks  # noqa: PLC0415

    try:
        interop = read_interop(arguments.file, all_checks())
        before = read_run(arguments.compare).records if arguments.compare else ()
        return _run(interop, _settings(interop, arguments), before, arguments.out)
    except (ValueError, Unreadable) as error:
        complain(str(error))
        return USAGE
    except MissingCapability as missing:
        complain(str(missing))
        return NOTHING_RAN


def _settings(interop: Interop, arguments: argparse.Namespace) -> Settings:
    from ..matrix.run import Settings  # noqa: PLC0415

    processors = len(os.sched_getaffinity(0))
    return Settings(
        axes=_axes(interop, arguments),
        pairs=arguments.pairs,
        seed=interop.seed if arguments.seed is None else arguments.seed,
        shard=_shard(arguments.shard),
        repeat=arguments.repeat,
        at_once=arguments.jobs or 2 * processors,
        processors=processors,
    )


def _axes(interop: Interop, arguments: argparse.Namespace) -> Axes:
    """Those of the registry, as far as they were chosen; servers that are wrong on purpose are always among them."""
    from ..hosts import LocalHost  # noqa: PLC0415
    from ..matrix.plan import Axes  # noqa: PLC0415
    from ..matrix.registry import PEERS, known, version  # noqa: PLC0415
    from ..matrix.run import resolved  # noqa: PLC0415
    from ..network.pairs import pair_of  # noqa: PLC0415

    servers = known("--servers", _words(arguments.servers, interop.servers), interop.servers)
    mutants = (each.name for each in interop.servers.values() if each.mutant)
    clients = _words(arguments.clients, interop.clients)
    for each in clients:
        version(each)
    networks = tuple(arguments.networks or interop.networks)
    for each in networks:
        pair_of(each)
    versions = resolved((*clients, interop.reference_client), LocalHost())
    return Axes(
        servers=tuple(dict.fromkeys([*servers, *mutants])),
        clients=tuple(dict.fromkeys(versions[each] for each in clients)),
        peers=known("--peers", _words(arguments.peers, interop.peers), PEERS),
        networks=networks,
        scenarios=known("--scenarios", _words(arguments.scenarios, interop.scenarios), interop.scenarios),
        reference_client=versions[interop.reference_client],
    )


def _words(given: str | None, default: Iterable[str]) -> list[str]:
    return list(default) if given is None else [word.strip() for word in given.split(",") if word.strip()]


def _shard(text: str | None) -> Shard:
    from ..report.cells import Shard  # noqa: PLC0415

    if text is None:
        return Shard()
    found = SHARD.fullmatch(text)
    if found is None or int(found[1]) > int(found[2]):
        raise ValueError(f"--shard {text!r} is no part like 1/3")
    return Shard(int(found[1]), int(found[2]))


def _run(interop: Interop, settings: Settings, before: Sequence[Record], out: Path | None) -> int:
    from ..hosts import LocalHost  # noqa: PLC0415
    from ..matrix.run import Matrix  # noqa: PLC0415
    from ..report.interop import interop as results  # noqa: PLC0415
    from ..report.matrix_page import PAGE, render_matrix  # noqa: PLC0415
    from ..report.matrix_terminal import render_cell, render_matrix_end  # noqa: PLC0415
    from ..report.run import Run, new_run_directory  # noqa: PLC0415
    from ..report.seal import write_manifest  # noqa: PLC0415

    planned = Matrix.planned(interop, settings, LocalHost())
    run = Run(out or new_run_directory(RUNS))
    began = time.monotonic()

    def show(cell: CellOf, record: Record, ended: int, of: int) -> None:
        say(render_cell(cell, record, ended, of, time.monotonic() - began))

    code, interrupted = None, ""
    with uninterrupted():
        try:
            with interruptible():
                planned.go(run, show)
        except Interrupted as signal:
            code, interrupted = signal.exit_code, str(signal)
        run.end(interrupted=interrupted, jobs=settings.at_once)
        run.finish()
        if before:
            page = render_matrix(run.name, run.records, before)
            (run.directory / PAGE).write_text(page, encoding="utf-8")
            write_manifest(run.directory)
    found = results(run.records, only=planned.mine)
    assert found is not None
    say(
        f"\n{render_matrix_end(found, interrupted)}\nResults in {run.directory}, the page is {run.directory / PAGE}"
    )
    return EXIT_CODES[found.decision.name] if code is None else code
