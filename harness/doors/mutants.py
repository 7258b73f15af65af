"""`dc-harness mutants`: every check against every server that is wrong on purpose, as a table.

The mutants are programs to the harness, like every server: their names and what they declare come from
`python -m mutants --list-json`. The first row is the right server, on which no check may fail.
"""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from ..hosts import LocalHost
from ..report.records import Verdict
from ..report.run import Run
from ..servers.reference import COMMAND, Reference, require_installed
from ..servers.server import Wants
from ..stage.check import CHECKS
from ..stage.session import open_session
from .catalogue import all_checks

__all__ = ["Cell", "Row", "as_json", "declared_mutants", "judge", "render", "run_table"]

LIST_WITHIN = 60.0
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
    process = LocalHost().popen(
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


def run_table(rows: Sequence[Row], checks: Sequence[str], directory: Path, jobs: int) -> Iterator[Cell]:
    """Run each check on a fresh server of each row, `jobs` at a time, and give the cells as they come."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        running = [pool.submit(_run_cell, row, check, directory) for row in rows for check in checks]
        for cell in as_completed(running):
            yield cell.result()


def _run_cell(row: Row, check: str, directory: Path) -> Cell:
    all_checks()  # a new process: importing them registers them
    started = time.monotonic()
    run = Run(directory / row.name.replace(" ", "_") / check)
    entry = CHECKS[check]
    with open_session(run, kind=Reference(row.command), wants=Wants(services=entry.services)) as session:
        outcome = entry.run(session.stage(check))
    run.finish()
    seconds = time.monotonic() - started
    return Cell(row.name, check, outcome.verdict, outcome.reason, row.killed_by.get(check), round(seconds, 2))


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
