"""The way of calls and of realtime data from network to network, as grids. Pure functions of records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .observations import MatrixCell
from .records import Record
from .tables import Grid, Mark, Section

__all__ = ["matrix", "words"]

LEGS = {0: "", 1: ", one leg", 2: ", both legs"}
SHORT = {
    "direct": "D",
    "relayed": "R",
    "none": "-",
    "mixed": "M",
    "foreign": "F",
    "not proven": "NP",
    "disagreement": "DA",
}
TITLES = {
    "call": ("Calls from network to network", "from \\ to"),
    "realtime": ("Realtime data between networks", ""),
}
KEY = (
    "D direct, R relayed (1: one leg, 2: both legs), M mixed, - none, F foreign, NP not proven, "
    "DA disagreement of witnesses"
)
LEGENDS = {
    "call": (
        "one leg: only one side has a relayed transport address, to which the other sends straight, not through "
        "port 3478",
        "none: no call, because Delta Chat has no TURN over TCP; in brackets: over TCP or TLS",
        "!: not as expected",
    ),
    "realtime": ("!: not as expected",),
}


def matrix(records: Sequence[Record]) -> Iterator[Section]:
    """One section for calls and one for realtime data, with a grid below the name of each check."""
    for medium, (title, corner) in TITLES.items():
        grids = []
        for record in records:
            if cells := [each for each in record.seen(MatrixCell) if each.medium == medium]:
                grids.append((record.check, _grid(corner, cells)))
        if grids:
            yield Section(title, grids, LEGENDS[medium])


def words(cell: MatrixCell) -> str:
    """Finding between two networks, with a mark if it is not what was expected."""
    over_tcp = (
        "" if cell.over_tcp is None else f" [{'' if cell.over_tcp == 'relayed' else '!'}{cell.over_tcp}]"
    )
    return f"{'' if cell.as_expected else '!'}{cell.found}{LEGS.get(cell.legs or 0, '')}{over_tcp}"


def _short(cell: MatrixCell) -> str:
    found = SHORT.get(cell.found, cell.found[:2])
    over_tcp = "" if cell.over_tcp is None else f"[{SHORT.get(cell.over_tcp, cell.over_tcp[:2])}]"
    return f"{'' if cell.as_expected else '!'}{found}{cell.legs or ''}{over_tcp}"


def _grid(corner: str, cells: Sequence[MatrixCell]) -> Grid:
    """Calls have a direction. Realtime data has none: it is shown both ways."""
    marks = {(cell.first, cell.second): Mark(words(cell), _short(cell)) for cell in cells}
    if all(cell.medium == "call" for cell in cells):
        rows = list(dict.fromkeys(cell.first for cell in cells))
        columns = list(dict.fromkeys(cell.second for cell in cells))
        return Grid(corner, rows, columns, marks, KEY)
    names = list(dict.fromkeys(name for cell in cells for name in (cell.first, cell.second)))
    both_ways = {(two, one): mark for (one, two), mark in marks.items()} | marks
    return Grid(corner, names, names, both_ways, KEY)
