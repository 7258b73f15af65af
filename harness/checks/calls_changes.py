"""The network changes while people talk: what they hear of it, what ends their call, and that the next one works."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass

from ..calls.agent import NoRelayCandidate
from ..calls.call import Media, Party, parties
from ..clients.core.core import SendFailed, befriend
from ..clients.core.rpc import now
from ..network import profiles
from ..network.conditions import Conditions, apply
from ..network.lab import LabHost
from ..network.profiles import Profile
from ..stage.lab import LabFactory
from ..steps.call_lab import Callers, callers
from ..steps.calls import (
    CALL_WITHIN,
    VIDEO,
    account_now,
    machine_too_slow,
    measure,
    need_agents,
    set_up,
    talk,
)
from ..steps.outcome import Outcome, check, current_outcome
from ..target import Target
from .calls_interrupted import judge_pause, wait_until_closed

__all__ = [
    "BAD_LINKS",
    "CHANGES",
    "BadLink",
    "calls_on_bad_links_stay_up",
    "calls_survive_outages",
    "dead_calls_are_noticed_and_the_next_one_works",
]

progress = logging.getLogger("harness.progress")

ALICE, BOB, CAROL = "alice", "bob", "carol"
OUTAGES = {ALICE: profiles.HOME, BOB: profiles.SYMMETRIC, CAROL: profiles.HOME}
"""alice's calls to bob are relayed, those to carol are direct."""
BEFORE = 1.0
"""Seconds of talking before something happens."""
ACTIVE = {"Active"}


@check("TURN-10", needs=("iroh_relay", "turn", "lab"))
def calls_survive_outages(
    target: Target, labs: LabFactory, outages: Sequence[float] = (3.0,), callees: Sequence[str] = (BOB,)
) -> Outcome:
    """For some seconds nothing of a call comes through, and addresses stay: then each side hears the other again."""
    del target  # a lab has a server of the same kind
    outcome = current_outcome()
    with _lab(outcome, labs, {name: OUTAGES[name] for name in (ALICE, *callees)}) as here:
        for callee, seconds in itertools.product(callees, outages):
            _outage(outcome, here, callee, seconds)
    return outcome


def _outage(outcome: Outcome, here: Callers, callee: str, seconds: float) -> None:
    name = f"{seconds:g} s of outage, {ALICE} and {callee}"
    with _seated(outcome, here, name, ALICE, callee) as both:
        call = set_up(outcome, name, *both, Media())
        with machine_too_slow():
            call.play_on(BEFORE)
        played = {side.name: side.agent.stats().played for side in call.sides}
        began = now()
        with _without_udp(here.hosts[ALICE], here.hosts[callee]), machine_too_slow():
            call.play_on(seconds)
        paused_for = now() - began
        talked = talk(call, numbers=0)
        measure(outcome, name, call, talked, account_now(here.session.target, call, talked.path))
        states = call.ringing.states
        call.hang_up(within=CALL_WITHIN)
    outcome.expect(set(states.values()) == ACTIVE, f"{name}: after it the users see {states}, not a call")
    for listener, speaker in itertools.permutations(talked.stats, 2):
        judge_pause(
            outcome,
            listener,
            talked.reports[listener],
            paused_at=played[speaker],
            paused_for=paused_for,
            played=talked.stats[speaker].played,
            what="no UDP came through",
        )


@contextmanager
def _without_udp(*hosts: LabHost) -> Iterator[None]:
    """Swallowed by the router of each of them; what they have mapped stays."""
    with ExitStack() as undo:
        for router in (host.routers[0] for host in hosts):
            router.block("udp")
            undo.callback(router.unblock, "udp")
        yield


@dataclass(frozen=True)
class BadLink:
    """Conditions in both directions of the link of one side, and what a call over it must keep to."""

    conditions: Conditions
    most_lost: float = 0.02
    """Share of the RTP packets."""
    most_delay: float = 0.2
    """Seconds, of most audio frames; without the link it is less than 0.1."""
    video: bool = False


BAD_LINKS: Mapping[str, BadLink] = {
    "5 % loss": BadLink(Conditions(loss=0.05, seed=5), most_lost=0.12),
    "200 ms": BadLink(Conditions(delay_ms=200), most_delay=0.45),
    "1 Mbit/s": BadLink(Conditions(rate_kbit=1000), most_delay=0.4, video=True),
}
LOSS = ("5 % loss",)
SECONDS_ON_BAD_LINKS = 4.0


@check("TURN-10", needs=("iroh_relay", "turn", "lab"))
def calls_on_bad_links_stay_up(target: Target, labs: LabFactory, links: Sequence[str] = LOSS) -> Outcome:
    """Over a link that loses packets, or is slow, or thin, a relayed call stays up, and no worse than the link is."""
    del target
    outcome = current_outcome()
    with _lab(outcome, labs, {ALICE: profiles.HOME, BOB: profiles.SYMMETRIC}) as here:
        for name in links:
            _bad_link(outcome, here, name, BAD_LINKS[name])
    return outcome


def _bad_link(outcome: Outcome, here: Callers, name: str, link: BadLink) -> None:
    media = Media(video=VIDEO if link.video else None, policy="relay")
    with _seated(outcome, here, name, ALICE, BOB) as both:
        call = set_up(outcome, name, *both, media)
        with apply(here.hosts[ALICE].link, up=link.conditions, down=link.conditions) as applied:
            talked = talk(call, SECONDS_ON_BAD_LINKS, numbers=0)
            taken = {way: lost.packets for way, lost in applied.lost().items()}
        measure(outcome, name, call, talked, account_now(here.session.target, call))
        states = call.ringing.states
        call.hang_up(within=CALL_WITHIN)
    outcome.measurements[f"the link of {name}"] = {**asdict(link), "packets_taken": taken}
    outcome.expect(set(states.values()) == ACTIVE, f"{name}: the users see {states}, not a call")
    for side, report in talked.reports.items():
        sent = report.packets + report.packets_lost
        outcome.expect(
            report.packets > 0 and report.packets_lost <= link.most_lost * sent,
            f"{name}: of {sent} packets to {side} {report.packets_lost} were lost, at most "
            f"{link.most_lost:.0%} may be",
        )
        delay = report.audio.delay if report.audio else None
        outcome.expect(
            delay is not None and delay <= link.most_delay,
            f"{name}: {side} hears the other after {delay} s, at most {link.most_delay:g} s may be",
        )


@dataclass(frozen=True)
class Change:
    """Something that takes the way of a call away for good: to which network, and how."""

    caller: Profile
    happen: Callable[[Callers, str], None]


def _move_mapping(here: Callers, name: str) -> None:
    here.hosts[name].routers[0].forget_mappings()


def _go_mobile(here: Callers, name: str) -> None:
    here.session.lab.move(here.hosts[name], profiles.MOBILE)


CHANGES: Mapping[str, Change] = {
    "the NAT forgets": Change(profiles.SYMMETRIC, _move_mapping),
    "wifi to mobile": Change(profiles.HOME, _go_mobile),
}
"""TURN killed and started again is one more: `calls_interrupted`."""


@check("TURN-10", needs=("iroh_relay", "turn", "lab"))
def dead_calls_are_noticed_and_the_next_one_works(target: Target, labs: LabFactory) -> Outcome:
    """A NAT forgets its mappings, or a phone leaves its wifi: both sides notice in 45 s, and the next call works."""
    del target
    outcome = current_outcome()
    places = {f"{name}, {ALICE}": change.caller for name, change in CHANGES.items()}
    places |= {f"{name}, {BOB}": profiles.HOME for name in CHANGES}
    with _lab(outcome, labs, places) as here, ThreadPoolExecutor(len(CHANGES)) as pool:
        for found in pool.map(lambda name: _change(here, name, CHANGES[name]), CHANGES):
            outcome.include(found)
    return outcome


def _change(here: Callers, name: str, change: Change) -> Outcome:
    outcome = Outcome()
    media = Media(policy="relay")
    caller, callee = (f"{name}, {who}" for who in (ALICE, BOB))
    with outcome.expect_to_arrive(NoRelayCandidate, SendFailed, what=name):
        with _seated(outcome, here, name, caller, callee) as both:
            call = set_up(outcome, name, *both, media)
            with machine_too_slow():
                call.play_on(BEFORE)
            happened = now()
            change.happen(here, caller)
            outcome.measurements[f"{name}: closed_after_s"] = wait_until_closed(call, happened)
            account = here.devices[caller].account
            account.go_offline()  # its connections to mail died as well, which core would notice late
            account.bring_online(within=CALL_WITHIN)
            call.hang_up(within=CALL_WITHIN)
        with _seated(outcome, here, f"after {name}", caller, callee) as both:
            call = set_up(outcome, f"after {name}", *both, media)
            talked = talk(call, BEFORE, numbers=0)
            call.hang_up(within=CALL_WITHIN)
        for side, report in talked.reports.items():
            heard = report.audio is not None and report.audio.known > 0
            outcome.expect(heard, f"after {name}: {side} hears nothing in the next call")
    return outcome


@contextmanager
def _lab(outcome: Outcome, labs: LabFactory, places: Mapping[str, Profile]) -> Iterator[Callers]:
    """The first is everybody's friend. What does not arrive in time is a failure of the server."""
    need_agents()
    with labs() as session, callers(session, places) as here:
        for device in here.devices.values():
            outcome.clients[device.name] = device.description
        try:
            with outcome.expect_to_arrive(SendFailed, NoRelayCandidate):
                yield here
        finally:
            outcome.evidence += [file for device in here.devices.values() for file in device.log_files]


@contextmanager
def _seated(
    outcome: Outcome, here: Callers, call: str, caller: str, callee: str
) -> Iterator[tuple[Party, Party]]:
    """Two friends with an agent each. What the agents write is evidence."""
    logs = here.session.logs / f"call {call.replace('/', ' per ')}"
    devices = here.devices[caller], here.devices[callee]
    befriend(*(device.account for device in devices))
    try:
        with parties(*devices, here.servers, logs, ca_file=here.session.target.ca_file) as both:
            yield both
    finally:
        outcome.evidence += sorted(logs.glob("*.agent.log"))
