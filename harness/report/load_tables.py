"""A load of many clients as two tables: times of each step, and what became of what was sent. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .client_load import ClientLoad, Delivery, StepTimes
from .records import Record
from .tables import Section, Table, number

__all__ = ["client_load"]

TIMES = ("count", "failed", "p50", "p95", "p99")
COUNTS = ("sent", "arrived", "missing", "doubled", "bytes sent", "bytes arrived")
LEGEND = (
    "p50, p95, p99: ms that half, 95 % and 99 % of the steps took at most",
    "packets of calls go over UDP, which may lose some",
)


def client_load(records: Sequence[Record]) -> Section | None:
    """None if no record is of a load."""
    steps = [step for each in records for step in each.seen(StepTimes)]
    carried = [found for each in records for found in each.seen(Delivery)]
    said = " ".join(
        sentence for each in records for load in each.seen(ClientLoad) for sentence in _told(load)
    )
    if not (steps or carried or said):
        return None
    times = Table(["step", *TIMES], [_step(each) for each in steps], frozenset(TIMES))
    counts = Table(["what", *COUNTS], [_delivery(each) for each in carried], frozenset(COUNTS))
    return Section("Load", [(said, times), ("", counts)], LEGEND)


def _told(load: ClientLoad) -> Iterator[str]:
    yield (
        f"{load.clients_reached} of {load.clients_wanted} clients, {load.clients_per_s:g} more in each second, "
        f"for {load.lasted_s:.0f} of {load.wanted_s:.0f} s."
    )
    if load.workers:
        yield f"{load.workers} workers, {load.workers_lost} of them ended too early."
    if load.server_cpu_s is not None and load.server_mb is not None:
        yield (
            f"The server took {load.server_cpu_s:.1f} s of CPU and {load.server_mb:.0f} MB: "
            f"{load.cpu_ms_per_client:.0f} ms and {load.kb_per_client:.0f} kB for each client."
        )


def _step(step: StepTimes) -> list[str]:
    times = (step.p50_ms, step.p95_ms, step.p99_ms)
    return [f"{step.service}: {step.name}", str(step.count), str(step.failures), *map(number, times)]


def _delivery(seen: Delivery) -> list[str]:
    counted = (seen.sent, seen.arrived, seen.missing, seen.doubled, seen.sent_bytes, seen.arrived_bytes)
    return [seen.unit, *map(number, counted)]
