"""History of runs: verdicts and numbers of each server, in one SQLite file that runs are added to.

A run that was added stays in the history when its directory is gone. Shares are counted for one version of everything
that took part: failures of one version say nothing about the next.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from ..closing import Closing
from .figures import Figure, figures
from .intervals import wilson
from .observations import MachineSeen
from .plan import checks, ended
from .records import Record, Verdict
from .summary import summary

__all__ = ["Course", "History", "HistoryError", "PastRun", "Share", "Transition"]

HARNESS = "dc-harness"
VERSION = 1
"""Of the tables; a file of another one is refused."""
TABLES = """
create table runs (run text primary key, server text not null, began real not null, versions text not null,
  decision text not null, load real, cores integer);
create table verdicts (run text not null references runs, check_name text not null, verdict text not null,
  reason text not null);
create table numbers (run text not null references runs, check_name text not null, name text not null,
  unit text not null, value real not null);
create index verdicts_of_run on verdicts (run);
create index numbers_of_run on numbers (run);
"""
DECIDED = (Verdict.PASSED.value, Verdict.FAILED.value)


class HistoryError(Exception):
    """The file is no history, or of another version. The message is a sentence."""


@dataclass(frozen=True)
class PastRun:
    """A run, as the history has it."""

    run: str
    server: str
    began: float
    """Unix seconds."""
    versions: str
    decision: str
    load: float | None
    cores: int | None


@dataclass(frozen=True)
class Transition:
    """A check whose verdict is another one than in the run before."""

    run: PastRun
    check: str
    before: str
    now: str
    reason: str


@dataclass(frozen=True)
class Share:
    """Runs of one version in which a check failed."""

    server: str
    versions: str
    check: str
    failed: int
    of: int
    """Runs in which it passed or failed."""

    @property
    def text(self) -> str:
        """For example `2 of 100 runs failed (0.6-7.0 %)`, with 95 % confidence."""
        low, high = wilson(self.failed, self.of)
        return f"{self.failed} of {self.of} runs failed ({100 * low:.1f}-{100 * high:.1f} %)"


@dataclass(frozen=True)
class Course:
    """One number over the runs of a server, the oldest first."""

    server: str
    check: str
    name: str
    unit: str
    values: tuple[tuple[PastRun, float], ...]


class History(Closing):
    """An open history; `with History(file) as history:` closes it."""

    def __init__(self, file: Path) -> None:
        """Makes the file where there is none. Raises `HistoryError`."""
        with ExitStack() as undo:
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                self._connection = sqlite3.connect(file)
                undo.callback(self._connection.close)
                version = self._connection.execute("pragma user_version").fetchone()[0]
                if version == 0:
                    with self._connection:
                        self._connection.executescript(
                            f"begin; {TABLES} pragma user_version = {VERSION}; commit"
                        )
            except (OSError, sqlite3.Error) as error:
                raise HistoryError(f"{file} is no history of dc-harness: {error}") from error
            if version not in (0, VERSION):
                raise HistoryError(f"{file} was written by another version of dc-harness (tables {version})")
            undo.pop_all()

    def close(self) -> None:
        self._connection.close()

    def has(self, run: str) -> bool:
        return bool(self._execute("select 1 from runs where run = ?", run))

    def add(self, run: str, records: Sequence[Record]) -> bool:
        """Add a run with its results; False if it is there already, has none, or goes on."""
        ran = [each for each in checks(records) if each.verdict is not Verdict.NOT_RUN]
        end = ended(records)
        goes_on = end is None and any(each.verdict is Verdict.NOT_RUN for each in records)
        if not ran or goes_on or self.has(run):
            return False
        head = (
            run,
            ", ".join(dict.fromkeys(each.target for each in records if each.target)),
            min(each.time for each in ran),
            _versions(records),
            summary(records).decision.value,
            end.load if end else None,
            end.cores if end else None,
        )
        numbers = [(run, each.check, *_plain(figure)) for each in ran for figure in figures(each)]
        verdicts = [(run, each.check, each.verdict.value, each.reason) for each in ran]
        with self._connection:
            self._connection.execute("insert into runs values (?, ?, ?, ?, ?, ?, ?)", head)
            self._connection.executemany("insert into verdicts values (?, ?, ?, ?)", verdicts)
            self._connection.executemany("insert into numbers values (?, ?, ?, ?, ?)", numbers)
        return True

    def runs(self, server: str = "") -> list[PastRun]:
        """The oldest first; of one server, or of all."""
        rows = self._execute(
            "select run, server, began, versions, decision, load, cores from runs "
            "where ? in ('', server) order by server, began, run",
            server,
        )
        return [PastRun(*row) for row in rows]

    def transitions(self, server: str = "") -> list[Transition]:
        """All of them, the oldest first. A check that was left out has kept its last verdict."""
        found = []
        last: dict[tuple[str, str], str] = {}
        for run in self.runs(server):
            for name, verdict, reason in self._worst(run):
                before = last.get((run.server, name), verdict)
                if before != verdict:
                    found.append(Transition(run, name, before, verdict, reason))
                last[run.server, name] = verdict
        return found

    def shares(self, server: str = "") -> list[Share]:
        """Of every check that failed at least once in a version, the worst first."""
        rows = self._execute(
            "select server, versions, check_name, sum(failed), count(*) from ("
            "  select runs.run, server, versions, check_name, max(verdict = 'failed') as failed"
            "  from runs join verdicts using (run) where verdict in (?, ?) and ? in ('', server)"
            "  group by runs.run, check_name)"
            " group by server, versions, check_name having sum(failed) > 0",
            *DECIDED,
            server,
        )
        return sorted((Share(*row) for row in rows), key=lambda each: each.failed / each.of, reverse=True)

    def courses(self, server: str = "", check: str = "*") -> Iterator[Course]:
        """Every number that at least two runs of a server have. `check`: a pattern, as in `calls.*`."""
        runs = {each.run: each for each in self.runs(server)}
        rows = self._execute(
            "select server, check_name, name, unit, run, value from runs join numbers using (run) "
            "where ? in ('', server) and check_name glob ? order by server, check_name, name, unit, began, run",
            server,
            check,
        )
        for of, points in groupby(rows, key=lambda row: row[:4]):
            values = tuple((runs[run], value) for *_, run, value in points)
            if len({run for run, _ in values}) > 1:
                yield Course(of[0], of[1], of[2], of[3], values)

    def _worst(self, run: PastRun) -> list[tuple[str, str, str]]:
        """Verdict of each check of a run that came to one, with its reason; failed where one of several results is."""
        rows = self._execute(
            "select check_name, verdict, reason from verdicts where run = ? and verdict in (?, ?) "
            "order by check_name, verdict = 'failed'",
            run.run,
            *DECIDED,
        )
        return list({name: (name, verdict, reason) for name, verdict, reason in rows}.values())

    def _execute(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        return self._connection.execute(query, values).fetchall()


def _plain(figure: Figure) -> tuple[str, str, float]:
    return figure.name, figure.unit, figure.value


def _versions(records: Sequence[Record]) -> str:
    """Programs under test and the harness, in one line."""
    servers = {version for each in records for version in each.server.values()}
    machines = (machine for each in records for machine in each.seen(MachineSeen))
    harness = {f"{HARNESS} {each.versions[HARNESS]}" for each in machines if HARNESS in each.versions}
    return ", ".join([*sorted(servers), *sorted(harness)])
