"""Comparison of a run with an earlier one: what broke, healed, is new or gone, and which times are longer.

Pure functions of records. A time is said to be longer only where it is so by more than chance makes it, and always with
the load of both machines: a busy machine is slower, and its server is not to blame.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass

from .figures import Figure, figures
from .plan import checks, ended
from .records import Record, Verdict

__all__ = ["Comparison", "Slower", "compare"]

SLOWER = 1.5
"""Factor from which on a time is told."""
LEAST = {"s": 0.1, "ms": 50.0, "us": 50_000.0}
"""Difference from which on a time is told: below it is the noise of any machine."""
MOST_SLOWER = 12
"""Times that are named in a sentence."""


@dataclass(frozen=True)
class Slower:
    """A time that was shorter in the earlier run."""

    check: str
    before: Figure
    now: Figure

    @property
    def factor(self) -> float:
        return self.now.value / self.before.value if self.before.value > 0 else float("inf")

    @property
    def text(self) -> str:
        """For example `calls.ring: first audio 310 -> 1,060 ms`."""
        return f"{self.check}: {self.now.name} {self.before.amount} -> {self.now.amount}"


@dataclass(frozen=True)
class Comparison:
    """Differences from an earlier run to this one, by the names of checks."""

    earlier: str
    """Name of the earlier run, with its day."""
    broken: tuple[str, ...] = ()
    """Passed before, failed now."""
    healed: tuple[str, ...] = ()
    """Failed before, passed now."""
    undecided: tuple[str, ...] = ()
    """Had a verdict before, and has none now."""
    new: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    slower: tuple[Slower, ...] = ()
    machines: str = ""
    """Load of both machines, as a sentence."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """Everything, the worst first."""
        found = [f"compared with {self.earlier}: {self._counts()}"]
        for title in ("broken", "undecided", "healed", "new", "gone"):
            if names := getattr(self, title):
                found.append(f"{title}: {', '.join(names)}")
        if self.slower:
            shown = "; ".join(each.text for each in self.slower[:MOST_SLOWER])
            more = len(self.slower) - MOST_SLOWER
            found.append(f"slower: {shown}{f'; and {more} more' if more > 0 else ''}")
        return (*found, *filter(None, [self.machines]))

    def _counts(self) -> str:
        of: dict[str, Sized] = {"broken": self.broken, "healed": self.healed, "undecided": self.undecided}
        of |= {"new": self.new, "gone": self.gone, "slower": self.slower}
        return ", ".join(f"{len(names)} {title}" for title, names in of.items())


def compare(earlier: Sequence[Record], now: Sequence[Record]) -> Comparison:
    """Of two runs of the same server, or of two servers."""
    before, after = _verdicts(earlier), _verdicts(now)
    both = [name for name in after if name in before]
    return Comparison(
        _name(earlier),
        broken=tuple(each for each in both if after[each] is Verdict.FAILED is not before[each]),
        healed=tuple(
            each for each in both if before[each] is Verdict.FAILED and after[each] is Verdict.PASSED
        ),
        undecided=tuple(
            each
            for each in both
            if before[each] in (Verdict.PASSED, Verdict.FAILED)
            and after[each] not in (Verdict.PASSED, Verdict.FAILED)
        ),
        new=tuple(each for each in after if each not in before),
        gone=tuple(each for each in before if each not in after),
        slower=tuple(_slower(earlier, now)),
        machines=_machines(earlier, now),
    )


def _verdicts(records: Sequence[Record]) -> Mapping[str, Verdict]:
    """The worst of each check; what was planned and not run has none."""
    found: dict[str, Verdict] = {}
    order = (Verdict.FAILED, Verdict.UNDECIDED, Verdict.PASSED)
    for each in checks(records):
        if each.verdict is not Verdict.NOT_RUN:
            both = {each.verdict, found.get(each.check, each.verdict)}
            found[each.check] = next((verdict for verdict in order if verdict in both), each.verdict)
    return found


def _slower(earlier: Sequence[Record], now: Sequence[Record]) -> Iterator[Slower]:
    """The largest factor first."""
    before, after = _times(earlier), _times(now)
    pairs = (Slower(key[0], before[key], after[key]) for key in after if key in before)
    yield from sorted(filter(_matters, pairs), key=lambda each: each.factor, reverse=True)


def _times(records: Sequence[Record]) -> Mapping[tuple[str, str, str], Figure]:
    return {
        (record.check, each.name, each.unit): each
        for record in checks(records)
        for each in figures(record)
        if each.is_time
    }


def _matters(each: Slower) -> bool:
    return each.factor >= SLOWER and each.now.value - each.before.value >= LEAST[each.now.unit]


def _machines(earlier: Sequence[Record], now: Sequence[Record]) -> str:
    loads = []
    for what, records in (("then", earlier), ("now", now)):
        end = ended(records)
        known = end is not None and end.load is not None
        loads.append(
            f"load {end.load:g} on {end.cores} cores {what}" if end and known else f"{what} not known"
        )
    return f"machines: {', '.join(loads)}"


def _name(records: Sequence[Record]) -> str:
    names = ", ".join(dict.fromkeys(each.run for each in records)) or "an empty run"
    began = min((each.time for each in records), default=0.0)
    day = datetime.datetime.fromtimestamp(began, datetime.UTC)
    return f"{names} ({day.day} {day:%b %Y})"
