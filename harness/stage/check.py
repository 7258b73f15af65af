"""The registry of checks, and what surrounds each of them.

A check is a plain function `(stage, outcome)` with the decorator `@check`: it takes what it needs from the stage, and
collects what it finds in the outcome. The decorator adds the server as it is wanted, the clock, the capabilities and
the recording. It turns an exception into verdict `undecided`, because a crash of ours is no finding about the target,
and keeps what was collected before.
"""

from __future__ import annotations

import functools
import inspect
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Concatenate, ParamSpec

from ..calls.quality import MachineTooSlow
from ..causes.catalogue import CATALOGUE
from ..clients.core.eras import CoreUnsupported
from ..clients.core.errors import CoreDied, CoreUnusable
from ..clients.mail.imap import ImapError, ImapLimited
from ..clients.mail.smtp import SmtpError
from ..clients.mail.web import WebError
from ..clients.relay.client import RelayError
from ..clients.turn.client import TurnError
from ..errors import plain
from ..hosts import MissingCapability
from ..report.observations import AccountsLeft
from ..report.records import Record, Verdict
from ..servers.server import ContradictingWants, Unsupported, Wants
from ..target import Impact, Service, Target
from .causes import cause_of
from .options import Choice
from .outcome import OursToMend, Outcome, PromiseBroken
from .stage import Stage

__all__ = ["CHECKS", "Check", "Sink", "check", "entry_of", "explained_by", "recording", "same_cause"]

log = logging.getLogger(__name__)
P = ParamSpec("P")
NOTHING_WANTED = Wants()
OF_THIS_MACHINE: Mapping[str, Callable[[Choice], None]] = {"calls": lambda choice: choice.peers.require()}
"""Needs that say nothing about the target. Each raises `MissingCapability`, which says how this machine gets it."""


@dataclass(frozen=True)
class Check:
    """One entry of the registry."""

    name: str
    requirements: tuple[str, ...]
    needs: frozenset[str]
    """Capabilities without which the target does not have what is promised, or this machine cannot look."""
    disturbs: tuple[Service, ...]
    """Services whose programs it ends or stops."""
    impact: Impact
    wants: Wants
    """Properties of the server that one is started with for this check, where that is up to us."""
    after: tuple[str, ...]
    """Checks whose failure explains that of this one: then it is not reached."""
    sentence: str
    run: Callable[..., Outcome]
    windows: tuple[str, ...] = ()
    """People whose devices must have call windows."""
    between_networks: bool = False
    """It looks between pairs of networks, and takes them as `pairs`."""

    @property
    def services(self) -> frozenset[Service]:
        """Those that a server must run so that this check can find something: mail, and those of its needs."""
        of_needs = {"turn": Service.TURN, "turns": Service.TURN}
        relays = {"iroh_relay": Service.IROH_RELAY, "relay_v1": Service.IROH_RELAY}
        found = {service for need, service in (of_needs | relays).items() if need in self.needs}
        return frozenset({Service.MAIL, *found, *self.disturbs})

    @property
    def room(self) -> str:
        """The module that it stands in, such as `mail`."""
        return self.name.partition(".")[0]


CHECKS: dict[str, Check] = {}
"""Every check by name, for example `mail.idle_reports_new_mail`."""

Sink = Callable[[Record, Sequence[Path]], None]
"""Gets a record whose `evidence` is still empty, and the files that belong there."""

_sinks: ContextVar[tuple[Sink, ...]] = ContextVar("sinks", default=())
_door: ContextVar[tuple[str, str]] = ContextVar("door", default=("", ""))


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
    disturbs: tuple[Service, ...] = (),
    impact: Impact = Impact.LIVE_SAFE,
    wants: Wants = NOTHING_WANTED,
    after: tuple[str, ...] = (),
    windows: tuple[str, ...] = (),
) -> Callable[[Callable[Concatenate[Stage, Outcome, P], None]], Callable[Concatenate[Stage, P], Outcome]]:
    """Register a check that proves `requirements`. The parameters are the fields of `Check`.

    `impact`: above what the target allows, the check is left out.
    """

    def register(
        function: Callable[Concatenate[Stage, Outcome, P], None],
    ) -> Callable[Concatenate[Stage, P], Outcome]:
        name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"

        @functools.wraps(function)
        def run(stage: Stage, /, *args: P.args, **kwargs: P.kwargs) -> Outcome:
            started, clock = time.time(), time.monotonic()
            if entry.between_networks and stage.session.choice.pairs:
                kwargs.setdefault("pairs", stage.session.choice.pairs)
            outcome = _left_out(entry, stage)
            if outcome is None:
                outcome = collected = Outcome()
                with _counting_accounts(stage.target, outcome):
                    _guarded(entry, stage, outcome, lambda here: function(here, collected, *args, **kwargs))
                    _explain(entry, stage, outcome)
                _put_behind_its_cause(entry, stage, outcome)
            stage.results[name] = outcome
            _record(entry, stage, outcome, started, time.monotonic() - clock)
            return outcome

        entry = Check(
            name,
            requirements,
            frozenset(needs),
            disturbs,
            impact,
            wants,
            after,
            (function.__doc__ or "").strip().partition("\n")[0],
            run,
            windows,
            "pairs" in inspect.signature(function).parameters,
        )
        CHECKS[name] = entry
        return run

    return register


def entry_of(run: Callable[..., Outcome]) -> Check:
    """The entry of a function that was decorated. Raises `KeyError` for any other."""
    for entry in CHECKS.values():
        if entry.run is run:
            return entry
    raise KeyError(f"{run.__qualname__} is no check")


def _left_out(entry: Check, stage: Stage) -> Outcome | None:
    target = stage.target
    if missing := sorted(entry.needs - stage.capabilities - OF_THIS_MACHINE.keys()):
        return Outcome(Verdict.UNSUPPORTED, [stage.explain_missing(each) for each in missing])
    if not entry.impact.within(target.impact):
        allow = (
            "--impact leaves_traces"
            if entry.impact is Impact.LEAVES_TRACES
            else f"--i-own-this-server {target.name}"
        )
        return Outcome(
            Verdict.SKIPPED, [f"the check is {entry.impact}: {target.name} gets it only with {allow}"]
        )
    for name in entry.after:
        before = stage.results.get(name)
        if before is not None and before.verdict in (Verdict.FAILED, Verdict.NOT_REACHED):
            cause = before.because_of or name
            [reason, *_] = before.reasons
            why = reason if before.because_of else f"{cause} failed before: {reason}"
            return Outcome(Verdict.NOT_REACHED, [why], because_of=cause, cause=before.cause)
    try:
        for name in sorted(entry.needs & OF_THIS_MACHINE.keys()):
            OF_THIS_MACHINE[name](stage.session.choice)
        stage.session.choice.peers.require_windows(entry.windows)
    except MissingCapability as missing_here:
        return Outcome(Verdict.SKIPPED, [str(missing_here)])
    return None


def _guarded(entry: Check, stage: Stage, outcome: Outcome, function: Callable[[Stage], None]) -> None:
    """Run a check, and give whatever ends it to the outcome."""
    try:
        for service in entry.disturbs:
            stage.server.program(service)
        with stage.served(entry.wants, outcome) as served:
            function(served)
    except PromiseBroken as broken:
        outcome.include(Outcome(Verdict.FAILED, [str(broken)], cause=broken.cause))
    except ImapLimited as limited:
        outcome.include(Outcome(Verdict.UNDECIDED, [f"the server limits us, try it again later: {limited}"]))
    except (ImapError, SmtpError, WebError, TurnError, RelayError) as refusal:
        outcome.include(Outcome(Verdict.FAILED, [str(refusal)], cause=cause_of(refusal)))
    except MissingCapability as missing:
        outcome.include(Outcome(Verdict.SKIPPED, [str(missing)]))
    except (CoreUnsupported, Unsupported, ContradictingWants) as unsupported:
        outcome.include(Outcome(Verdict.UNSUPPORTED, [str(unsupported)]))
    except (MachineTooSlow, OursToMend, CoreDied, CoreUnusable) as ours:
        outcome.include(Outcome(Verdict.UNDECIDED, [str(ours)]))
    except Exception as error:
        log.exception("%s could not come to a verdict", entry.name)
        outcome.include(Outcome(Verdict.UNDECIDED, [f"a program of ours failed: {plain(error)}"]))
    if stage.target.pinned is not None:
        outcome.note(
            "nobody vouches for the target's certificates: those that it showed at first were pinned"
        )


def _explain(entry: Check, stage: Stage, outcome: Outcome) -> None:
    """Of a server of somebody else: a second look may show what the check itself could not tell."""
    if outcome.verdict is Verdict.FAILED and not outcome.cause and stage.session.choice.is_remote:
        outcome.cause = stage.session.second_look.cause_of(entry.name, stage.target, stage.host)


def _put_behind_its_cause(entry: Check, stage: Stage, outcome: Outcome) -> None:
    """What a cause explains that a check before has named is no failure of its own: it is not reached."""
    if name := explained_by(entry.name, outcome, stage.results):
        outcome.verdict, outcome.because_of = Verdict.NOT_REACHED, name
        outcome.reasons = [same_cause(name, outcome.reason)]


def explained_by(check: str, outcome: Outcome, results: Mapping[str, Outcome]) -> str:
    """Name of the check in `results` that failed by the cause that explains this failure; empty: none did."""
    cause = CATALOGUE.get(outcome.cause)
    if outcome.verdict is not Verdict.FAILED or cause is None or not cause.accounts_for(check):
        return ""
    for name, before in results.items():
        if before.verdict is Verdict.FAILED and before.cause == cause.name and name != check:
            return name
    return ""


def same_cause(name: str, reason: str) -> str:
    """The reason of a check that is `explained_by` another."""
    return f"{name} failed before, for the same cause: {reason}"


@contextmanager
def _counting_accounts(target: Target, outcome: Outcome) -> Iterator[None]:
    """On somebody else's server, tell how many accounts were left there since a check last told it."""
    target.accounts.begin()
    try:
        yield
    finally:
        if not target.is_ours:
            outcome.observe(AccountsLeft(target.accounts.left_behind))
            target.accounts.left_behind = 0


def _record(entry: Check, stage: Stage, outcome: Outcome, started: float, duration: float) -> None:
    """Give everything that was found to whoever is recording."""
    run, door = _door.get()
    record = Record(
        run=run,
        check=entry.name,
        verdict=outcome.verdict,
        time=started,
        duration=duration,
        target=stage.target.name,
        requirements=entry.requirements,
        reason=outcome.reason,
        notes=tuple(outcome.notes),
        clients=dict(outcome.clients),
        profiles=dict(outcome.profiles),
        server=stage.server.versions,
        seed=outcome.seed,
        because_of=outcome.because_of,
        cause=outcome.cause,
        observations=tuple(outcome.observations),
        door=door,
    )
    for sink in _sinks.get():
        sink(record, outcome.evidence)
