"""One run's directory: the records, the logs, and the reports that are made of them."""

from __future__ import annotations

import datetime
import secrets
from pathlib import Path

from .junit import render_junit
from .records import Record
from .redaction import Redactor
from .summary import render_markdown

__all__ = ["Run"]


class Run:
    """A directory `test_run_YYYYmmdd_HHMMSS-xxxx` and the only writer of its `results.jsonl`."""

    def __init__(self, directory: Path, redactor: Redactor) -> None:
        self.directory = directory
        self.name = directory.name
        self.redactor = redactor
        self.records: list[Record] = []
        directory.mkdir(parents=True, exist_ok=True)
        self.logs = directory / "logs"
        self.logs.mkdir(exist_ok=True)

    @staticmethod
    def below(parent: Path, redactor: Redactor | None = None) -> Run:
        """A new directory below `parent`; the random end keeps runs of the same second apart."""
        stamp = datetime.datetime.now().astimezone().strftime("%Y%m%d_%H%M%S")
        return Run(parent / f"test_run_{stamp}-{secrets.token_hex(2)}", redactor or Redactor())

    def add(self, record: Record) -> None:
        """Append a record; what is written has passed the redactor."""
        line = self.redactor.text(record.to_json())
        self.records.append(Record.from_json(line))
        with (self.directory / "results.jsonl").open("a", encoding="utf-8") as output:
            output.write(line + "\n")

    def finish(self) -> None:
        """Redact the logs and write the reports. Safe to call again."""
        self.redactor.tree(self.logs)
        (self.directory / "junit.xml").write_text(render_junit(self.name, self.records), encoding="utf-8")
        (self.directory / "report.md").write_text(render_markdown(self.name, self.records), encoding="utf-8")
