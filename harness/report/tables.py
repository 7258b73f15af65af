"""Tables for people, as plain text of a given width and as Markdown. Pure functions."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..text import clean

__all__ = ["NOTHING", "WIDTH", "Grid", "Mark", "Section", "Table", "escaped", "number", "wrapped"]

WIDTH = 80
"""Columns of a terminal that everybody has."""
NARROWEST = 10
"""Characters below which no column of words is made narrower."""
NOTHING = "-"
"""In a cell: not known, or not reached."""
SPECIAL = str.maketrans({each: f"\\{each}" for each in "\\`*[]<>|#~@$"} | {"&": "&amp;"})
EMPHASIS = re.compile(r"(?<!\w)_|_(?!\w)")
"""Inside of a word an underscore is a letter like others."""


def number(value: float | None, digits: int = 0) -> str:
    return NOTHING if value is None else f"{value:,.{digits}f}"


def escaped(text: str) -> str:
    """Text of anybody for Markdown: shown as it is, and nothing in it is markup, a link or somebody's name."""
    inner = EMPHASIS.sub(r"\\_", clean(text).translate(SPECIAL))
    return inner.replace("://", ":\\//").replace("www.", "www\\.")


def wrapped(text: str, *, first: str = "", indent: str = "", width: int = WIDTH) -> str:
    """Text of anybody in lines of this width."""
    return textwrap.fill(
        clean(text), width, initial_indent=first, subsequent_indent=indent or " " * len(first)
    )


@dataclass(frozen=True)
class Table:
    """Rows below headings. A row of one cell is a heading of the rows below it."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: frozenset[str] = frozenset()
    """Headings of columns that end at the right."""

    def text(self, width: int = WIDTH) -> str:
        """Columns of words are wrapped where the table would be wider."""
        cells = [[clean(cell) for cell in row] for row in self.rows]
        widths = self._widths(cells, width)
        lines = [self._line(self.headings, widths)]
        for row in cells:
            if len(row) == 1:
                lines += textwrap.wrap(row[0], width, subsequent_indent=_indentation(row[0]) + "  ")
            else:
                lines += self._lines(row, widths)
        return "\n".join(lines)

    def markdown(self) -> str:
        """As a table of GitHub's dialect; it has no width."""
        rules = ("--:" if heading in self.numbers else "---" for heading in self.headings)
        lines = [[escaped(each) for each in self.headings], list(rules)]
        for row in self.rows:
            if len(row) == 1:
                lines.append([f"**{escaped(row[0].strip())}**", *("" for _ in self.headings[1:])])
            else:
                lines.append([escaped(cell.strip()) for cell in row])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)

    def fits(self, width: int) -> bool:
        return max(map(len, self.text(1_000_000).splitlines())) <= width

    def _widths(self, cells: Sequence[Sequence[str]], width: int) -> list[int]:
        full = [row for row in (self.headings, *cells) if len(row) > 1 or row is self.headings]
        widths = [max(len(row[column]) for row in full) for column in range(len(self.headings))]
        words = [column for column, heading in enumerate(self.headings) if heading not in self.numbers]
        while sum(widths) + sum(map(len, self._gaps())) > width:
            widest = max(words, key=widths.__getitem__, default=None)
            if widest is None or widths[widest] <= NARROWEST:
                break
            widths[widest] -= 1
        return widths

    def _lines(self, row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
        columns = [
            textwrap.wrap(cell, width, subsequent_indent=_indentation(cell) + "  ") or [""]
            for cell, width in zip(row, widths, strict=True)
        ]
        for parts in itertools.zip_longest(*columns, fillvalue=""):
            yield self._line(parts, widths)

    def _line(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        aligned = (
            cell.rjust(width) if heading in self.numbers else cell.ljust(width)
            for cell, width, heading in zip(cells, widths, self.headings, strict=True)
        )
        return "".join(itertools.chain(*zip(self._gaps(), aligned, strict=True))).rstrip()

    def _gaps(self) -> list[str]:
        """In front of each column. Numbers end at the right, which leaves room to their left."""
        return ["", *(" " if heading in self.numbers else "  " for heading in self.headings[1:])]


@dataclass(frozen=True)
class Mark:
    """A cell of a grid in words, and shorter where there is no room."""

    words: str
    short: str = ""


@dataclass(frozen=True)
class Grid:
    """Names down and names across, with a mark for some of their pairs."""

    corner: str
    rows: Sequence[str]
    columns: Sequence[str]
    marks: Mapping[tuple[str, str], Mark]
    key: str = ""
    """Explains the short marks."""

    def text(self, width: int = WIDTH) -> str:
        """In words where there is room, else with numbers across and short marks."""
        table = self._table(self.columns, short=False)
        if table.fits(width):
            return table.text(width)
        numbers = [str(each) for each in range(1, len(self.columns) + 1)]
        across = ", ".join(f"{number} {name}" for number, name in zip(numbers, self.columns, strict=True))
        explained = [
            wrapped(each, indent="  ", width=width) for each in (f"across: {across}", self.key) if each
        ]
        return "\n".join([*explained, self._table(numbers, short=True).text(width)])

    def markdown(self) -> str:
        return self._table(self.columns, short=False).markdown()

    def _table(self, headings: Sequence[str], *, short: bool) -> Table:
        rows = [
            [row, *(_mark(self.marks.get((row, column)), short=short) for column in self.columns)]
            for row in self.rows
        ]
        return Table([self.corner, *headings], rows)


@dataclass(frozen=True)
class Section:
    """Tables below a title, each with a caption (or none), and lines that explain them."""

    title: str
    tables: Sequence[tuple[str, Table | Grid]]
    legend: Sequence[str] = ()

    def text(self, width: int = WIDTH) -> str:
        parts = [
            "\n".join([*([wrapped(caption, width=width)] if caption else []), table.text(width)])
            for caption, table in self.tables
        ]
        legend = "\n".join(wrapped(each, indent="  ", width=width) for each in self.legend)
        return "\n\n".join([self.title.upper(), *parts, *([legend] if legend else [])])

    def markdown(self) -> str:
        parts = [f"## {self.title}"]
        for caption, table in self.tables:
            parts += [f"**{escaped(caption)}**"] if caption else []
            parts.append(table.markdown())
        if self.legend:
            parts.append("  \n".join(map(escaped, self.legend)))
        return "\n\n".join(parts)


def _mark(mark: Mark | None, *, short: bool) -> str:
    if mark is None:
        return ""
    return mark.short or mark.words if short else mark.words


def _indentation(text: str) -> str:
    return " " * (len(text) - len(text.lstrip()))
