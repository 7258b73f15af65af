"""Numbers of a record with their units and limits, by stable names: what a promise's row shows, and what two runs or
a history of many are compared by. Pure functions of records."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator
from dataclasses import dataclass

from .client_load import ClientLoad, Delivery, StepTimes
from .observations import CallSeen, Measured, SwarmSeen, Timing
from .records import Record

__all__ = ["Figure", "figures"]

PHASES = {
    "offer_ms": "offer",
    "ring_ms": "rings",
    "answer_ms": "answered",
    "accepted_ms": "accepted",
    "connected_ms": "connected",
    "first_audio_ms": "first audio",
}
TIMES = frozenset({"s", "ms", "us"})


@dataclass(frozen=True)
class Figure:
    """One number. Two figures of the same name and unit can be compared."""

    name: str
    value: float
    unit: str = ""
    limit: float | None = None
    """Most that it may be, in the same unit; None: nobody set a limit."""

    @property
    def is_time(self) -> bool:
        """More of it is slower."""
        return self.unit in TIMES

    @property
    def text(self) -> str:
        """For example `first audio 310 ms (limit 5,000 ms)`."""
        limit = "" if self.limit is None else f" (limit {_shown(self.limit, self.unit)})"
        return f"{self.name} {self.amount}{limit}"

    @property
    def amount(self) -> str:
        """For example `310 ms`."""
        return _shown(self.value, self.unit)


def figures(record: Record) -> list[Figure]:
    """All numbers of a record, in the order in which they were seen."""
    return [each for seen in record.observations for each in _of(seen)]


def _of(seen: object) -> Iterator[Figure]:
    match seen:
        case Timing(seconds=seconds) if seconds:
            name = _about(seen.subject, seen.name)
            if len(seconds) > 1:
                yield Figure(f"{name}, median", statistics.median(seconds), "s")
            yield Figure(f"{name}, longest" if len(seconds) > 1 else name, max(seconds), "s", seen.most_s)
        case CallSeen():
            yield from _of_call(seen)
        case SwarmSeen():
            yield from _of_swarm(seen)
        case StepTimes():
            yield from (
                Figure(f"{seen.service}: {seen.name}, {name}", each, "ms") for name, each in _quantiles(seen)
            )
        case Delivery():
            yield Figure(f"{seen.unit}: missing", seen.missing, f"of {seen.sent}")
        case ClientLoad():
            if seen.cpu_ms_per_client is not None and seen.kb_per_client is not None:
                yield Figure("CPU of the server for each client", seen.cpu_ms_per_client, "ms")
                yield Figure("memory of the server for each client", seen.kb_per_client, "kB")
        case Measured(value=int() | float() as value) if not isinstance(value, bool):
            yield Figure(_about(seen.subject, seen.name), value, seen.unit)


def _quantiles(step: StepTimes) -> Iterator[tuple[str, float]]:
    return iter((("p50", step.p50_ms), ("p95", step.p95_ms), ("p99", step.p99_ms)))


def _of_call(call: CallSeen) -> Iterator[Figure]:
    for field, milliseconds in dataclasses.asdict(call.phases).items():
        if milliseconds is not None:
            yield Figure(f"{call.name}: {PHASES[field]}", milliseconds, "ms")
    for way in call.directions:
        who = f"{call.name}, {way.sender} to {way.receiver}"
        if way.delay_ms is not None:
            yield Figure(f"{who}: delay", way.delay_ms, "ms")
        yield Figure(f"{who}: lost", way.lost, "packets")


def _of_swarm(swarm: SwarmSeen) -> Iterator[Figure]:
    about = _about(swarm.subject, swarm.phase)
    sent = sum(way.sent for way in swarm.directions)
    delivered = sum(way.delivered for way in swarm.directions)
    yield Figure(f"{about}: delivered", delivered, f"of {sent} messages")
    if swarm.latency_median_ms is not None:
        yield Figure(f"{about}: latency, median", swarm.latency_median_ms, "ms")
    if swarm.latency_max_ms is not None:
        yield Figure(f"{about}: latency, longest", swarm.latency_max_ms, "ms")


def _about(subject: str, what: str) -> str:
    return ", ".join(filter(None, (subject, what)))


def _shown(value: float, unit: str) -> str:
    """Three digits that count, and no more."""
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 3
    return f"{value:,.{digits}f} {unit}".rstrip()
