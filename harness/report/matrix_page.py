"""The matrix as one HTML page: no script, no request to a network. A pure function of records.

For each scenario a table: servers and networks down, clients across. Rows and columns fold, and a filter shows one
state; both are done by the style sheet (`:has`, CSS Selectors 4). A cell leads to its own run.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..text import clean
from .ending import RunEnded
from .findings import took_part
from .html import environment, policy
from .interop import Blame, Interop, Place, State, interop
from .records import Record
from .style import style_sheet
from .tables import number

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PAGE", "render_matrix"]

PAGE = "matrix.html"

SYMBOLS = {
    State.PASSED: "✓",
    State.FAILED: "✗",
    State.UNBLAMED: "≠",
    State.KNOWN_RED: "✗",
    State.UNDECIDED: "?",
    State.NOT_RUN: "…",
    State.SKIPPED: "s",
    State.NOT_REACHED: "n",
    State.UNSUPPORTED: "-",
}
SHORT = {
    State.UNBLAMED: "everywhere",
    State.KNOWN_RED: "known",
    State.NOT_RUN: "not run",
    State.UNSUPPORTED: "unsupported",
    State.SKIPPED: "skipped",
    State.UNDECIDED: "undecided",
    State.NOT_REACHED: "not reached",
}
BLAMED = {Blame.SERVER: "server", Blame.CLIENTS: "clients", Blame.COMBINATION: "together"}
CHANGED = "changed"
LONGEST_TITLE = 300
"""Characters: the whole reason stands below the tables."""


@dataclass(frozen=True)
class Cell:
    """One field of a table."""

    place: Place
    before: State | None
    """State in the matrix that this one is compared with; None: it had no such cell, or there is none."""
    compared: bool

    @property
    def style(self) -> str:
        """Names for the style sheet."""
        names = ["cell", slug(self.place.state)]
        return " ".join([*names, CHANGED] if self.change else names)

    @property
    def symbol(self) -> str:
        return SYMBOLS[self.place.state]

    @property
    def words(self) -> str:
        """A number where it passed, else what it is instead."""
        if self.place.share:
            return self.place.share
        if self.place.state is State.PASSED:
            return self.place.number or "passed"
        return BLAMED.get(self.place.blame or Blame.NOBODY) or SHORT.get(
            self.place.state, self.place.state.value
        )

    @property
    def change(self) -> str:
        """For example `was failed`."""
        if not self.compared or self.before is self.place.state:
            return ""
        return "new" if self.before is None else f"was {self.before}"

    @property
    def title(self) -> str:
        words = (self.place.cell.name, str(self.place.state), self.place.why, self.change)
        return clean(": ".join(filter(None, words)), LONGEST_TITLE)


@dataclass(frozen=True)
class Row:
    """One line of a table: a network below its server."""

    head: str
    cells: tuple[tuple[Cell | None, ...], ...]
    """For each group of columns its cells."""

    def total(self, group: int) -> str:
        """For example `3/4`: of the cells of a group of columns, how many passed."""
        found = [each for each in self.cells[group] if each is not None]
        return f"{sum(each.place.state is State.PASSED for each in found)}/{len(found)}" if found else ""


@dataclass(frozen=True)
class Rows:
    """Rows that fold: those of one server."""

    id: str
    head: str
    rows: tuple[Row, ...]

    @property
    def total(self) -> str:
        found = [each for row in self.rows for group in row.cells for each in group if each is not None]
        return f"{sum(each.place.state is State.PASSED for each in found)} of {len(found)} passed"

    @property
    def worst(self) -> str:
        """Style of the worst of its cells."""
        found = {each.place.state for row in self.rows for group in row.cells for each in group if each}
        return slug(next((state for state in State if state in found), State.NOT_RUN))


@dataclass(frozen=True)
class Columns:
    """Columns that fold: those of one client that begins."""

    id: str
    head: str
    heads: tuple[str, ...]


@dataclass(frozen=True)
class Chart:
    """The table of one scenario."""

    title: str
    check: str
    columns: tuple[Columns, ...]
    rows: tuple[Rows, ...]


def render_matrix(name: str, records: Sequence[Record], before: Sequence[Record] = ()) -> str:
    """The page; empty: the records are no matrix. `before`: those of an earlier one, whose differences are marked."""
    found = interop(records)
    if found is None:
        return ""
    charts = list(_charts(found, interop(before)))
    filters = _filters(found, compared=bool(before))
    sheets = map(style_sheet, ("figure.css", "report.css", "matrix.css"))
    style = "".join([*sheets, *_folding(charts), *_filtering(filters)])
    return (
        environment()
        .get_template("matrix.html")
        .render(
            name=name,
            matrix=found,
            charts=charts,
            reasons=found.reasons,
            filters=filters,
            took_part=took_part(records),
            ran=_ran(records),
            symbols=SYMBOLS,
            style=style,
            policy=policy(style),
        )
    )


def slug(text: str) -> str:
    """A word for the style sheet."""
    return "-".join("".join(each if each.isalnum() else " " for each in text.lower()).split())


def _charts(found: Interop, before: Interop | None) -> Iterator[Chart]:
    earlier = {each.cell.place: each.state for each in before.places} if before else None
    for scenario in found.plan.scenarios:
        places = [each for each in found.places if each.cell.scenario == scenario]
        if places:
            yield _chart(scenario, places, found, earlier)


def _chart(
    scenario: str, places: Sequence[Place], found: Interop, earlier: Mapping[tuple[str, ...], State] | None
) -> Chart:
    known = {
        (each.cell.server, _row(each), each.cell.core_a, each.cell.core_b): Cell(
            each, (earlier or {}).get(each.cell.place), earlier is not None
        )
        for each in places
    }
    first = _in_order((each.cell.core_a for each in places), found.plan.clients)
    second = _in_order((each.cell.core_b for each in places), found.plan.clients)
    servers = _in_order((each.cell.server for each in places), found.plan.servers)
    rows = []
    for server in servers:
        networks = _in_order(
            (_row(each) for each in places if each.cell.server == server), found.plan.networks
        )
        lines = tuple(
            Row(row, tuple(tuple(known.get((server, row, a, b)) for b in second) for a in first))
            for row in networks
        )
        rows.append(Rows(f"fold-{slug(scenario)}-{slug(server)}", server, lines))
    columns = tuple(
        Columns(f"fold-{slug(scenario)}-{number}", each or "result", tuple(each or "" for each in second))
        for number, each in enumerate(first)
    )
    return Chart(scenario, places[0].records[0].check, columns, tuple(rows))


def _row(place: Place) -> str:
    """Head of its row, below the server."""
    return ", ".join(filter(None, (place.cell.networks, place.cell.peer)))


def _in_order(values: Iterator[str], order: Sequence[str]) -> list[str]:
    """Each once, in the order of the plan."""
    position = {each: number for number, each in enumerate(order)}
    return sorted(dict.fromkeys(values), key=lambda each: (position.get(each, len(position)), each))


def _filters(found: Interop, *, compared: bool) -> list[tuple[str, str]]:
    """Name for the style sheet, and label."""
    states = [(slug(state), f"{state} ({count})") for state in State if (count := found.count(state))]
    return [("all", "all"), *states, *([(CHANGED, "changed")] if compared else [])]


def _folding(charts: Sequence[Chart]) -> Iterator[str]:
    """Rules by which a box that is ticked folds its rows or its columns."""
    for chart in charts:
        for name in (each.id for part in (chart.rows, chart.columns) for each in part):
            yield f"body:has(#{name}:checked) .{name} {{ display: none; }}\n"


def _filtering(filters: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Rules by which cells in another state are hidden, and lines that have no other."""
    for name, _label in filters[1:]:
        chosen = f"body:has(#show-{name}:checked)"
        yield f"{chosen} .cell:not(.{name}) > * {{ visibility: hidden; }}\n"
        yield f"{chosen} .line:not(:has(.{name})) {{ display: none; }}\n"


def _ran(records: Sequence[Record]) -> str:
    """Wall time, for example `612 s, 2 at a time, on 2 processors, load 1.9`; of shards each."""
    ends = [end for record in records if record.is_head for end in record.seen(RunEnded)]
    return "; ".join(
        f"{number(end.seconds)} s, {end.jobs} at a time, on {end.cores} processors"
        + ("" if end.load is None else f", load {number(end.load, 1)}")
        for end in ends
    )
