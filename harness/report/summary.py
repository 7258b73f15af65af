"""Summary of a run: what decides, on what proof, and with which programs. Pure functions of records."""

from __future__ import annotations

import datetime
import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .findings import accounts_left, counts, took_part
from .observations import PathSeen
from .plan import checks, how_far
from .records import Record, Verdict
from .standing import GROUPS, PromiseStanding, State, standings

__all__ = ["Decision", "Summary", "summary"]

UNCLEAR = {
    State.UNDECIDED: "could not be judged",
    State.NOT_RUN: "not run",
    State.UNSUPPORTED: "not supported",
}
FOREIGN = "foreign"
CONTRADICTED = "disagreement"
NOT_PROVEN = "not proven"


class Decision(enum.StrEnum):
    """The word at the top of a report."""

    OK = "RELEASE OK"
    NOT_OK = "RELEASE NOT OK"
    NO_VERDICT = "NO VERDICT"


@dataclass(frozen=True)
class Summary:
    """Everything that stands above the first heading of a report."""

    decision: Decision
    sentence: str
    """For example `35 of 36 promises hold, 1 could not be judged. Nothing was found wrong.`"""
    where: str
    """The target, when it was tested, and for how long."""
    groups: tuple[tuple[str, int, int], ...]
    """For each group of promises: how many hold, and how many there are."""
    not_judged: tuple[PromiseStanding, ...]
    """Promises that neither hold nor are broken."""
    proof: str
    took_part: tuple[str, ...]
    """Programs and the machine, as sentences."""
    accounts: str
    """Accounts that were left on somebody else's server; empty: none."""
    counts: str
    """Verdicts of checks."""


def summary(records: Sequence[Record]) -> Summary:
    """Of a run, whoever wrote its records."""
    found = standings(records)
    return Summary(
        _decision(records, found),
        _sentence(records, found),
        _where(records),
        tuple(_groups(found)),
        tuple(each for each in found if each.state in UNCLEAR),
        _proof(records),
        tuple(took_part(records)),
        accounts_left(records),
        counts(records),
    )


def _decision(records: Sequence[Record], found: Iterable[PromiseStanding]) -> Decision:
    """A check that failed decides also where it proves no promise of the list."""
    if any(each.verdict is Verdict.FAILED for each in records):
        return Decision.NOT_OK
    everything = not how_far(records) and all(each.state is State.HOLDS for each in found)
    return Decision.OK if everything else Decision.NO_VERDICT


def _sentence(records: Sequence[Record], found: Sequence[PromiseStanding]) -> str:
    states = [each.state for each in found]
    parts = [f"{states.count(State.HOLDS)} of {len(states)} promises hold"]
    parts += [f"{count} broken"] if (count := states.count(State.BROKEN)) else []
    parts += [f"{count} {words}" for state, words in UNCLEAR.items() if (count := states.count(state))]
    failed = sum(each.verdict is Verdict.FAILED for each in records)
    wrong = f"{failed} check{'s' if failed > 1 else ''} failed." if failed else "Nothing was found wrong."
    missing = how_far(records)
    return f"{f'{missing[:1].upper()}{missing[1:]}. ' if missing else ''}{', '.join(parts)}. {wrong}"


def _groups(found: Sequence[PromiseStanding]) -> Iterable[tuple[str, int, int]]:
    for group in GROUPS.values():
        states = [each.state for each in found if each.group == group]
        yield group, states.count(State.HOLDS), len(states)


def _where(records: Sequence[Record]) -> str:
    targets = ", ".join(dict.fromkeys(each.target for each in records if each.target))
    ran = checks(records)
    if not ran:
        return targets
    began = min(each.time for each in ran)
    seconds = round(max(each.time + each.duration for each in ran) - began)
    day = datetime.datetime.fromtimestamp(began, datetime.UTC)
    minutes = f"{seconds // 60} min " if seconds >= 60 else ""
    return f"{targets}, {day.day} {day:%b %Y %H:%M} UTC, {minutes}{seconds % 60} s"


def _proof(records: Iterable[Record]) -> str:
    """What the paths rest on; says so if no path was observed."""
    paths = [path for each in records for path in each.seen(PathSeen)]
    if not paths:
        return "no path of calls or realtime data was observed"
    legs = [leg for path in paths for leg in path.legs]
    loads = [leg.delivered or leg.attempted for leg in legs]
    packets = sum(load.packets for load in loads if load is not None)
    stream = sum(load.tcp_bytes for load in loads if load is not None)
    verdicts = [path.verdict for path in paths]
    strangers = sorted({name for path in paths if path.verdict == FOREIGN for name in path.by})
    proven = len(paths) - verdicts.count(NOT_PROVEN) - verdicts.count(CONTRADICTED)
    parts = [
        f"{packets:,} packets and {stream:,} bytes over TCP on {len(legs)} legs of {len(paths)} paths",
        f"witnesses agree on {proven} of them",
        f"foreign hosts on a path: {', '.join(strangers) or 'none'}",
    ]
    return "; ".join(parts)
