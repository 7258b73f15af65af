"""Markdown out of records: a pure function."""

from __future__ import annotations

from collections.abc import Sequence

from .call_matrix import render_matrices
from .calls import render_calls
from .records import ACCOUNTS_LEFT, Record, Verdict
from .swarms import render_networks, render_swarms

__all__ = ["accounts_left", "counts", "render_markdown"]


def counts(records: Sequence[Record]) -> str:
    """For example `5 passed, 1 failed`; verdicts that did not occur are left out."""
    found = [(sum(record.verdict is verdict for record in records), verdict) for verdict in Verdict]
    return ", ".join(f"{number} {verdict}" for number, verdict in found if number) or "nothing ran"


def accounts_left(records: Sequence[Record]) -> str:
    """What a run left on a server of somebody else, as a sentence; empty when it left nothing or the server is ours."""
    left = {record.target: 0 for record in records}
    for record in records:
        left[record.target] += record.measurements.get(ACCOUNTS_LEFT, 0)
    return "; ".join(
        f"up to {count} accounts were left on {target}" for target, count in left.items() if count
    )


def render_markdown(name: str, records: Sequence[Record], machine: Sequence[str] = ()) -> str:
    """What ran where, a table of checks, what is wrong, which way the bytes took, calls and realtime data, notes."""
    lines = [
        f"# {name}",
        "",
        counts(records) + ".",
        "",
        *([*(f"- {sentence}" for sentence in machine), ""] if machine else []),
        *([f"{left}.", ""] if (left := accounts_left(records)) else []),
        "| check | requirements | verdict | seconds |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {r.check} | {', '.join(r.requirements)} | {r.verdict} | {r.duration:.2f} |" for r in records
    ]
    lines += _section(
        "What is wrong", [(r.check, r.reason) for r in records if r.verdict is not Verdict.PASSED]
    )
    if paths := [(r.check, phase, path) for r in records for phase, path in r.paths.items()]:
        lines += ["", "## Paths", "", "| check | phase | path |", "|---|---|---|"]
        lines += [f"| {check} | {phase} | {path} |" for check, phase, path in paths]
    if calls := render_calls(records):
        lines += ["", "## Calls", "", "```", calls, "```"]
    if matrices := render_matrices(records):
        lines += ["", "## Calls from network to network", "", "```", matrices, "```"]
    if swarms := render_swarms(records):
        lines += ["", "## Swarms", "", "```", swarms, "```"]
    if networks := render_networks(records):
        lines += ["", "## Realtime data from network to network", "", "```", networks, "```"]
    lines += _section("What to know", [(r.check, note) for r in records for note in r.notes])
    return "\n".join(lines) + "\n"


def _section(title: str, rows: Sequence[tuple[str, str]]) -> list[str]:
    if not rows:
        return []
    return ["", f"## {title}", "", *dict.fromkeys(f"- **{check}**: {text}" for check, text in rows)]
