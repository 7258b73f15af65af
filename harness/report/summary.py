"""Markdown out of records: a pure function."""

from __future__ import annotations

from collections.abc import Sequence

from .records import Record, Verdict

__all__ = ["counts", "render_markdown"]


def counts(records: Sequence[Record]) -> str:
    """For example `5 passed, 1 failed`; verdicts that did not occur are left out."""
    found = [(sum(record.verdict is verdict for record in records), verdict) for verdict in Verdict]
    return ", ".join(f"{number} {verdict}" for number, verdict in found if number) or "nothing ran"


def render_markdown(name: str, records: Sequence[Record]) -> str:
    """A table of checks, then what is wrong, then what a reader must know."""
    lines = [
        f"# {name}",
        "",
        counts(records) + ".",
        "",
        "| check | requirements | verdict | seconds |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {r.check} | {', '.join(r.requirements)} | {r.verdict} | {r.duration:.2f} |" for r in records
    ]
    lines += _section(
        "What is wrong", [(r.check, r.reason) for r in records if r.verdict is not Verdict.PASSED]
    )
    lines += _section("What to know", [(r.check, note) for r in records for note in r.notes])
    return "\n".join(lines) + "\n"


def _section(title: str, rows: Sequence[tuple[str, str]]) -> list[str]:
    if not rows:
        return []
    return ["", f"## {title}", "", *dict.fromkeys(f"- **{check}**: {text}" for check, text in rows)]
