"""The sign-off: a pure function of the records of a run, among which is its must-list.

Only the must-list counts. A must that was not run is no sign-off, and an expired known red is red.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from .must import KnownRed, Must, MustList
from .plan import checks
from .records import Record, Verdict

__all__ = ["Decision", "Finding", "Release", "State", "must_list", "verdict"]


class Decision(enum.StrEnum):
    """The first line of a report."""

    OK = "RELEASE OK"
    NOT_OK = "RELEASE NOT OK"
    """At least one must is broken."""
    NO_VERDICT = "NO VERDICT"
    """Nothing of the must-list was found broken, and not all of it was judged."""


class State(enum.StrEnum):
    """How it stands with one must."""

    HOLDS = "holds"
    BROKEN = "broken"
    KNOWN_RED = "known red"
    """Broken, and somebody answers for it until a day that has not passed."""
    NOT_JUDGED = "not judged"
    NOT_THERE = "not there"
    """The server does not have it, and the must-list does not insist."""


@dataclass(frozen=True)
class Finding:
    """One must: its state, and a sentence on each check that is the reason for it."""

    must: Must
    state: State
    reasons: tuple[str, ...] = ()
    """Begin with the name of the check."""
    because_of: tuple[str, ...] = ()
    """Names of those checks."""


@dataclass(frozen=True)
class Release:
    """The verdict on a must-list."""

    decision: Decision
    sentence: str
    """For example `35 of 36 musts hold, 1 not judged; none is broken`."""
    findings: tuple[Finding, ...]
    healed: tuple[KnownRed, ...] = ()
    """Known reds whose check passes: they can be taken off the list."""

    def in_state(self, state: State) -> list[Finding]:
        return [each for each in self.findings if each.state is state]


def must_list(records: Sequence[Record]) -> MustList | None:
    """The must-list that a run was made for, out of its head; None: it was none."""
    found = [each for record in records if record.is_head for each in record.seen(MustList)]
    return found[-1] if found else None


def verdict(records: Sequence[Record], must: MustList) -> Release:
    """Judge a must-list. The day that known reds are held against is that of the last record, in UTC."""
    today = _day(records)
    found: dict[str, list[Record]] = {}
    for each in checks(records):
        found.setdefault(each.check, []).append(each)
    accepted = {each.check: each for each in must.known_reds if today <= each.expires}
    expired = {each.check: each for each in must.known_reds if today > each.expires}
    findings = tuple(_judged(each, found, accepted, expired) for each in must.musts)
    passed = {
        name for name, results in found.items() if {each.verdict for each in results} == {Verdict.PASSED}
    }
    decision = _decision({each.state for each in findings})
    healed = tuple(each for each in must.known_reds if each.check in passed)
    return Release(decision, _sentence(findings), findings, healed)


def _day(records: Sequence[Record]) -> str:
    last = max((each.time + each.duration for each in records), default=0.0)
    return datetime.datetime.fromtimestamp(last, datetime.UTC).date().isoformat()


def _judged(
    must: Must,
    found: Mapping[str, Sequence[Record]],
    accepted: Mapping[str, KnownRed],
    expired: Mapping[str, KnownRed],
) -> Finding:
    """The worst of its checks decides; where all that ran passed, those that the server cannot have do not count."""
    reasons: dict[State, dict[str, str]] = {}
    for name in must.checks:
        for state, reason in _states(name, found.get(name, ()), accepted, expired):
            reasons.setdefault(state, {}).setdefault(name, f"{name}: {reason}")
    for state in (State.BROKEN, State.NOT_JUDGED, State.KNOWN_RED):
        if state in reasons:
            return Finding(must, state, tuple(reasons[state].values()), tuple(reasons[state]))
    if State.HOLDS in reasons:
        return Finding(must, State.HOLDS)
    state = State.NOT_THERE if must.where_possible else State.NOT_JUDGED
    because_of = reasons.get(State.NOT_THERE, {})
    return Finding(must, state, tuple(because_of.values()) or ("no check shows it",), tuple(because_of))


def _states(
    name: str,
    results: Sequence[Record],
    accepted: Mapping[str, KnownRed],
    expired: Mapping[str, KnownRed],
) -> Iterator[tuple[State, str]]:
    if not results:
        yield State.NOT_JUDGED, "it was not run"
    for result in results:
        match result.verdict:
            case Verdict.PASSED:
                yield State.HOLDS, ""
            case Verdict.FAILED if known := accepted.get(name):
                yield State.KNOWN_RED, f"{result.reason} ({known.owner} answers for it until {known.expires})"
            case Verdict.FAILED if known := expired.get(name):
                yield (
                    State.BROKEN,
                    f"{result.reason} ({known.owner} answered for it until {known.expires}, which has passed)",
                )
            case Verdict.FAILED:
                yield State.BROKEN, result.reason
            case Verdict.NOT_REACHED if result.because_of in accepted:
                yield State.KNOWN_RED, result.reason
            case Verdict.UNSUPPORTED:
                yield State.NOT_THERE, result.reason
            case other:
                yield State.NOT_JUDGED, f"{other}: {result.reason}"


def _decision(states: set[State]) -> Decision:
    if State.BROKEN in states:
        return Decision.NOT_OK
    shown = bool(states & {State.HOLDS, State.KNOWN_RED})
    return Decision.OK if shown and State.NOT_JUDGED not in states else Decision.NO_VERDICT


def _sentence(findings: Sequence[Finding]) -> str:
    def count(state: State) -> int:
        return sum(each.state is state for each in findings)

    there = len(findings) - count(State.NOT_THERE)
    words = [f"{count(State.HOLDS)} of {there} musts hold"]
    words += [f"{n} broken"] if (n := count(State.BROKEN)) else []
    words += [f"{n} known red"] if (n := count(State.KNOWN_RED)) else []
    words += [f"{n} not judged"] if (n := count(State.NOT_JUDGED)) else []
    words += [f"{n} that this server does not have"] if (n := count(State.NOT_THERE)) else []
    nothing_wrong = "" if count(State.BROKEN) + count(State.KNOWN_RED) else "; none is broken"
    return ", ".join(words) + nothing_wrong
