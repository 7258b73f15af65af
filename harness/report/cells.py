"""A matrix of servers and clients, as observations: what was planned, and which cell of it a record is about."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import ClassVar

from .observations import Observation

__all__ = ["CellOf", "ExpectedRed", "MatrixPlan", "Part", "Shard"]


class Part(enum.StrEnum):
    """Purpose of a cell."""

    MATRIX = "matrix"
    MUTANT = "mutant"
    """Negative control: on a server that is wrong on purpose, exactly the cells that it declares must be red."""
    MADE_UP = "made_up"
    """Positive control: to a scenario that does not exist, each server must answer unsupported."""
    BLAME = "blame"
    """A failed scenario again with a reference on one side, to find out whose failure it is."""


@dataclass(frozen=True)
class CellOf(Observation):
    """One cell of a matrix. An axis that makes no difference to its scenario is empty."""

    kind: ClassVar[str] = "cell_of"
    identity: ClassVar[tuple[str, ...]] = ("name",)

    server: str
    """Name of the server in the registry."""
    scenario: str
    """Name of the scenario in the registry."""
    core_a: str = ""
    """Version of Delta Chat core of the device that begins."""
    core_b: str = ""
    """That of the other device."""
    peer: str = ""
    """Program that takes part in calls for Delta Chat's user interface."""
    networks: str = ""
    """Networks of both devices, as in `home:mobile`."""
    attempt: int = 1
    """Number of this try of several. All of them count."""
    part: Part = Part.MATRIX
    must_be_red: str = ""
    """Words of the failure that there must be, on a server that is wrong on purpose; empty: there must be none."""
    found: str = ""
    """Verdict of a control; that of its record says whether it is as it must be."""
    directory: str = ""
    """Directory of its run below that of the matrix, where it has one."""
    command: str = ""
    """Command that tries the same again."""
    cpu_s: float | None = None
    """Seconds of processor time of its process and those that it waited for; servers and agents that are forked from
    a process that has loaded them are not among these. None: not known."""

    @property
    def name(self) -> str:
        """For people, and the same in every run of this matrix."""
        clients = f"{self.core_a} with {self.core_b}" if self.core_a else ""
        number = f"try {self.attempt}" if self.attempt > 1 else ""
        part = self.part.value if self.part in (Part.MUTANT, Part.BLAME) else ""
        words = (self.scenario, self.server, clients, self.peer, self.networks, number, part)
        return ", ".join(filter(None, words))

    @property
    def place(self) -> tuple[str, ...]:
        """All axes: tries of one place are counted together."""
        return (self.server, self.scenario, self.core_a, self.core_b, self.peer, self.networks, self.part)


@dataclass(frozen=True)
class ExpectedRed:
    """Failures that somebody answers for, until a day. Of an axis that is empty, every value is meant."""

    scenario: str
    owner: str
    expires: str
    """The last day on which they are accepted, as in 2026-12-31."""
    server: str = ""
    client: str = ""
    """Version of core on either side."""
    networks: str = ""
    reason: str = ""

    def covers(self, cell: CellOf) -> bool:
        return (
            self.scenario == cell.scenario
            and self.server in ("", cell.server)
            and self.client in ("", cell.core_a, cell.core_b)
            and self.networks in ("", cell.networks)
        )


@dataclass(frozen=True)
class Shard:
    """One of several parts of a matrix, each of which a machine of its own runs."""

    number: int = 1
    of: int = 1

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"


@dataclass(frozen=True)
class MatrixPlan(Observation):
    """Everything that the cells of a matrix were made of: two runs with the same are parts of one matrix."""

    kind: ClassVar[str] = "matrix_plan"

    registry: str
    """Name of the file."""
    digest: str
    """SHA-256 of the planned cells."""
    seed: int
    pairs: str
    """`all` combinations, or `pairwise`: each two values of two axes are together in one cell at least."""
    servers: tuple[str, ...]
    clients: tuple[str, ...]
    """Versions of core, as they were resolved."""
    peers: tuple[str, ...]
    networks: tuple[str, ...]
    scenarios: tuple[str, ...]
    reference_server: str
    """Where a scenario passes on this one, it is the other server that is to blame for a failure."""
    reference_client: str
    repeat: int = 1
    combinations: int = 0
    """Cells that all combinations would be, of which the planned ones are a choice."""
    must: tuple[str, ...] = ()
    """Scenarios that have to pass on each server with each client."""
    expected_reds: tuple[ExpectedRed, ...] = ()
    shard: Shard = Shard()
