"""One run's directory: the records, the logs, and the reports that are made of them."""

from __future__ import annotations

import datetime
import secrets
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..text import clean
from .ending import RunEnded
from .html import render_html
from .junit import render_junit
from .markdown import render_markdown, render_summary
from .matrix_markdown import render_matrix_markdown
from .matrix_page import PAGE, render_matrix
from .observations import Observation
from .records import HEAD, Record, Verdict, evidence
from .redaction import Redactor
from .seal import write_manifest

__all__ = ["RESULTS", "Run", "new_run_directory"]

RESULTS = "results.jsonl"
NOT_RUN = "the run did not come to it"
RENDERERS: Mapping[str, Callable[[str, Sequence[Record]], str]] = {
    "report.html": render_html,
    "report.md": render_markdown,
    "summary.md": render_summary,
    "junit.xml": render_junit,
    PAGE: render_matrix,
    "matrix.md": render_matrix_markdown,
}
"""Files that are made of the records, as they come with every run; the last two with that of a matrix alone."""
LONGEST_TEXT = 4000
"""Characters of one text in a record: a server that never stops talking fills no report."""


def new_run_directory(parent: Path) -> Path:
    """The name of a new run's directory; the random end keeps runs of the same second apart."""
    stamp = datetime.datetime.now().astimezone().strftime("%Y%m%d_%H%M%S")
    return parent / f"test_run_{stamp}-{secrets.token_hex(2)}"


class Run:
    """A directory `test_run_YYYYmmdd_HHMMSS-xxxx` and the only writer of its `results.jsonl`."""

    def __init__(self, directory: Path, redactor: Redactor | None = None) -> None:
        self.directory = directory
        self.name = directory.name
        self.redactor = redactor or Redactor()
        self.records: list[Record] = []
        self._began = time.monotonic()
        directory.mkdir(parents=True, exist_ok=True)
        self.logs = directory / "logs"
        self.logs.mkdir(exist_ok=True)

    def plan(self, checks: Iterable[tuple[str, Sequence[str]]], *, target: str) -> None:
        """Write down what is to come, before anything is started: each check by name with its promises, `not run`."""
        for name, promises in checks:
            planned = Record(self.name, name, Verdict.NOT_RUN, time.time(), 0.0, target, tuple(promises))
            self.add(replace(planned, reason=NOT_RUN))

    def begin(self, *seen: Observation, target: str = "", notes: Sequence[str] = ()) -> None:
        """Write the head: what was looked up of the machine and of the server before any check."""
        self.append(self.head(*seen, target=target, notes=notes))

    def head(self, *seen: Observation, target: str = "", notes: Sequence[str] = ()) -> Record:
        """The same, for whoever writes it."""
        head = Record(self.name, HEAD, Verdict.PASSED, time.time(), 0.0, target)
        return self.complete(replace(head, observations=seen, notes=tuple(notes)), ())

    def add(self, record: Record, files: Sequence[Path] = ()) -> None:
        """Append a record with the files that back it; whatever is written has passed the redactor."""
        self.append(self.complete(record, files))

    def complete(self, record: Record, files: Sequence[Path]) -> Record:
        """The record as it is kept: redacted, every text clean, its evidence redacted and named with digests."""
        for file in files:
            self.redactor.file(file)
        named = replace(record, evidence=tuple(evidence(file, self.directory) for file in files))
        return named.with_texts(lambda text: clean(self.redactor.text(text), LONGEST_TEXT))

    def append(self, record: Record) -> None:
        """Append a record that is complete, from this process or from a worker of it."""
        self.records.append(record)
        with (self.directory / RESULTS).open("a", encoding="utf-8") as output:
            output.write(record.to_json() + "\n")

    def end(self, *, interrupted: str = "", jobs: int = 1) -> None:
        """Write how the run ended; `interrupted` is the cause for which checks were not run."""
        seen = RunEnded.now(time.monotonic() - self._began, interrupted=interrupted, jobs=jobs)
        self.begin(seen)

    def finish(self) -> None:
        """Redact the logs, write the reports, and name all files with their digests. Safe to call again."""
        self.redactor.tree(self.logs)
        for name, render in RENDERERS.items():
            if text := render(self.name, self.records):
                (self.directory / name).write_text(text, encoding="utf-8")
        write_manifest(self.directory)
