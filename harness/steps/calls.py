"""People who call each other, on one host or in a lab: who can, the agents of one call, its set-up, and talking."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from ..calls.balance import CallAccount, account, carried_by_sender
from ..calls.call import Call, Media, Party, TalkResult, parties, place
from ..calls.peers import IceServer, NoRelayCandidate
from ..calls.quality import LONGEST_PAUSE, MachineTooSlow
from ..calls.servers import IceServerError, TurnOffer, ice_servers
from ..clients.control import ServiceLedger
from ..clients.core.core import SendFailed, befriend
from ..clients.device import Device
from ..report.observations import Measured
from ..stage.lab import LabStage
from ..stage.outcome import Outcome, promised
from ..stage.stage import Stage
from ..target import Service
from ..waiting import WaitTimeout
from .call_windows import describe_windows, observe_windows
from .observed import call_seen

__all__ = [
    "CALL_WITHIN",
    "FAILURES",
    "NEEDS",
    "NUMBERS",
    "SECONDS",
    "TURN_WORKS",
    "Callers",
    "Servers",
    "account_now",
    "check_set_up",
    "friends",
    "ice_servers_of",
    "machine_too_slow",
    "set_up",
    "talk",
]

progress = logging.getLogger("harness.progress")

NEEDS = ("iroh_relay", "turn", "calls")
"""Capabilities that a call takes: without a relay of the target's own, no core may be started."""
TURN_WORKS = ("turn.turn_allocates_with_offered_credentials",)
"""For `after=`: where this check fails, no call goes through TURN."""
FAILURES = (SendFailed, IceServerError, NoRelayCandidate)
"""Failures of the target, besides what does not arrive in time."""
SECONDS = 2.0
"""Seconds for which each side talks."""
NUMBERS = 100
"""Data messages from each side."""
CALL_WITHIN = 12.0
"""Seconds for each step of a call; a call is set up in half a second."""

Servers = Mapping[str, Sequence[IceServer]]
"""ICE servers by the name of the device."""


@dataclass(frozen=True)
class Callers:
    """Devices that are online, by name, and the ICE servers that their cores gave for a call."""

    stage: Stage | LabStage
    devices: Mapping[str, Device]
    servers: Servers

    @property
    def outcome(self) -> Outcome:
        return self.stage.outcome

    @property
    def ledger(self) -> ServiceLedger | None:
        """Everything that TURN says it carried; None: it keeps no ledger."""
        return self.stage.server.ledger(Service.TURN)

    def apart(self) -> Self:
        """The same with an outcome of its own, for calls at the same time."""
        return replace(self, stage=replace(self.stage, outcome=Outcome()))

    def befriend(self, one: str, other: str) -> None:
        """They can call each other then."""
        befriend(self.devices[one].account, self.devices[other].account)

    def logs_of(self, name: str) -> Path:
        """Directory of everything that is written in the call of this name, and that is evidence when it has ended."""
        return self.stage.logs / f"call {name.replace('/', ' per ')}"

    @contextmanager
    def with_peers(
        self,
        name: str,
        caller: str = "alice",
        callee: str = "bob",
        *,
        servers: Servers | None = None,
        streams: tuple[int, int] = (1, 2),
    ) -> Iterator[tuple[Party, Party]]:
        """Two of them with a peer each, for one call of that name. What the peers write is evidence.

        `servers`: others than those that the cores gave; `streams`: see `parties`.
        """
        logs = self.logs_of(name)
        target = self.stage.target
        try:
            with parties(
                self.devices[caller],
                self.devices[callee],
                servers or self.servers,
                logs,
                ca_file=target.ca_file or target.pinned,
                streams=streams,
                peers=self.stage.session.choice.peers,
            ) as both:
                describe_windows(self.outcome, both)
                try:
                    yield both
                finally:
                    observe_windows(self.outcome, name, [each.peer for each in both])
        finally:
            self.outcome.evidence += sorted(logs.iterdir())

    @contextmanager
    def calling(self, name: str, media: Media, caller: str = "alice", callee: str = "bob") -> Iterator[Call]:
        """A call that is up; at the end of the block the caller hangs up."""
        with self.with_peers(name, caller, callee) as both:
            call = set_up(self.outcome, name, *both, media)
            yield call
            call.hang_up(within=CALL_WITHIN)


@contextmanager
def friends(stage: Stage) -> Iterator[Callers]:
    """alice and bob on one host, befriended. Whatever does not arrive in time is a failure of the target."""
    with stage.people("alice", "bob", calls=True) as (alice, bob):
        offer = stage.own_turn()
        stage.outcome.observe(Measured("TURN in METADATA", f"{offer.host}:{offer.port}"))
        with promised(*FAILURES):
            servers = ice_servers_of((alice, bob), offer, stage)
            callers = Callers(stage, {each.name: each for each in (alice, bob)}, servers)
            callers.befriend("alice", "bob")
            progress.info("alice and bob are online at %s, and befriended", stage.target.host)
            yield callers


def ice_servers_of(devices: Iterable[Device], offer: TurnOffer, stage: Stage | LabStage) -> Servers:
    """ICE servers that each core gives its user interface. Raises `IceServerError` if they are not the offered ones."""
    servers = {each.name: ice_servers(each.account, offer, each.host) for each in devices}
    for each in (server for found in servers.values() for server in found):
        stage.target.on_secret(each.credential or "")
    return servers


def set_up(outcome: Outcome, name: str, caller: Party, callee: Party, media: Media) -> Call:
    """Ring and take the call; how long each phase took is observed, whatever becomes of it."""
    ringing = place(caller, callee, media, within=CALL_WITHIN)
    try:
        call = ringing.accept(within=CALL_WITHIN)
    except WaitTimeout:
        check_set_up(caller, callee)
        raise
    finally:
        outcome.observe(call_seen(name, ringing.phases))
    progress.info("the call %s is up: %.0f ms after the click", name, (ringing.phases.connected or 0) * 1000)
    return call


def check_set_up(*sides: Party) -> None:
    """Raise `MachineTooSlow` where a call that was not up in time may have been late by our own programs."""
    for side in sides:
        if side.peer.has_connection:
            side.peer.stats().check_set_up(side.name)


def talk(
    call: Call, seconds: float = SECONDS, numbers: int = NUMBERS, longest_pause: float = LONGEST_PAUSE
) -> TalkResult:
    """Raises `MachineTooSlow`: sending is up to us, and what arrives of too little is no finding about the target.

    An agent that has lost its call sends nothing any more, which is not up to us. `longest_pause`: seconds.
    """
    with machine_too_slow():
        talked = call.talk(seconds, numbers=numbers)
    if not talked.ended:
        talked.check_pace(longest_pause)
    return talked


def account_now(
    callers: Callers, name: str, call: Call, talked: TalkResult, path: str = "relayed"
) -> CallAccount:
    """The account of a call whose sides are silent, with the server's column where TURN keeps a ledger.

    The record of the check has it as well.
    """
    stats = {side.name: side.peer.stats() for side in call.sides}
    ledger = callers.ledger
    balance = account(stats, path, None if ledger is None else carried_by_sender(ledger, stats))
    callers.outcome.observe(call_seen(name, call.ringing.phases, talked.path, balance, talked.reports))
    return balance


@contextmanager
def machine_too_slow() -> Iterator[None]:
    """Around waits for what only our own programs have to do: in time or not, they say nothing about the target."""
    try:
        yield
    except WaitTimeout as error:
        raise MachineTooSlow(f"machine too slow ({error})") from error
