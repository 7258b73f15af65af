"""Small drawings of numbers as SVG, made by hand: phases of calls, courses over time, gaps, ranges.

Pure functions. Colours are classes that a page gives a meaning (`figure.css`); every drawing also says its numbers in
words, in its title and beside its marks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from ..text import clean

__all__ = ["Bar", "Range", "bars", "course", "gaps", "ranges"]

WIDTH = 640
LABEL = 170
"""Room for the words to the left."""
ROW = 22
AXIS = 24
RIGHT = 70
"""Room for the number to the right of a mark."""
LONGEST_LABEL = 26
"""Characters; the whole text stands in the title of the row."""


@dataclass(frozen=True)
class Bar:
    """A row of steps, each of which ends at a time later than the one before."""

    name: str
    ends: Sequence[tuple[str, float]]
    """For each step its name, and the time at which it was done."""


@dataclass(frozen=True)
class Range:
    """A row with a middle and a largest value."""

    name: str
    middle: float
    largest: float


def bars(title: str, rows: Sequence[Bar], unit: str) -> str:
    """Steps one after the other; empty without a row that has a step."""
    rows = [row for row in rows if row.ends]
    if not rows:
        return ""
    top = max(end for row in rows for _, end in row.ends)
    parts = []
    for number, row in enumerate(rows):
        y = number * ROW
        parts.append(_label(row.name, y))
        start = 0.0
        for step, (name, end) in enumerate(row.ends):
            x, width = _x(start, top), _x(end, top) - _x(start, top)
            words = f"{row.name}: {name} after {_number(end)} {unit}"
            parts.append(
                f'<rect class="s{step}" x="{x:.1f}" y="{y + 4}" width="{max(width, 0):.1f}" height="14">'
                f"<title>{_text(words)}</title></rect>"
            )
            start = end
        parts.append(_value(_x(start, top), y, f"{_number(start)} {unit}"))
    steps = list(dict.fromkeys((step, name) for row in rows for step, (name, _) in enumerate(row.ends)))
    return _svg(title, [*parts, *_axis(top, unit, len(rows)), *_key(steps, len(rows))], len(rows), key=True)


def ranges(title: str, rows: Sequence[Range], unit: str) -> str:
    """Each row a line up to its largest value, with a mark at its middle; empty without rows."""
    if not rows:
        return ""
    top = max(row.largest for row in rows)
    parts = []
    for number, row in enumerate(rows):
        y = number * ROW
        middle, end = _x(row.middle, top), _x(row.largest, top)
        words = f"{row.name}: median {_number(row.middle)} {unit}, {_number(row.largest)} {unit} at most"
        parts += [
            _label(row.name, y),
            f'<g><title>{_text(words)}</title><path class="line" d="M{LABEL} {y + 11}H{end:.1f}"/>'
            f'<circle class="dot" cx="{middle:.1f}" cy="{y + 11}" r="4"/>'
            f'<path class="line" d="M{end:.1f} {y + 6}v10"/></g>',
            _value(end, y, f"{_number(row.middle)} / {_number(row.largest)} {unit}"),
        ]
    return _svg(title, [*parts, *_axis(top, unit, len(rows))], len(rows))


def course(title: str, lines: Sequence[tuple[str, Sequence[float]]], unit: str, across: str) -> str:
    """Values over time or over runs, a line each, from left to right; empty without a value."""
    lines = [(name, values) for name, values in lines if values]
    if not lines:
        return ""
    top = _round_up(max(value for _, values in lines for value in values))
    height, parts = 5 * ROW, []
    for share in (0.0, 0.5, 1.0):
        y = height - share * (height - 10)
        parts += [
            f'<path class="grid" d="M{LABEL} {y:.1f}H{WIDTH - RIGHT}"/>',
            f'<text class="end" x="{LABEL - 6}" y="{y + 4:.1f}">{_number(share * top)} {_text(unit)}</text>',
        ]
    for number, (name, values) in enumerate(lines):
        points = [
            (LABEL + (WIDTH - LABEL - RIGHT) * place / max(len(values) - 1, 1), value)
            for place, value in enumerate(values)
        ]
        shape = " ".join(f"{x:.1f},{height - value / top * (height - 10):.1f}" for x, value in points)
        words = f"{name}: {_number(min(values))} to {_number(max(values))} {unit}"
        parts.append(
            f'<polyline class="c{number % 4}" points="{shape}"><title>{_text(words)}</title></polyline>'
        )
        x, value = points[-1]
        parts.append(
            f'<circle class="d{number % 4}" cx="{x:.1f}" cy="{height - value / top * (height - 10):.1f}" r="3"/>'
        )
        parts.append(
            f'<text class="t{number % 4}" x="{LABEL}" y="{height + AXIS + number * 18}">{_text(words)}</text>'
        )
    parts.append(f'<text class="end" x="{WIDTH - RIGHT}" y="{height + 14}">{_text(across)}</text>')
    return _frame(title, parts, height + AXIS + 18 * len(lines))


def gaps(title: str, rows: Sequence[tuple[str, float, Sequence[tuple[float, float]]]]) -> str:
    """Time lines with holes: for each row its name, its length and `(start, length)` of each hole, in seconds."""
    rows = [row for row in rows if row[1] > 0]
    if not rows:
        return ""
    top = max(length for _, length, _ in rows)
    parts = []
    for number, (name, length, holes) in enumerate(rows):
        y = number * ROW
        parts += [
            _label(name, y),
            f'<rect class="heard" x="{LABEL}" y="{y + 4}" width="{_x(length, top) - LABEL:.1f}" height="14"/>',
        ]
        for start, hole in holes:
            words = f"{name}: nothing for {hole * 1000:.0f} ms, {_number(start)} s after the first sound"
            width = max(_x(start + hole, top) - _x(start, top), 1.5)
            parts.append(
                f'<rect class="gap" x="{_x(start, top):.1f}" y="{y + 4}" width="{width:.1f}" height="14">'
                f"<title>{_text(words)}</title></rect>"
            )
        parts.append(_value(_x(length, top), y, f"{len(holes)} gap{'' if len(holes) == 1 else 's'}"))
    return _svg(title, [*parts, *_axis(top, "s", len(rows))], len(rows))


def _x(value: float, top: float) -> float:
    return LABEL + (WIDTH - LABEL - RIGHT) * (value / top if top else 0)


def _label(name: str, y: float) -> str:
    shown = name if len(name) <= LONGEST_LABEL else f"{name[: LONGEST_LABEL - 1]}…"
    return f'<text class="end" x="{LABEL - 6}" y="{y + 15}"><title>{_text(name)}</title>{_text(shown)}</text>'


def _value(x: float, y: float, words: str) -> str:
    return f'<text x="{x + 5:.1f}" y="{y + 15}">{_text(words)}</text>'


def _axis(top: float, unit: str, rows: int) -> Iterable[str]:
    y = rows * ROW + 2
    yield f'<path class="axis" d="M{LABEL} {y}H{WIDTH - RIGHT}"/>'
    for share in (0.0, 0.5, 1.0):
        words = _text(f"{_number(share * top)} {unit}")
        yield f'<text class="mid" x="{_x(share * top, top):.1f}" y="{y + 16}">{words}</text>'


def _key(steps: Sequence[tuple[int, str]], rows: int) -> Iterable[str]:
    y, x = rows * ROW + AXIS + 4, 8.0
    for step, name in steps:
        yield f'<rect class="s{step}" x="{x:.0f}" y="{y}" width="12" height="12"/>'
        yield f'<text x="{x + 16:.0f}" y="{y + 11}">{_text(name)}</text>'
        x += 32 + 7.2 * len(name)


def _svg(title: str, parts: Iterable[str], rows: int, *, key: bool = False) -> str:
    return _frame(title, parts, rows * ROW + AXIS + (ROW if key else 0))


def _frame(title: str, parts: Iterable[str], height: int) -> str:
    return (
        f'<svg class="plot" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
        f'aria-label="{_text(title)}"><title>{_text(title)}</title>{"".join(parts)}</svg>'
    )


def _text(words: str) -> str:
    return escape(clean(words))


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _round_up(value: float) -> float:
    """To a number of one digit, or 2.5 of it, which an axis bears."""
    if value <= 0:
        return 1.0
    size: float = 10.0 ** math.floor(math.log10(value))
    return next(step * size for step in (1, 2, 2.5, 5, 10) if step * size >= value)
