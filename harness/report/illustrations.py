"""Drawings of a run for a page: paths, phases of calls, delay over time, gaps, latency of swarms.

Pure functions of records; each drawing stands below the title of the section whose table has the same numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

from .figures import PHASES
from .observations import CallSeen, PathSeen, SwarmSeen
from .path_drawing import MOST_DEVICES, as_grid, as_svg
from .plots import Bar, Range, bars, course, gaps, ranges
from .records import Record
from .tables import Grid

__all__ = ["MOST_PATHS", "Illustration", "illustrations"]

MOST_PATHS = 150
"""Paths that are drawn, those with a problem first; the table of paths has all of them."""
TWO = 2
"""Devices of which a drawing fits beside another."""
SOUND = frozenset({"direct", "relayed", "mixed", "none"})
"""Verdicts of witnesses that agree."""


@dataclass(frozen=True)
class Illustration:
    """One drawing with what is said about it."""

    caption: str
    svg: str = ""
    grid: Grid | None = None
    """In place of a drawing, where there is too much to draw."""
    strip: str = ""
    """Sentence of the witnesses."""
    is_sound: bool = True
    """False: they do not agree, or prove nothing."""
    is_wide: bool = False
    """It needs the width of the page."""


def illustrations(records: Sequence[Record]) -> Mapping[str, Sequence[Illustration]]:
    """By the title of the section that they belong to."""
    return {
        "Calls": list(_of_calls(records)),
        "Swarms": list(_of_swarms(records)),
        "Paths": list(_of_paths(records)),
    }


def _of_calls(records: Sequence[Record]) -> Iterator[Illustration]:
    for record in records:
        calls = record.seen(CallSeen)
        phases = [Bar(call.name, _steps(call)) for call in calls]
        if drawn := bars(f"{record.check}: phases of calls", phases, "ms"):
            yield Illustration(f"{record.check}: ms after the click", drawn)
        for call in calls:
            delays = [(f"{way.sender} to {way.receiver}", way.delay_course_ms) for way in call.directions]
            if drawn := course(f"{call.name}: delay", delays, "ms", "time of the call"):
                yield Illustration(f"{record.check}, {call.name}: delay of what was heard", drawn)
        heard = [
            (f"{call.name}: {way.receiver}", way.heard_s or 0.0, _holes(way.gap_starts_s, way.gaps_ms))
            for call in calls
            for way in call.directions
            if way.gap_starts_s
        ]
        if drawn := gaps(f"{record.check}: gaps in what was heard", heard):
            yield Illustration(f"{record.check}: gaps in what was heard", drawn)


def _steps(call: CallSeen) -> list[tuple[str, float]]:
    reached = [(PHASES[each.name], getattr(call.phases, each.name)) for each in fields(call.phases)]
    return [(name, end) for name, end in reached if end is not None]


def _holes(starts: Sequence[float], lengths_ms: Sequence[float]) -> list[tuple[float, float]]:
    """Records of older versions have the lengths only."""
    return [(start, length / 1000) for start, length in zip(starts, lengths_ms, strict=False)]


def _of_swarms(records: Sequence[Record]) -> Iterator[Illustration]:
    for record in records:
        rows = [
            Range(
                ", ".join(filter(None, (seen.subject, seen.phase))),
                seen.latency_median_ms,
                seen.latency_max_ms,
            )
            for seen in record.seen(SwarmSeen)
            if seen.latency_median_ms is not None and seen.latency_max_ms is not None
        ]
        if drawn := ranges(f"{record.check}: latency", rows, "ms"):
            yield Illustration(f"{record.check}: latency of messages, median and longest", drawn)


def _of_paths(records: Sequence[Record]) -> Iterator[Illustration]:
    found = [(record.check, path) for record in records for path in record.seen(PathSeen) if path.legs]
    found.sort(key=lambda each: each[1].verdict in SOUND)
    for check, path in found[:MOST_PATHS]:
        svg = as_svg(path)
        grid = as_grid(path) if len(path.devices) > MOST_DEVICES else None
        if svg or grid:
            about = ", ".join(filter(None, (path.subject, path.phase)))
            caption = f"{check}, {about}: {path.name}"
            wide = len(path.devices) > TWO
            yield Illustration(caption, svg, grid, _strip(path), path.verdict in SOUND, wide)
    if len(found) > MOST_PATHS:
        yield Illustration(f"{len(found) - MOST_PATHS} more paths are in the table alone.")


def _strip(path: PathSeen) -> str:
    """What the witnesses say of it, or what is in the way of a proof."""
    if problems := path.contradictions or path.doubts:
        return "; ".join(problems)
    if path.verdict == "foreign":
        return f"it went through {', '.join(path.by)}, which is no service of the server under test"
    agreed = " = ".join(path.witnesses)
    return f"{agreed}; nothing went elsewhere" if agreed else "nobody counted"
