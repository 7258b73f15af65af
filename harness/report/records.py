"""The one schema of results: what a check found, about whom, and on what evidence.

A run writes its plan to `results.jsonl` and appends one record for each check that ends (`plan.py`); every report is a
pure function of them.
`results.schema.json` describes a line (`schema.py`), docs/records.md explains it.
"""

from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from .cells import CellOf, MatrixPlan  # noqa: F401 - it registers its kind, for every reader of records
from .client_load import ClientLoad  # noqa: F401 - likewise
from .ending import RunEnded  # noqa: F401 - likewise
from .looks import Look  # noqa: F401 - likewise
from .must import MustList  # noqa: F401 - likewise
from .observations import Observation, read_observations
from .plain import Json, decoded, encoded, parsed

__all__ = ["HEAD", "SCHEMA", "Evidence", "Record", "Results", "Verdict", "evidence", "read_results"]

SCHEMA = 4
"""Version of a line. It goes up with every field and every verdict that is new."""
HEAD = "run"
"""Name, in place of a check's, in the record at the head of a run: what was looked up of the machine and the server."""
Observed = TypeVar("Observed", bound=Observation)


class Verdict(enum.StrEnum):
    """Result of a check. Only `FAILED` says that the target broke a promise."""

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
    NOT_RUN = "not run"
    """Planned: every check of a run has this before the first begins, and keeps it where the run never came to it."""


@dataclass(frozen=True)
class Evidence:
    """A file that backs a verdict; `path` is relative to the run directory."""

    path: str
    sha256: str


@dataclass(frozen=True)
class Record:
    """The result of one check, or the head of a run."""

    run: str
    check: str
    """Name of the check, or `run` for the head."""
    verdict: Verdict
    time: float
    """Time at which it began, unix seconds."""
    duration: float
    """Seconds."""
    target: str
    """The server under test."""
    requirements: tuple[str, ...] = ()
    """IDs of the promises that the check proves."""
    reason: str = ""
    """Empty when passed; otherwise sentences that an operator understands."""
    because_of: str = ""
    """Check whose failure explains that this one was not reached."""
    cause: str = ""
    """Name of what is wrong with the deployment, as in docs/causes.md; empty: not known."""
    notes: tuple[str, ...] = ()
    """Sentences that a reader must know to weigh the verdict, for example what was not proven."""
    observations: tuple[Observation, ...] = ()
    """Everything that was seen and measured; each has a kind."""
    clients: Mapping[str, str] = field(default_factory=dict)
    """Device -> its program with version and mode, for example {"alice": "core 2.65.0 bot=1"}."""
    profiles: Mapping[str, str] = field(default_factory=dict)
    """Device -> kind of its network; empty: all were on one host."""
    server: Mapping[str, str] = field(default_factory=dict)
    """Program of the server -> its version, for example {"coturn": "coturn 4.6.1"}."""
    seed: int | None = None
    """Number from which whatever is random in the check follows; None: nothing was."""
    evidence: tuple[Evidence, ...] = ()
    door: str = ""
    """Through which door the check was opened: a pytest node ID or `main.py --test-15`."""

    @property
    def is_head(self) -> bool:
        return self.check == HEAD

    def seen(self, kind: type[Observed]) -> list[Observed]:
        """Its observations of one kind."""
        return [each for each in self.observations if isinstance(each, kind)]

    def with_texts(self, change: Callable[[str], str]) -> Record:
        """The same with every text changed, in observations as well."""
        kept = {"verdict": self.verdict.value}
        changed = {name: _with_texts(value, change) for name, value in self._plain().items()}
        return _read(changed | kept)

    def to_json(self) -> str:
        """One line of `results.jsonl`, without its end."""
        return json.dumps({"schema": SCHEMA, **self._plain()}, ensure_ascii=False)

    @staticmethod
    def from_json(line: str | bytes) -> Record:
        """Raises ValueError for a line that is not a record. What this version does not know is dropped."""
        return _read(parsed(line))

    def _plain(self) -> dict[str, Json]:
        observations: list[Json] = [each.to_json() for each in self.observations]
        return encoded(replace(self, observations=())) | {"observations": observations}


def evidence(file: Path, run_directory: Path) -> Evidence:
    """Name a finished file of the run as evidence, with its digest."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Evidence(str(file.relative_to(run_directory)), digest)


@dataclass(frozen=True)
class Results:
    """The readable part of a `results.jsonl`."""

    records: tuple[Record, ...]
    problems: tuple[str, ...]
    """Sentences on what could not be read, or not all of it."""


def read_results(file: Path) -> Results:
    """Everything that can be read of a `results.jsonl`, whoever wrote it. Raises OSError."""
    *lines, last = file.read_bytes().split(b"\n")
    records, problems = [], []
    for number, line in enumerate([*lines, last], start=1):
        if not line.strip():
            continue
        try:
            fields = parsed(line)
            records.append(_read(fields))
        except ValueError as error:
            cut = number > len(lines)
            problems.append(f"{file.name}, line {number}, {_unreadable(error, cut=cut)}")
        else:
            problems += [f"{file.name}, line {number}, {each}" for each in _not_understood(fields)]
    return Results(tuple(records), tuple(problems))


def _read(fields: Mapping[str, Json]) -> Record:
    observations = decoded(fields.get("observations") or (), tuple[dict[str, Any], ...])
    record = decoded({**fields, "observations": ()}, Record)
    return replace(record, observations=tuple(read_observations(observations)))


def _unreadable(error: ValueError, *, cut: bool) -> str:
    if cut:
        return "the last, is cut off: the run was interrupted while it wrote, and one result is missing"
    return f"is no result of dc-harness and was left out: {error}"


def _not_understood(fields: Mapping[str, Json]) -> Iterator[str]:
    version = fields.get("schema", 1)
    unknown = sorted(fields.keys() - {"schema", *(each.name for each in dataclasses.fields(Record))})
    if version == SCHEMA and not unknown:
        return
    age = "a newer" if isinstance(version, int) and version > SCHEMA else "an older"
    whose = "another" if version == SCHEMA else age
    missing = f"; not shown: {', '.join(unknown)}" if unknown else ""
    yield f"was written by {whose} version of dc-harness and is shown as far as this one understands it{missing}"


def _with_texts(value: Json, change: Callable[[str], str]) -> Json:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list | tuple):
        return [_with_texts(each, change) for each in value]
    if isinstance(value, dict):
        return {change(name): _with_texts(each, change) for name, each in value.items()}
    return value
