"""One run's directory: the records, the logs, and the reports that are made of them."""

from __future__ import annotations

import datetime
import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .junit import render_junit
from .records import Record, evidence
from .redaction import Redactor
from .summary import render_markdown

__all__ = ["Run", "new_run_directory"]


def new_run_directory(parent: Path) -> Path:
    """The name of a new run's directory; the random end keeps runs of the same second apart."""
    stamp = datetime.datetime.now().astimezone().strftime("%Y%m%d_%H%M%S")
    return parent / f"test_run_{stamp}-{secrets.token_hex(2)}"


class Run:
    """A directory `test_run_YYYYmmdd_HHMMSS-xxxx` and the only writer of its `results.jsonl`."""

    def __init__(
        self, directory: Path, redactor: Redactor | None = None, *, machine: Sequence[str] = ()
    ) -> None:
        """`machine`: sentences on what this machine can do, for the head of the report."""
        self.directory = directory
        self.name = directory.name
        self.redactor = redactor or Redactor()
        self.machine = machine
        self.records: list[Record] = []
        directory.mkdir(parents=True, exist_ok=True)
        self.logs = directory / "logs"
        self.logs.mkdir(exist_ok=True)

    def add(self, record: Record, files: Sequence[Path] = ()) -> None:
        """Append a record with the files that back it; whatever is written has passed the redactor."""
        self.append(self.complete(record, files))

    def complete(self, record: Record, files: Sequence[Path]) -> Record:
        """The record as it is kept: redacted, its evidence redacted and named with digests."""
        for file in files:
            self.redactor.file(file)
        named = replace(record, evidence=tuple(evidence(file, self.directory) for file in files))
        return Record.from_json(self.redactor.text(named.to_json()))

    def append(self, record: Record) -> None:
        """Append a record that is complete, from this process or from a worker of it."""
        self.records.append(record)
        with (self.directory / "results.jsonl").open("a", encoding="utf-8") as output:
            output.write(record.to_json() + "\n")

    def finish(self) -> None:
        """Redact the logs and write the reports. Safe to call again."""
        self.redactor.tree(self.logs)
        (self.directory / "junit.xml").write_text(render_junit(self.name, self.records), encoding="utf-8")
        report = render_markdown(self.name, self.records, self.machine)
        (self.directory / "report.md").write_text(report, encoding="utf-8")
