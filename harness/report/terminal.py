"""A run at a terminal, in lines of 80 columns: pure functions of records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..text import clean
from .findings import Finding, accounts_left, counts, findings
from .observations import PathSeen
from .plan import how_far
from .records import Record, Verdict
from .sections import about_traffic
from .tables import WIDTH, wrapped

__all__ = ["render_check", "render_end"]

INDENT = " " * 12


def render_check(record: Record) -> str:
    """One check that ended: verdict, name and seconds; below them its reason, its paths and what to know."""
    seconds = f"{record.duration:.2f} s"
    name = f"{record.verdict:11} {clean(record.check)}"
    room = WIDTH - len(name) - 1
    head = f"{name} {seconds:>{room}}" if room >= len(seconds) else f"{name} {seconds}"
    lines = (
        [(("reason: " if record.verdict is Verdict.PASSED else ""), record.reason)] if record.reason else []
    )
    if places := [f"{name} in {network}" for name, network in record.profiles.items() if network not in name]:
        lines.append(("", ", ".join(places)))
    for path in record.seen(PathSeen):
        about = ", ".join(filter(None, (path.subject, path.phase)))
        lines.append(("path: ", f"{about}: {path.name}"))
    lines += [("note: ", note) for note in record.notes]
    return "\n".join(
        [head, *(wrapped(f"{what}{text}", first=INDENT, indent=f"{INDENT}  ") for what, text in lines)]
    )


def render_end(records: Sequence[Record], problems: Sequence[str] = ()) -> str:
    """The end of a run: tables of calls and swarms, then what is wrong, undecided or left out, and the counts last."""
    parts = [section.text() for section in about_traffic(records)]
    if problems:
        parts.append("\n".join(["COULD NOT BE READ", *(wrapped(each, first="- ") for each in problems)]))
    for title, found in findings(records).items():
        parts.append("\n".join([title.upper(), *(line for each in found for line in _finding(each))]))
    parts += [wrapped(note) for each in records if each.is_head for note in each.notes]
    parts += [wrapped(f"{left}.")] if (left := accounts_left(records)) else []
    parts += [wrapped(f"{missing}.")] if (missing := how_far(records)) else []
    return "\n\n".join([*parts, wrapped(f"{counts(records)}.")])


def _finding(finding: Finding) -> Iterator[str]:
    yield wrapped(", ".join(finding.checks), first="- ")
    yield wrapped(finding.reason, first="    ")
    if finding.to_do:
        yield f"    cause {finding.cause}; what to change:"
        yield from (wrapped(each, first="      ", indent="        ") for each in finding.to_do)
    if finding.not_reached:
        yield wrapped(
            f"not reached because of it: {', '.join(finding.not_reached)}", first="    ", indent="      "
        )
