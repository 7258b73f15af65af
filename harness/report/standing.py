"""Standing of each promise after a run, and of all of them together: what a report says first.

A promise holds if every check that proves it passed. One that was not run, or could not be judged, does not hold.
Pure functions of records.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from .figures import Figure, figures
from .plan import checks
from .promises import PROMISES, Promise
from .records import Evidence, Record, Verdict

__all__ = ["GROUPS", "PromiseStanding", "State", "standings"]

GROUPS: Mapping[str, str] = {
    "DISC": "discovery",
    "MAIL": "mail",
    "FED": "federation",
    "TURN": "TURN",
    "IROH": "iroh relay",
    "E2E": "suite",
}
"""Name of each group of promises, by the beginning of its IDs."""


class State(enum.StrEnum):
    """Standing of a promise."""

    BROKEN = "broken"
    UNDECIDED = "undecided"
    NOT_RUN = "not run"
    """A check of it was left out or not reached, or the run has none."""
    UNSUPPORTED = "unsupported"
    """The target states, or answered, that it does not have this."""
    HOLDS = "holds"


@dataclass(frozen=True)
class PromiseStanding:
    """One promise, and everything that a run found about it."""

    id: str
    promise: Promise
    state: State
    records: tuple[Record, ...]
    """Results of the checks that prove it."""

    @property
    def group(self) -> str:
        return GROUPS[self.id.partition("-")[0]]

    @property
    def passed(self) -> int:
        """Number of its results that are passed."""
        return sum(each.verdict is Verdict.PASSED for each in self.records)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Sentences that say why it does not simply hold."""
        if not self.records:
            return ("no check of this run proves it",)
        return tuple(dict.fromkeys(each.reason for each in self.records if each.reason))

    @property
    def figures(self) -> list[Figure]:
        """All numbers that its checks measured, those that have a limit first."""
        found = [figure for each in self.records for figure in figures(each)]
        return sorted(found, key=lambda figure: figure.limit is None)

    @property
    def evidence(self) -> list[tuple[str, Evidence]]:
        """Files of its checks, each with its run."""
        return [(each.run, file) for each in self.records for file in each.evidence]


def standings(records: Sequence[Record]) -> tuple[PromiseStanding, ...]:
    """All promises, in the order of their list."""
    ran = checks(records)
    found = []
    for name, promise in PROMISES.items():
        proving = tuple(each for each in ran if name in each.requirements)
        found.append(PromiseStanding(name, promise, _state(each.verdict for each in proving), proving))
    return tuple(found)


def _state(verdicts: Iterable[Verdict]) -> State:
    found = set(verdicts)
    if Verdict.FAILED in found:
        return State.BROKEN
    if Verdict.UNDECIDED in found:
        return State.UNDECIDED
    if found - {Verdict.PASSED, Verdict.UNSUPPORTED} or not found:
        return State.NOT_RUN
    return State.HOLDS if Verdict.PASSED in found else State.UNSUPPORTED
