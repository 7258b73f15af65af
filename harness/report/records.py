"""The one schema of results: what a check found, about whom, and on what evidence.

A run appends `Record`s to `results.jsonl` with one `Recorder`; every other report is a pure function of them.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .observations import Observation, observation_from_json

__all__ = ["ACCOUNTS_LEFT", "Evidence", "Record", "Verdict", "evidence", "read_records"]


ACCOUNTS_LEFT = "accounts_left"
"""Name of the measurement: how many accounts a check left, at most, on a server that is not ours."""


class Verdict(enum.StrEnum):
    """How a check ended. Only `FAILED` says that the target broke a promise."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"
    """This machine lacks a capability, or the caller did not allow it; the reason names which."""
    UNSUPPORTED = "unsupported"
    """The target states that it does not have this, or a version of a client cannot do it; never guessed."""
    NOT_REACHED = "not reached"
    """Another check failed before, and that explains this one; the reason names it."""
    UNDECIDED = "undecided"
    """The check could not come to a verdict: a fault of ours, of a client or of the machine."""


@dataclass(frozen=True)
class Evidence:
    """A file that backs a verdict; `path` is relative to the run directory."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Record:
    """The result of one check. `time` is unix seconds, `duration` seconds."""

    run: str
    check: str
    verdict: Verdict
    time: float
    duration: float
    target: str
    requirements: tuple[str, ...] = ()
    reason: str = ""
    """Empty when passed; otherwise sentences that an operator understands."""
    notes: tuple[str, ...] = ()
    """What a reader must know to weigh the verdict, for example what was not proven."""
    clients: Mapping[str, str] = field(default_factory=dict)
    """Device -> its program with version and mode, for example {"alice": "core 2.65.0 bot=1"}."""
    profiles: Mapping[str, str] = field(default_factory=dict)
    """Device -> kind of its network; empty: all were on one host."""
    server: Mapping[str, str] = field(default_factory=dict)
    """Program of the server -> its version, for example {"coturn": "coturn 4.6.1"}."""
    seed: int | None = None
    """Number from which whatever is random in the run follows; None: nothing was."""
    paths: Mapping[str, str] = field(default_factory=dict)
    """Phase -> path, in the words of docs/architecture.md."""
    measurements: Mapping[str, Any] = field(default_factory=dict)
    observations: tuple[Observation, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    door: str = ""
    """Through which door the check was opened: a pytest node ID or `main.py --test-15`."""

    def to_json(self) -> str:
        plain = asdict(self) | {"observations": [each.to_json() for each in self.observations]}
        return json.dumps(plain, ensure_ascii=False, sort_keys=True)

    @staticmethod
    def from_json(line: str) -> Record:
        """Raises ValueError or TypeError for a line that is not a record."""
        known = {each.name for each in dataclasses.fields(Record)}
        fields = {name: value for name, value in json.loads(line).items() if name in known}
        return Record(
            **{
                **fields,
                "verdict": Verdict(fields["verdict"]),
                "requirements": tuple(fields["requirements"]),
                "notes": tuple(fields["notes"]),
                "observations": tuple(map(observation_from_json, fields.get("observations", ()))),
                "evidence": tuple(Evidence(**item) for item in fields["evidence"]),
            }
        )


def evidence(file: Path, run_directory: Path) -> Evidence:
    """Name a finished file of the run as evidence, with its digest."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Evidence(str(file.relative_to(run_directory)), digest)


def read_records(file: Path) -> Iterator[Record]:
    """The records of a `results.jsonl`. Raises ValueError that names file and line of a bad one."""
    with file.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield Record.from_json(line)
            except (ValueError, TypeError, KeyError) as error:
                raise ValueError(f"{file}:{number} is not a record: {error}") from error
