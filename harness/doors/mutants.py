"""`dc-harness mutants`: every check against every server that is wrong on purpose, as a table.

The mutants are programs to the harness, like every server: their names and what they declare come from
`python -m mutants --list-json`. The first row is the right server, on which no check may fail.
"""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from signal import SIGTERM

from ..hosts import LocalHost
from ..network.preflight import enter_user_namespace
from ..preloaded import Modules, adopt
from ..report.records import Verdict
from ..report.run import Run
from ..servers.reference import COMMAND, Reference, require_installed
from ..servers.server import Wants
from ..stage.check import CHECKS
from ..stage.options import Choice
from ..stage.session import open_session
from ..text import clean
from . import catalogue  # noqa: F401 - it registers the checks
from .console import complain, say
from .exit_codes import FAILED, NOTHING_RAN, PASSED
from .forking import end_with_parent, fork_context
from .interrupts import Interrupted, interruptible, undisturbed, uninterrupted
from .workers import shared_forks

__all__ = ["Cell", "Row", "as_json", "declared_mutants", "judge", "render", "run", "run_table"]

RESULTS = "mutants.json"
LIST_WITHIN = 60.0
END_WITHIN = 20.0
"""Seconds in which a cell closes its server and its clients; then it is killed."""
LONGEST_REASON = 300
SYMBOLS = {
    Verdict.PASSED: ".",
    Verdict.FAILED: "F",
    Verdict.SKIPPED: "s",
    Verdict.UNSUPPORTED: "u",
    Verdict.NOT_REACHED: "n",
    Verdict.UNDECIDED: "?",
    Verdict.NOT_RUN: "-",
}
RIGHT_SERVER = "the right server"


@dataclass(frozen=True)
class Row:
    """One server: how it is started, and the words that a check's reason must have if it is declared a killer."""

    name: str
    command: tuple[str, ...]
    killed_by: Mapping[str, str]


@dataclass(frozen=True)
class Cell:
    """Result of one check on one server. `declared` are the words that it had to find, if it had to."""

    mutant: str
    check: str
    verdict: Verdict
    reason: str
    declared: str | None
    seconds: float

    @property
    def fault(self) -> str:
        """A declared kill that is none, or a failure of the right server; empty when the cell is as it should be."""
        if self.declared is not None and not (
            self.verdict is Verdict.FAILED and self.declared in self.reason
        ):
            return f"{self.check} does not kill {self.mutant} with {self.declared!r}: {self.verdict} {self.reason}"
        if self.mutant == RIGHT_SERVER and self.verdict in (Verdict.FAILED, Verdict.UNDECIDED):
            return f"{self.check} on {self.mutant}: {self.verdict} {self.reason}"
        return ""


def declared_mutants() -> list[Row]:
    """The right server and every mutant.

    Raises RuntimeError when `mutants` does not say which there are, and `MissingCapability` where it is not installed.
    """
    require_installed([sys.executable, "-m", "mutants"])
    process = LocalHost().start_program(
        [sys.executable, "-m", "mutants", "--list-json"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    output, _ = process.communicate(timeout=LIST_WITHIN)
    if process.returncode != 0:
        raise RuntimeError("python -m mutants --list-json failed")
    rows = [Row(RIGHT_SERVER, tuple(COMMAND), {})]
    for each in json.loads(output):
        kills = {kill["check"]: kill["phrase"] for kill in each["killed_by"]}
        rows.append(Row(each["name"], (sys.executable, "-m", "mutants", each["name"]), kills))
    return rows


def run(
    rows: Sequence[Row], checks: Sequence[str], directory: Path, jobs: int, *, declared: bool = False
) -> int:
    """Run the table and print it. The exit code; whatever ends it, what was found is printed and kept.

    `declared`: only those cells in which a mutant must die.
    """
    work = [(row, check) for row in rows for check in checks if not declared or check in row.killed_by]
    if not work:
        complain(
            "no mutant that was chosen declares a kill by a check that was chosen; `python -m mutants` shows them"
        )
        return NOTHING_RAN
    cells: list[Cell] = []
    ending: Interrupted | None = None
    enter_user_namespace()  # for all cells: one that does it by itself would not hear of our end
    with uninterrupted():
        try:
            with interruptible(), closing(run_table(work, directory, jobs)) as table:
                for cell in table:
                    cells.append(cell)
                    sys.stderr.write(f"{cell.seconds:7.2f} s  {cell.mutant}  {cell.check}  {cell.verdict}\n")
                    _keep(cells, directory)
        except Interrupted as signal:
            ending = signal
        _keep(cells, directory)
    say(render(rows, checks, cells))
    faults = judge(cells)
    for fault in faults:
        say(fault)
    say(f"Results in {directory}")
    if ending is not None:
        say(f"Interrupted after {len(cells)} of {len(work)} cells: no verdict ({ending})")
        return ending.exit_code
    return FAILED if faults else PASSED


def _keep(cells: Sequence[Cell], directory: Path) -> None:
    """The file is whole at any moment."""
    directory.mkdir(parents=True, exist_ok=True)
    new = directory / f".{RESULTS}"
    new.write_text(as_json(cells), encoding="utf-8")
    new.rename(directory / RESULTS)


def run_table(work: Sequence[tuple[Row, str]], directory: Path, jobs: int) -> Generator[Cell, None, None]:
    """Run each check on a fresh server of its row, `jobs` at a time, and give the cells as they come.

    Whoever closes the generator ends what runs.
    """
    waiting = iter(work)
    running: dict[Connection, _Running] = {}
    forks = shared_forks()
    try:
        while True:
            while len(running) < jobs and (cell := next(waiting, None)) is not None:
                with undisturbed():
                    started = _Running(*cell, directory, forks)
                    running[started.pipe] = started
            if not running:
                return
            for pipe in wait(list(running)):
                yield running.pop(pipe).cell()  # type: ignore[call-overload]
    finally:
        for each in running.values():
            each.process.terminate()
        for each in running.values():
            each.close()


class _Running:
    """One cell, in a process of its own."""

    def __init__(self, row: Row, check: str, directory: Path, forks: Mapping[Modules, Path]) -> None:
        self.row = row
        self.check = check
        self._began = time.monotonic()
        context = fork_context()
        context.set_forkserver_preload([__name__])
        self.pipe, theirs = context.Pipe(duplex=False)
        self.process = context.Process(target=_run_cell, args=(theirs, row, check, directory, forks))
        self.process.start()
        theirs.close()

    def cell(self) -> Cell:
        """What came of it. Waits for the end of its process."""
        try:
            verdict, reason = self.pipe.recv()
        except (EOFError, OSError, pickle.UnpicklingError):
            verdict, reason = Verdict.UNDECIDED, "a process of ours that ran the check has ended unexpectedly"
        self.close()
        seconds = round(time.monotonic() - self._began, 2)
        return Cell(self.row.name, self.check, verdict, reason, self.row.killed_by.get(self.check), seconds)

    def close(self) -> None:
        self.process.join(END_WITHIN)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()


def _run_cell(pipe: Connection, row: Row, check: str, directory: Path, forks: Mapping[Modules, Path]) -> None:
    """Everything that the process of a cell does. Ctrl-C is for the process that started it, which says SIGTERM."""
    with interruptible(SIGTERM), suppress(Interrupted):
        end_with_parent()
        adopt(forks)
        run = Run(directory / row.name.replace(" ", "_") / check)
        entry = CHECKS[check]
        try:
            wants, choice = Wants(services=entry.services), Choice()
            if check in row.killed_by:  # elsewhere a browser would cost more than it tells
                choice = Choice(peers=choice.peers.with_windows(entry.windows))
            with open_session(run, choice, kind=Reference(row.command), wants=wants) as session:
                outcome = entry.run(session.stage(check))
            run.finish()
            pipe.send((outcome.verdict, outcome.reason))
        except Exception as error:  # one bad cell is no reason to have no table
            pipe.send((Verdict.UNDECIDED, clean(f"{type(error).__name__}: {error}", LONGEST_REASON)))


def judge(cells: Sequence[Cell]) -> list[str]:
    """Faults of a table: declared kills that are none, and failures of the right server."""
    return sorted(cell.fault for cell in cells if cell.fault)


def render(rows: Sequence[Row], checks: Sequence[str], cells: Sequence[Cell]) -> str:
    """The table as text: one line for each server, one column for each check."""
    found = {(cell.mutant, cell.check): cell for cell in cells}
    width = max(len(row.name) for row in rows)
    lines = [f"{number:3} {check}" for number, check in enumerate(checks, start=1)]
    lines.append(" ".join([" " * width, *(f"{number:2}" for number in range(1, len(checks) + 1))]))
    lines += [
        " ".join([f"{row.name:{width}}", *(_symbol(found.get((row.name, check))) for check in checks)])
        for row in rows
    ]
    lines.append(
        ". passed, F failed, K failed as declared, ! declared and not so, ? undecided, s skipped, u unsupported"
    )
    return "\n".join(lines)


def _symbol(cell: Cell | None) -> str:
    if cell is None:
        return "  "
    if cell.declared is not None:
        return " !" if cell.fault else " K"
    return f" {SYMBOLS[cell.verdict]}"


def as_json(cells: Sequence[Cell]) -> str:
    """The cells as a JSON list, sorted by server and check."""
    ordered = sorted(cells, key=lambda cell: (cell.mutant, cell.check))
    return json.dumps([asdict(cell) for cell in ordered], ensure_ascii=False, indent=1)
