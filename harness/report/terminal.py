"""A run at a terminal, in lines of 80 columns: pure functions of records."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ..text import clean
from .findings import Finding, accounts_left, counts, findings
from .must import MustList
from .observations import PathSeen
from .plan import checks, how_far
from .records import Record, Verdict
from .release import State, must_list, verdict
from .sections import about_traffic
from .tables import WIDTH, wrapped

__all__ = ["render_check", "render_end"]

INDENT = " " * 12


def render_check(record: Record) -> str:
    """One check that ended: verdict, name and seconds; below them its reason, what to do, its paths, what to know."""
    seconds = f"{record.duration:.2f} s"
    name = f"{record.verdict:11} {clean(record.check)}"
    room = WIDTH - len(name) - 1
    head = f"{name} {seconds:>{room}}" if room >= len(seconds) else f"{name} {seconds}"
    lines = (
        [(("reason: " if record.verdict is Verdict.PASSED else ""), record.reason)] if record.reason else []
    )
    if advice := Finding((record.check,), record.reason, cause=record.cause).to_do:
        lines += [(f"cause {record.cause}; what to change: ", "; ".join(advice))]
    if places := [f"{name} in {network}" for name, network in record.profiles.items() if network not in name]:
        lines.append(("", ", ".join(places)))
    for path in record.seen(PathSeen):
        about = ", ".join(filter(None, (path.subject, path.phase)))
        lines.append(("path: ", f"{about}: {path.name}"))
    lines += [("note: ", note) for note in record.notes]
    return "\n".join(
        [head, *(wrapped(f"{what}{text}", first=INDENT, indent=f"{INDENT}  ") for what, text in lines)]
    )


def render_end(
    records: Sequence[Record], problems: Sequence[str] = (), *, directory: Path | None = None
) -> str:
    """The end of a run: tables of calls and swarms, what was left out, what is undecided and wrong, the verdict last.

    With the directory of the run, evidence is named by its path.
    """
    parts = [section.text() for section in about_traffic(records)]
    if problems:
        parts.append("\n".join(["COULD NOT BE READ", *(wrapped(each, first="- ") for each in problems)]))
    files = {each.check: _evidence(each, directory) for each in records if each.evidence}
    for title, found in reversed(findings(records).items()):
        parts.append("\n".join([title.upper(), *(line for each in found for line in _finding(each, files))]))
    parts += [wrapped(note) for each in records if each.is_head for note in each.notes]
    parts += [wrapped(f"{left}.")] if (left := accounts_left(records)) else []
    parts += [wrapped(f"{missing}.")] if (missing := how_far(records)) else []
    parts.append(wrapped(f"{counts(records)}."))
    if (must := must_list(records)) is not None:
        parts.append("\n".join(_release(records, must)))
    return "\n\n".join(parts)


def _release(records: Sequence[Record], must: MustList) -> Iterator[str]:
    """The musts that are the reason for the verdict, each with its checks, and the verdict.

    Reasons are told once: those of checks that were run stand above, but for what is said of known reds.
    """
    release = verdict(records, must)
    told = {each.check for each in checks(records)} - {each.check for each in must.known_reds}
    for state in (State.KNOWN_RED, State.NOT_JUDGED, State.BROKEN):
        if found := release.in_state(state):
            yield f"MUSTS: {state.upper()}"
        for each in found:
            yield wrapped(f"{each.must.name}: {', '.join(each.because_of)}", first="- ", indent="    ")
            for check, reason in zip(each.because_of, each.reasons, strict=False):
                if check not in told:
                    yield wrapped(reason, first="    ", indent="      ")
            told |= set(each.because_of)
        yield from [""] if found else []
    for known in release.healed:
        yield wrapped(f"{known.check} passes: take it off the known reds ({known.owner})")
    yield wrapped(f"{release.decision}: {release.sentence}.")


def _evidence(record: Record, directory: Path | None) -> str:
    """The file that backs a verdict, or the directory of several."""
    paths = [Path(each.path) for each in record.evidence]
    common = paths[0] if len(paths) == 1 else Path(os.path.commonpath([each.parent for each in paths]))
    return str(directory / common) if directory else str(common)


def _finding(finding: Finding, files: Mapping[str, str]) -> Iterator[str]:
    yield wrapped(", ".join(finding.checks), first="- ")
    yield wrapped(finding.reason, first="    ")
    for file in dict.fromkeys(files[each] for each in finding.checks if each in files):
        yield f"    evidence: {clean(file)}"
    if finding.to_do:
        yield f"    cause {finding.cause}; what to change:"
        yield from (wrapped(each, first="      ", indent="        ") for each in finding.to_do)
    if finding.not_reached:
        yield wrapped(
            f"not reached because of it: {', '.join(finding.not_reached)}", first="    ", indent="      "
        )
