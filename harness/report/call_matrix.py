"""Which way calls took from network to network, as a table: a pure function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .records import Record

__all__ = ["MATRIX", "MatrixCell", "render_matrices", "render_matrix"]

MATRIX = "call_matrix"
"""Name of the measurement: a list of `MatrixCell`."""
LEGS = {0: "", 1: ", one leg", 2: ", both legs"}
EXPLANATION = (
    "one leg: only one side has a relayed port, and the other sends to that and not to port 3478.\n"
    "none: no call, because Delta Chat has no TURN over TCP; in brackets what the server could do over TCP or TLS.\n"
    "!: not as expected."
)


@dataclass(frozen=True)
class MatrixCell:
    """A call that was tried from one network to another; the networks by name."""

    caller: str
    callee: str
    expected: str
    found: str
    """The verdict of the witnesses, such as `direct` or `relayed(turn)`."""
    why: str
    """What is expected, in words."""
    legs: int = 0
    """Sides that have a relayed port."""
    override: str = ""
    """What is found over TCP, where that was tried."""

    @property
    def text(self) -> str:
        found, _, _by = self.found.partition("(")
        wrong = "" if found == self.expected else "!"
        over_tcp, _, _by = self.override.partition("(")
        override = f" [{'' if over_tcp == 'relayed' else '!'}{over_tcp}]" if self.override else ""
        return f"{wrong}{found}{LEGS[self.legs]}{override}"

    def __str__(self) -> str:
        over_tcp = f"; over TCP it would be {self.override}" if self.override else ""
        return f"{self.caller} to {self.callee}: {self.text.partition(' [')[0]} ({self.why}{over_tcp})"


def render_matrix(cells: Sequence[MatrixCell]) -> str:
    """A line for each network that calls, a column for each that is called."""
    callees = list(dict.fromkeys(cell.callee for cell in cells))
    texts = {(cell.caller, cell.callee): cell.text for cell in cells}
    rows = [["from \\ to", *callees]]
    rows += [
        [caller, *(texts.get((caller, callee), "") for callee in callees)]
        for caller in dict.fromkeys(cell.caller for cell in cells)
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join([*(line.rstrip() for line in lines), EXPLANATION])


def render_matrices(records: Sequence[Record]) -> str:
    """Those of all records, each below the name of its check; empty if there is none."""
    tables = [
        (record.check, record.measurements[MATRIX]) for record in records if MATRIX in record.measurements
    ]
    return "\n".join(f"{check}\n{render_matrix([_cell(each) for each in cells])}" for check, cells in tables)


def _cell(data: Mapping[str, Any]) -> MatrixCell:
    return MatrixCell(**data)
