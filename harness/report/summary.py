"""Summary of a run: what decides, on what proof, and with which programs. Pure functions of records."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .findings import accounts_left, counts, took_part
from .observations import PathSeen
from .plan import checks, ended, how_far
from .promises import PROMISES
from .records import Record, Verdict
from .release import Decision, Finding, Release, must_list, verdict
from .release import State as MustState
from .standing import GROUPS, PromiseStanding, State, standings

__all__ = ["Decision", "Point", "Summary", "summary"]

UNCLEAR = {
    State.UNDECIDED: "could not be judged",
    State.NOT_RUN: "not run",
    State.UNSUPPORTED: "not supported",
}
FOREIGN = "foreign"
CONTRADICTED = "disagreement"
NOT_PROVEN = "not proven"


@dataclass(frozen=True)
class Point:
    """A must, or a promise, that is told by itself above everything else."""

    name: str
    words: str
    """Its promise in a sentence; empty: it is none."""
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """Everything that stands above the first heading of a report."""

    decision: Decision
    sentence: str
    """For example `35 of 36 promises hold, 1 could not be judged. Nothing was found wrong.`"""
    counted: str
    """Name of what the groups count: `must`, or `promises` in a run without a must-list."""
    groups: tuple[tuple[str, int, int], ...]
    """For each group: how many hold, and how many there are."""
    not_judged: tuple[Point, ...]
    """Those that neither hold nor are broken, as far as they matter."""
    known_reds: tuple[Point, ...]
    """Broken musts that somebody answers for."""
    where: str = ""
    """The target, when it was tested, and for how long."""
    proof: str = ""
    took_part: tuple[str, ...] = ()
    """Programs and the machine, as sentences."""
    accounts: str = ""
    """Accounts that were left on somebody else's server; empty: none."""
    counts: str = ""
    """Verdicts of checks."""


def summary(records: Sequence[Record]) -> Summary:
    """Of a run, whoever wrote its records. With a must-list that decides, and nothing else."""
    must = must_list(records)
    about = _by_promises(records) if must is None else _by_must_list(verdict(records, must))
    missing = how_far(records)
    first = f"{missing}. " if missing else ""
    decision = Decision.NO_VERDICT if missing and about.decision is Decision.OK else about.decision
    return replace(
        about,
        decision=decision,
        sentence=first + about.sentence,
        where=_where(records),
        proof=_proof(records),
        took_part=(*took_part(records), *_machine(records)),
        accounts=accounts_left(records),
        counts=counts(records),
    )


def _by_must_list(found: Release) -> Summary:
    there = [each for each in found.findings if each.state is not MustState.NOT_THERE]
    groups = dict.fromkeys(_group(each.must.name) for each in there)
    return Summary(
        found.decision,
        f"{found.sentence}.",
        "must",
        tuple(
            (
                group,
                sum(each.state is MustState.HOLDS for each in there if _group(each.must.name) == group),
                sum(_group(each.must.name) == group for each in there),
            )
            for group in groups
        ),
        tuple(map(_point, found.in_state(MustState.NOT_JUDGED))),
        tuple(map(_point, found.in_state(MustState.KNOWN_RED))),
    )


def _point(finding: Finding) -> Point:
    promise = PROMISES.get(finding.must.name)
    return Point(finding.must.name, promise.sentence if promise else "", finding.reasons)


def _group(name: str) -> str:
    """Of a promise that of its ID; of a check its room."""
    if name in PROMISES:
        return GROUPS[name.partition("-")[0]]
    return name.partition(".")[0] if "." in name else "capabilities"


def _by_promises(records: Sequence[Record]) -> Summary:
    """A check that failed decides also where it proves no promise."""
    found = standings(records)
    failed = sum(each.verdict is Verdict.FAILED for each in records)
    states = [each.state for each in found]
    holds = all(state is State.HOLDS for state in states)
    parts = [f"{states.count(State.HOLDS)} of {len(states)} promises hold"]
    parts += [f"{count} broken"] if (count := states.count(State.BROKEN)) else []
    parts += [f"{count} {words}" for state, words in UNCLEAR.items() if (count := states.count(state))]
    wrong = f"{failed} check{'s' if failed > 1 else ''} failed." if failed else "Nothing was found wrong."
    return Summary(
        Decision.NOT_OK if failed else Decision.OK if holds else Decision.NO_VERDICT,
        f"{', '.join(parts)}. {wrong}",
        "promises",
        tuple(_groups(found)),
        tuple(
            Point(each.id, each.promise.sentence, each.reasons)
            for each in found
            if each.state in UNCLEAR and each.records
        ),
        (),
    )


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
    end = ended(records)
    seconds = round(max(each.time + each.duration for each in ran) - began if end is None else end.seconds)
    day = datetime.datetime.fromtimestamp(began, datetime.UTC)
    minutes = f"{seconds // 60} min " if seconds >= 60 else ""
    return f"{targets}, {day.day} {day:%b %Y %H:%M} UTC, {minutes}{seconds % 60} s"


def _machine(records: Sequence[Record]) -> Iterable[str]:
    """How busy it was, which decides what could be judged."""
    end = ended(records)
    if end is not None and end.cores:
        load = "" if end.load is None else f", load {end.load:g} at the end"
        yield f"machine: {end.cores} cores{load}; checks at the same time: {end.jobs}"


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
    unproven, contradicted = verdicts.count(NOT_PROVEN), verdicts.count(CONTRADICTED)
    witnesses = [f"witnesses agree on {len(paths) - unproven - contradicted} of them"]
    if contradicted:
        witnesses.append(f"contradict each other on {contradicted}")
    if unproven:
        witnesses.append(f"{unproven} had no witness outside the clients")
    parts = [
        f"{packets:,} packets and {stream:,} bytes over TCP on {len(legs)} legs of {len(paths)} paths",
        ", ".join(witnesses),
        f"foreign hosts on a path: {', '.join(strangers) or 'none'}",
    ]
    return "; ".join(parts)
