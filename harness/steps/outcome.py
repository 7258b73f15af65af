"""What a check finds, and the registry that says which checks there are.

A check is a plain function `(target, devices...) -> Outcome` with the decorator `@check`. It collects in
`current_outcome()`. The decorator adds the clock, the capabilities and the recording; it turns an exception into
verdict `error`, because a crash of ours is no finding about the target, and keeps what was collected before.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from ..clients.control import Ledgers, ServiceLedger
from ..clients.core.eras import CoreUnsupported
from ..hosts import MissingCapability
from ..report.records import ACCOUNTS_LEFT, Record, Verdict
from ..target import Impact, Target
from ..waiting import WaitTimeout

__all__ = [
    "CHECKS",
    "Check",
    "Outcome",
    "PromiseBroken",
    "Sink",
    "check",
    "current_outcome",
    "recording",
    "relay_ledger",
    "turn_ledger",
]

log = logging.getLogger(__name__)
P = ParamSpec("P")


class PromiseBroken(Exception):
    """Ends a check with verdict `failed`: without this promise, nothing that follows can be tried."""


@dataclass
class Outcome:
    """Collects expectations, measurements and notes. It is true when the check passed."""

    verdict: Verdict = Verdict.PASSED
    reasons: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    measurements: dict[str, Any] = field(default_factory=dict)
    paths: dict[str, str] = field(default_factory=dict)
    clients: dict[str, str] = field(default_factory=dict)
    evidence: list[Path] = field(default_factory=list)
    """Finished files that back what was found."""

    def expect(self, condition: object, sentence: str) -> Outcome:
        """If the condition does not hold, the target failed, and `sentence` says how."""
        if not condition:
            self.verdict = Verdict.FAILED
            self.reasons.append(sentence)
        return self

    @contextmanager
    def expect_to_arrive(self, *failures: type[Exception], what: str = "") -> Iterator[None]:
        """What ends by deadline inside this block is a failure of the target, with the wait's own words.

        `failures` are further exceptions that mean the same: a refused connection, a protocol error. `what`
        says what the block was about, where the words of a wait alone would not tell an operator.
        """
        expected: tuple[type[Exception], ...] = (WaitTimeout, *failures)
        try:
            yield
        except expected as error:
            self.expect(False, f"{what}: {error}" if what else str(error))

    def note(self, text: str) -> Outcome:
        self.notes.append(text)
        return self

    def include(self, other: Outcome) -> Outcome:
        """Take over what another outcome found; the worse verdict stays."""
        if not other:
            order = [Verdict.PASSED, Verdict.SKIPPED, Verdict.UNSUPPORTED, Verdict.FAILED, Verdict.ERROR]
            self.verdict = max(self.verdict, other.verdict, key=order.index)
        self.reasons += other.reasons
        self.notes += other.notes
        self.measurements.update(other.measurements)
        self.paths.update(other.paths)
        self.clients.update(other.clients)
        self.evidence += other.evidence
        return self

    @property
    def reason(self) -> str:
        return "; ".join(self.reasons)

    def __bool__(self) -> bool:
        return self.verdict is Verdict.PASSED

    def __repr__(self) -> str:
        return f"<{self.verdict}{': ' if self.reasons else ''}{self.reason}>"


@dataclass(frozen=True)
class Check:
    """One entry of the registry."""

    name: str
    requirements: tuple[str, ...]
    needs: frozenset[str]
    impact: Impact
    sentence: str
    run: Callable[..., Outcome]
    server: tuple[str, ...] = ()
    """Arguments that an embedded server is started with for this check."""

    def record(self, target: Target, outcome: Outcome, started: float, duration: float) -> None:
        """Give what was found to whoever is recording."""
        run, door = _door.get()
        record = Record(
            run=run,
            check=self.name,
            verdict=outcome.verdict,
            time=started,
            duration=duration,
            target=target.name,
            requirements=self.requirements,
            reason=outcome.reason,
            notes=tuple(outcome.notes),
            clients=dict(outcome.clients),
            paths=dict(outcome.paths),
            measurements=dict(outcome.measurements),
            door=door,
        )
        for sink in _sinks.get():
            sink(record, outcome.evidence)


CHECKS: dict[str, Check] = {}
"""Every check by name, for example `mail.idle_reports_new_mail`."""

Sink = Callable[[Record, Sequence[Path]], None]
"""Gets a record whose `evidence` is still empty, and the files that belong there."""

_sinks: ContextVar[tuple[Sink, ...]] = ContextVar("sinks", default=())
_door: ContextVar[tuple[str, str]] = ContextVar("door", default=("", ""))
_running: ContextVar[Outcome | None] = ContextVar("running", default=None)


def current_outcome() -> Outcome:
    """What the running check collects in: it counts also when the check ends with an exception.

    Outside of any check it is a new one.
    """
    running = _running.get()
    return Outcome() if running is None else running


@contextmanager
def recording(sink: Sink, *, run: str, door: str) -> Iterator[None]:
    """Give the record of every check that ends inside this block to `sink`."""
    sinks = _sinks.set((*_sinks.get(), sink))
    named = _door.set((run, door))
    try:
        yield
    finally:
        _sinks.reset(sinks)
        _door.reset(named)


def check(
    *requirements: str,
    needs: tuple[str, ...] = (),
    impact: Impact = Impact.LIVE_SAFE,
    server: tuple[str, ...] = (),
) -> Callable[[Callable[Concatenate[Target, P], Outcome]], Callable[Concatenate[Target, P], Outcome]]:
    """Register a check that proves `requirements` on a target with the capabilities `needs`.

    `impact`: what it does to a server that people use; above what the target allows, the check is left out.
    `server`: see `Check`.
    """

    def register(
        function: Callable[Concatenate[Target, P], Outcome],
    ) -> Callable[Concatenate[Target, P], Outcome]:
        name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"

        @functools.wraps(function)
        def run(target: Target, /, *args: P.args, **kwargs: P.kwargs) -> Outcome:
            started, clock = time.time(), time.monotonic()
            outcome = _left_out(entry, target)
            if outcome is None:
                with _counting_accounts(target) as counted:
                    outcome = _guarded(lambda: function(target, *args, **kwargs), name)
                outcome.measurements |= counted
                _name_what_was_not_verified(outcome, target)
            entry.record(target, outcome, started, time.monotonic() - clock)
            return outcome

        entry = Check(
            name, requirements, frozenset(needs), impact, _first_line(function.__doc__), run, server
        )
        CHECKS[name] = entry
        return run

    return register


def relay_ledger(outcome: Outcome, target: Target, *, otherwise: str) -> ServiceLedger | None:
    """What the relay says that it carried; without a ledger None, and a note that names the weaker witness."""
    ledgers = _ledgers(outcome, target, otherwise)
    return None if ledgers is None else ledgers.iroh_relay


def turn_ledger(outcome: Outcome, target: Target, *, otherwise: str) -> ServiceLedger | None:
    """What TURN says that it carried; without a ledger None, and a note that names the weaker witness."""
    ledgers = _ledgers(outcome, target, otherwise)
    return None if ledgers is None else ledgers.turn


def _ledgers(outcome: Outcome, target: Target, otherwise: str) -> Ledgers | None:
    if target.control is None or "ledger" not in target.capabilities:
        outcome.note(f"the target keeps no ledger: {otherwise}")
        return None
    return target.control.ledger()


def _left_out(entry: Check, target: Target) -> Outcome | None:
    if missing := sorted(entry.needs - target.capabilities):
        return Outcome(Verdict.UNSUPPORTED, [f"{target.name} has no {', '.join(missing)}"])
    if entry.impact.within(target.impact):
        return None
    allow = (
        "--impact leaves_traces"
        if entry.impact is Impact.LEAVES_TRACES
        else f"--i-own-this-server {target.name}"
    )
    return Outcome(Verdict.SKIPPED, [f"the check is {entry.impact}: {target.name} gets it only with {allow}"])


@contextmanager
def _counting_accounts(target: Target) -> Iterator[dict[str, int]]:
    """On somebody else's server, measure how many accounts a check leaves there."""
    counted: dict[str, int] = {}
    target.accounts.begin()
    before = target.accounts.left_behind
    yield counted
    if not target.is_ours:
        counted[ACCOUNTS_LEFT] = target.accounts.left_behind - before


def _name_what_was_not_verified(outcome: Outcome, target: Target) -> None:
    if target.pinned is not None:
        outcome.note(
            "nobody vouches for the target's certificates: those that it showed at first were pinned"
        )


def _guarded(function: Callable[[], Outcome], name: str) -> Outcome:
    collected = Outcome()
    token = _running.set(collected)
    try:
        return function()
    except PromiseBroken as broken:
        end = Outcome(Verdict.FAILED, [str(broken)])
    except MissingCapability as missing:
        end = Outcome(Verdict.SKIPPED, [str(missing)])
    except CoreUnsupported as unsupported:
        end = Outcome(Verdict.UNSUPPORTED, [str(unsupported)])
    except Exception as error:
        log.exception("%s could not come to a verdict", name)
        end = Outcome(Verdict.ERROR, [f"{type(error).__name__}: {error}"])
    finally:
        _running.reset(token)
    return collected.include(end)


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]
