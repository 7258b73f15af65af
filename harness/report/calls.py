"""The calls of a run as a table, out of records: a pure function.

A check that makes calls keeps them in its measurement `calls`, each as a `MeasuredCall`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .records import Record

__all__ = ["CALLS", "MeasuredCall", "Way", "render_calls"]

CALLS = "calls"
"""Name of the measurement."""
HEADINGS = (
    *("call", "offer", "ring", "answer", "ICE", "audio", "path"),
    *("way", "sent", "server", "received", "lost", "delay", "heard", "gaps", "stall"),
)
PHASES = ("offer", "ring", "answer", "connected", "first_audio")
"""What the columns from `offer` to `audio` show of the phases of a set-up."""
TEXTS = {"call", "path", "way"}
"""Columns that begin at the left; numbers end at the right."""
NOT_THERE = "-"
EXPLANATION = (
    "offer to audio: ms after the click; sent, server, received: packets as the agents and TURN counted them;\n"
    "lost: RTP packets; delay of audio, gaps (silence in what was heard: number and sum) and stall (longest time\n"
    "without any): ms; heard: s"
)


@dataclass(frozen=True)
class Way:
    """What went from one side of a call to the other, in packets; what is not known is None."""

    sender: str
    receiver: str
    sent: int
    server: int | None
    """Carried by the TURN server; None: it keeps no ledger."""
    received: int
    lost: int
    """RTP packets whose sequence numbers are missing at the receiver."""
    delay_ms: float | None = None
    """That of most audio frames."""
    heard_s: float | None = None
    """Audio that was recognised; None: there was none to hear."""
    gaps_ms: Sequence[float] = ()
    """In the audio as heard, on its own time line."""
    stall_ms: float = 0.0
    """Longest time without any audio frame, on the wall clock; 0: none that matters."""


@dataclass(frozen=True)
class MeasuredCall:
    """One call: when its phases were reached (ms after the click), its path, and both ways."""

    name: str
    phases_ms: Mapping[str, float]
    path: str = ""
    """Empty: it was not set up, or nobody talked."""
    ways: Sequence[Way] = field(default=())


def render_calls(records: Sequence[Record]) -> str:
    """Below the name of each check its calls, two lines for each, one for each way; empty if there was no call."""
    tables = [(record.check, list(_rows(record))) for record in records]
    rows = [row for _, found in tables for row in found]
    if not rows:
        return ""
    widths = [max(len(row[column]) for row in (HEADINGS, *rows)) for column in range(len(HEADINGS))]
    lines = [_line(HEADINGS, widths)]
    for check, found in tables:
        if found:
            lines += [check, *(_line(row, widths) for row in found)]
    return "\n".join([*lines, EXPLANATION])


def _rows(record: Record) -> Iterator[tuple[str, ...]]:
    calls: Sequence[Mapping[str, Any]] = record.measurements.get(CALLS, ())
    for call in calls:
        phases = (_number(call["phases_ms"].get(phase)) for phase in PHASES)
        first = (f"  {call['name']}", *phases, call["path"] or NOT_THERE)
        ways = [_way(each) for each in call["ways"]] or [(NOT_THERE,) * (len(HEADINGS) - len(first))]
        for number, way in enumerate(ways):
            yield (*(first if number == 0 else ("",) * len(first)), *way)


def _way(way: Mapping[str, Any]) -> tuple[str, ...]:
    gaps = way["gaps_ms"]
    return (
        f"{way['sender']} to {way['receiver']}",
        *(_number(way[each]) for each in ("sent", "server", "received", "lost", "delay_ms")),
        NOT_THERE if way["heard_s"] is None else f"{way['heard_s']:.2f}",
        f"{len(gaps)} ({sum(gaps):.0f})" if gaps else "0",
        _number(way["stall_ms"]),
    )


def _number(value: float | None) -> str:
    return NOT_THERE if value is None else f"{value:.0f}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    aligned = (
        cell.ljust(width) if heading in TEXTS else cell.rjust(width)
        for cell, width, heading in zip(cells, widths, HEADINGS, strict=True)
    )
    return " ".join(aligned).rstrip()
