"""Results of a load as its processes write them while it runs; `records` makes a run's records of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ..report.client_load import StepTimes

__all__ = ["Carried", "Complaint", "LoadResults", "MissingMessage", "WorkerCounts"]

SCHEMA = 4


class Complaint(NamedTuple):
    """A sentence on a step that failed, and how often it was said."""

    service: str
    text: str
    times: int


class MissingMessage(NamedTuple):
    """A message that was answered with 250 and has not arrived."""

    message_id: str
    submitted: float
    """Seconds after the beginning."""
    looked_for: bool
    """Its mailbox was looked into, over a new connection, when nothing came any more."""


@dataclass
class Carried:
    """What was sent and what arrived; `doubled` arrived more often than once."""

    sent: int = 0
    arrived: int = 0
    doubled: int = 0
    bytes_sent: int = 0
    bytes_arrived: int = 0

    def add(self, other: Mapping[str, int]) -> None:
        for name, value in other.items():
            setattr(self, name, getattr(self, name) + int(value))


@dataclass(frozen=True)
class WorkerCounts:
    """One process of clients, as it counted itself."""

    users: int
    """Most clients that it had at the same time."""
    accounts: int
    """Clients that have logged in over IMAP and SMTP."""
    account_seconds: float
    """From its first client to the last account."""
    messages_sent: int
    send_seconds: float
    """From the first message to the last."""
    seconds: float
    complaints: tuple[str, ...] = ()

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> WorkerCounts:
        """As it came from another process, or from a file."""
        return cls(**{**data, "complaints": tuple(data["complaints"])})


@dataclass(frozen=True)
class LoadResults:
    """`complete` is False while the load runs, and where it was cut short."""

    complete: bool
    users_wanted: int
    users_reached: int
    seconds: float
    workers: int = 0
    workers_lost: int = 0
    of_workers: tuple[WorkerCounts, ...] = ()
    """Of a worker that was lost, as it said last."""
    steps: tuple[StepTimes, ...] = ()
    messages: Carried = field(default_factory=Carried)
    media: Carried = field(default_factory=Carried)
    """Packets over TURN, which may lose some: UDP."""
    frames: Carried = field(default_factory=Carried)
    """Over the iroh relay."""
    offers: frozenset[str] = frozenset()
    """Services that METADATA gave clients, by the names that they have in steps."""
    complaints: tuple[Complaint, ...] = ()
    missing: tuple[MissingMessage, ...] = ()
    """The first of them."""
    not_there: int = 0
    """Of all that are missing: those that were in no mailbox when somebody looked."""
    untold: int = 0
    """Messages that were in their mailbox then, and that IDLE had not told of."""
    stalled: float = 0.0
    """Longest time, in seconds, for which a process of the clients did nothing although it had to."""
    server: Mapping[str, float] = field(default_factory=dict)
    """CPU seconds and megabytes of a server that was started for it."""

    def write(self, file: Path) -> None:
        """As a whole, or not at all."""
        unfinished = file.with_suffix(".part")
        plain = {"schema": SCHEMA, **asdict(self), "offers": sorted(self.offers)}
        unfinished.write_text(json.dumps(plain, indent=2) + "\n")
        unfinished.replace(file)

    @classmethod
    def read(cls, file: Path) -> LoadResults:
        values: dict[str, Any] = json.loads(file.read_text())
        values.pop("schema")
        for name in ("messages", "media", "frames"):
            values[name] = Carried(**values[name])
        return cls(
            **values
            | {
                "of_workers": tuple(WorkerCounts.of(each) for each in values["of_workers"]),
                "steps": tuple(StepTimes(**each) for each in values["steps"]),
                "complaints": tuple(Complaint(*each) for each in values["complaints"]),
                "missing": tuple(MissingMessage(*each) for each in values["missing"]),
                "offers": frozenset(values["offers"]),
            }
        )

    def of(self, service: str) -> tuple[StepTimes, ...]:
        """Steps of one service."""
        return tuple(each for each in self.steps if each.service == service)

    @property
    def is_whole(self) -> bool:
        """Nothing of the load itself was lost."""
        return self.complete and not self.workers_lost and self.users_reached >= self.users_wanted
