"""A matrix in Markdown, for the summary of a job: a pure function of records."""

from __future__ import annotations

from collections.abc import Sequence

from .interop import Interop, State, interop
from .records import Record
from .tables import Table, escaped

__all__ = ["render_matrix_markdown"]

MOST = 5
"""Cells that are named with a reason."""


def render_matrix_markdown(name: str, records: Sequence[Record]) -> str:
    """The decision, a table of servers and scenarios, each reason once, and controls; empty: it is no matrix."""
    found = interop(records)
    if found is None:
        return ""
    parts = [f"# {found.decision}: {escaped(name)}", f"{escaped(found.sentence)}.", _table(found).markdown()]
    for state, reasons in found.reasons.items():
        lines = [f"## {escaped(state).capitalize()}\n"]
        for why, places in reasons.items():
            more = f" and {len(places) - MOST} more" if len(places) > MOST else ""
            names = "; ".join(escaped(each.cell.name) for each in places[:MOST])
            lines.append(f"- {escaped(why)}\n  - {names}{more}")
        parts.append("\n".join(lines))
    rows = [[each.cell.name, str(each.state), each.why] for each in found.controls]
    parts.append(f"## Controls\n\n{Table(['control', 'as it must be', 'why not'], rows).markdown()}")
    return "\n\n".join(parts) + "\n"


def _table(found: Interop) -> Table:
    """For each server and scenario, how many cells passed."""
    rows = []
    for server in dict.fromkeys(each.cell.server for each in found.places):
        row = [server]
        for scenario in found.plan.scenarios:
            cells = [
                each for each in found.places if (each.cell.server, each.cell.scenario) == (server, scenario)
            ]
            passed = sum(each.state is State.PASSED for each in cells)
            row.append(f"{passed} of {len(cells)}" if cells else "")
        rows.append(row)
    return Table(["server", *found.plan.scenarios], rows)
