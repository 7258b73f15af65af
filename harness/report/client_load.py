"""A load of many clients, as observations: the run as a whole, each step's times, and what became of what was sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .observations import Observation

__all__ = ["ClientLoad", "Delivery", "StepTimes"]


@dataclass(frozen=True)
class StepTimes(Observation):
    """One kind of thing that clients do, over all of them. Of steps that failed, the times are counted, too."""

    kind: ClassVar[str] = "step_times"
    identity: ClassVar[tuple[str, ...]] = ("service", "name")

    service: str
    name: str
    count: int
    failures: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Delivery(Observation):
    """Units that clients sent each other over one service, and what arrived of them."""

    kind: ClassVar[str] = "delivery"
    identity: ClassVar[tuple[str, ...]] = ("unit",)

    unit: str
    """In plural: `messages`."""
    sent: int
    arrived: int
    """Different ones."""
    doubled: int
    """Arrivals beyond the first of each."""
    sent_bytes: int
    arrived_bytes: int

    @property
    def missing(self) -> int:
        return self.sent - self.arrived


@dataclass(frozen=True)
class ClientLoad(Observation):
    """A load as a whole, in the head of its run."""

    kind: ClassVar[str] = "client_load"

    clients_wanted: int
    clients_reached: int
    """Most that were there at the same time."""
    clients_per_s: float
    """New ones."""
    wanted_s: float
    lasted_s: float
    workers: int = 0
    """Processes that the clients were in; 0: one for all."""
    workers_lost: int = 0
    """Those that ended too early, with what their clients did in their last seconds."""
    server_cpu_s: float | None = None
    """CPU of a server that was started for it, with all of its processes; None: nobody could look."""
    server_mb: float | None = None
    """Megabytes of it in memory, at the end."""

    @property
    def cpu_ms_per_client(self) -> float | None:
        return None if self.server_cpu_s is None else self.server_cpu_s * 1000 / max(1, self.clients_reached)

    @property
    def kb_per_client(self) -> float | None:
        return None if self.server_mb is None else self.server_mb * 1000 / max(1, self.clients_reached)
