"""The report of a run in Markdown: a pure function of records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .compare import Comparison
from .findings import Finding, accounts_left, counts, findings, took_part
from .plan import checks
from .records import Record
from .sections import every_section
from .standing import State, standings
from .summary import summary
from .tables import Section, Table, escaped

__all__ = ["render_markdown", "render_summary"]


def render_markdown(
    name: str,
    records: Sequence[Record],
    problems: Sequence[str] = (),
    *,
    since: Comparison | None = None,
    further: Sequence[Section] = (),
) -> str:
    """First what decides: counts, what is wrong, what nobody knows. Then all checks, and what was seen.

    `problems`: sentences on records that could not be read; `since`: differences to an earlier run; `further`: tables
    that are not made of its records.
    """
    parts = [_front(name, records), f"{counts(records)}."]
    parts += [_list(since.sentences)] if since else []
    parts += [_list(took_part(records))] if took_part(records) else []
    parts += [f"{escaped(left)}."] if (left := accounts_left(records)) else []
    parts += [*_problems(problems), *_findings(records), f"## Promises\n\n{_promises(records).markdown()}"]
    parts.append(f"## Checks\n\n{_checks(checks(records)).markdown()}")
    parts += [section.markdown() for section in (*every_section(records), *further)]
    if devices := _devices(records):
        parts.append(f"## Devices\n\n{devices.markdown()}")
    if notes := list(_notes(records)):
        parts.append("\n".join(["## What to know\n", *notes]))
    return "\n\n".join(parts) + "\n"


def render_summary(name: str, records: Sequence[Record], problems: Sequence[str] = ()) -> str:
    """The part that decides, short enough for the summary of a job: without what was measured."""
    parts = [_front(name, records), *_problems(problems), *_findings(records)]
    return "\n\n".join([*parts, f"## Promises\n\n{_promises(records).markdown()}"]) + "\n"


def _front(name: str, records: Sequence[Record]) -> str:
    found = summary(records)
    groups = ", ".join(f"{group} {holding}/{of}" for group, holding, of in found.groups)
    lines = [f"{found.counted}: {groups}", f"proof: {found.proof}"]
    for title, points in (("not judged", found.not_judged), ("known red", found.known_reds)):
        lines += [f"{title}: {each.name}: {'; '.join(each.reasons)}" for each in points]
    head = f"# {escaped(name)}\n\n**{found.decision}: {escaped(found.sentence)}**"
    return "\n\n".join(filter(None, [head, escaped(found.where), _list(lines)]))


def _problems(problems: Sequence[str]) -> list[str]:
    return [f"## Could not be read\n\n{_list(problems)}"] if problems else []


def _findings(records: Sequence[Record]) -> Iterator[str]:
    for title, found in findings(records).items():
        yield "\n".join([f"## {title}\n", *(line for each in found for line in _finding(each))])


def _promises(records: Sequence[Record]) -> Table:
    rows = [
        [
            each.id,
            each.promise.sentence,
            each.state,
            f"{each.passed} of {len(each.records)}" if each.records else "",
            "" if each.state is State.HOLDS else "; ".join(each.reasons),
        ]
        for each in standings(records)
    ]
    return Table(["promise", "in words", "state", "checks passed", "why"], rows)


def _list(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {escaped(each)}" for each in sentences)


def _finding(finding: Finding) -> Iterator[str]:
    names = ", ".join(f"**{escaped(each)}**" for each in finding.checks)
    yield f"- {names}: {escaped(finding.reason)}"
    if finding.to_do:
        yield f"  - cause `{finding.cause}`; what to change:"
        yield from (f"    - {escaped(each)}" for each in finding.to_do)
    if finding.not_reached:
        yield f"  - not reached because of it: {', '.join(map(escaped, finding.not_reached))}"


def _checks(records: Sequence[Record]) -> Table:
    rows = [
        [each.check, ", ".join(each.requirements), each.verdict, f"{each.duration:.2f}"] for each in records
    ]
    return Table(["check", "proves", "verdict", "seconds"], rows, frozenset({"seconds"}))


def _devices(records: Sequence[Record]) -> Table | None:
    """Programs and networks of each check's devices; what is the same in several checks is told for each."""
    rows = [
        [record.check, name, record.clients.get(name, ""), record.profiles.get(name, "one host")]
        for record in checks(records)
        for name in dict.fromkeys([*record.clients, *record.profiles])
    ]
    return Table(["check", "device", "client", "network"], rows) if rows else None


def _notes(records: Sequence[Record]) -> Iterator[str]:
    seeds = ((each.check, f"seed {each.seed}") for each in records if each.seed is not None)
    notes = ((each.check, note) for each in records for note in each.notes)
    for check, text in dict.fromkeys([*seeds, *notes]):
        yield f"- **{escaped(check)}**: {escaped(text)}"
