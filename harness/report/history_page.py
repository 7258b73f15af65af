"""The history of servers as text and as a page: runs, changes of verdicts, shares of failures, numbers over time.

Pure functions of what a `History` says.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from .figures import Figure
from .history import Course, PastRun, Share, Transition
from .html import environment
from .illustrations import Illustration
from .plots import course
from .tables import Table, wrapped

__all__ = ["Past", "render_history", "render_history_page"]

MOST_PLOTS = 60
"""Numbers that are drawn on a page, those first that changed most."""


@dataclass(frozen=True)
class Past:
    """Everything that a history says, of one server or of all."""

    runs: Sequence[PastRun]
    transitions: Sequence[Transition]
    shares: Sequence[Share]
    courses: Sequence[Course]


def render_history(past: Past, width: int = 80) -> str:
    """For a terminal."""
    if not past.runs:
        return "no run with a result is in the history"
    parts = [_runs(past.runs).text(width)]
    parts.append(
        "\n".join(["CHANGES", *(wrapped(_words(each), first="- ", width=width) for each in past.transitions)])
    )
    if not past.transitions:
        parts[-1] += "\n  none"
    if past.shares:
        lines = (
            wrapped(f"{each.check}: {each.text}; {each.server}, {each.versions}", first="- ", width=width)
            for each in past.shares
        )
        parts.append("\n".join(["FAILURES, with 95 % confidence", *lines]))
    return "\n\n".join(parts)


def render_history_page(past: Past) -> str:
    """One HTML page, with a plot for each number."""
    return (
        environment()
        .get_template("history.html")
        .render(
            runs=_runs(past.runs),
            transitions=[_words(each) for each in reversed(past.transitions)],
            shares=_shares(past.shares),
            plots=list(_plots(past.courses)),
            left=max(0, len(past.courses) - MOST_PLOTS),
        )
    )


def _runs(runs: Iterable[PastRun]) -> Table:
    rows = [
        [
            each.server,
            _day(each),
            each.run,
            each.decision,
            "" if each.load is None else f"{each.load:g} on {each.cores}",
        ]
        for each in runs
    ]
    return Table(["server", "began (UTC)", "run", "decision", "load on cores"], rows)


def _shares(shares: Iterable[Share]) -> Table:
    rows = [[each.check, each.text, each.server, each.versions] for each in shares]
    return Table(["check", "failures, 95 % confidence", "server", "versions"], rows)


def _words(each: Transition) -> str:
    reason = f": {each.reason}" if each.reason else ""
    return f"{_day(each.run)} {each.run.server}, {each.check}: {each.before} -> {each.now} in {each.run.run}{reason}"


def _plots(courses: Sequence[Course]) -> Iterator[Illustration]:
    for each in sorted(courses, key=_spread, reverse=True)[:MOST_PLOTS]:
        values = [value for _, value in each.values]
        first, last = (Figure(each.name, value, each.unit).amount for value in (values[0], values[-1]))
        caption = f"{each.server}, {each.check}: {each.name}, {first} -> {last}"
        ends = f"{len(values)} runs, {_day(each.values[0][0])} to {_day(each.values[-1][0])}"
        if drawn := course(caption, [(each.name, values)], each.unit, ends):
            yield Illustration(caption, drawn)


def _spread(each: Course) -> float:
    """Largest value by the smallest; what never changes is of no interest."""
    values = [abs(value) for _, value in each.values]
    return max(values) / min(values) if min(values) > 0 else float(max(values) > 0)


def _day(run: PastRun) -> str:
    return datetime.datetime.fromtimestamp(run.began, datetime.UTC).strftime("%Y-%m-%d %H:%M")
