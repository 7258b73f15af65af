"""Realtime messages of swarms as grids: who heard whom. Pure functions of records."""

from __future__ import annotations

from collections.abc import Sequence

from .observations import SwarmDirection, SwarmSeen
from .records import Record
from .tables import Grid, Mark, Section, number

__all__ = ["swarms"]

LEGEND = (
    "from \\ to; 5/10: five of ten arrived; +2: two came twice; ~3: three came after a later one; ?1: one that "
    "nobody sent",
)


def swarms(records: Sequence[Record]) -> Section | None:
    """A grid for each exchange, with its times; None if there was none."""
    grids = [
        (f"{record.check}: {_caption(each)}", _grid(each))
        for record in records
        for each in record.seen(SwarmSeen)
    ]
    return Section("Swarms", grids, LEGEND) if grids else None


def _caption(swarm: SwarmSeen) -> str:
    what = ", ".join(filter(None, (swarm.subject, swarm.phase)))
    times = f"{number(swarm.latency_median_ms, 1)} ms, {number(swarm.latency_max_ms, 1)} ms at most"
    if swarm.longest_silence_s is not None:
        times += f", silent for {swarm.longest_silence_s:.2f} s at most"
    return f"{what} ({times})"


def _grid(swarm: SwarmSeen) -> Grid:
    names = list(dict.fromkeys(name for way in swarm.directions for name in (way.sender, way.receiver)))
    marks = {(way.sender, way.receiver): Mark(_words(way)) for way in swarm.directions}
    return Grid("from \\ to", names, names, dict.fromkeys(zip(names, names, strict=True), Mark(".")) | marks)


def _words(way: SwarmDirection) -> str:
    delivered = str(way.delivered) if way.delivered == way.sent else f"{way.delivered}/{way.sent}"
    faults = (("+", way.duplicates), ("~", way.out_of_order), ("?", way.strange))
    return delivered + "".join(f"{mark}{count}" for mark, count in faults if count)
