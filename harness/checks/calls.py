"""Calls between real Delta Chat cores whose media goes through the target's own TURN server, or leaves it alone."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from ..calls.agent import IceServer, NoRelayCandidate, Report, Stats, calls_are_possible
from ..calls.balance import (
    MOST_BYTES_OF_A_DIRECT_CALL,
    CallAccount,
    account,
    carried_by_sender,
    carried_since,
)
from ..calls.call import Call, Media, Party, Phases, Ringing, Talked, parties, place
from ..calls.quality import LONGEST_PAUSE, MachineTooSlow
from ..calls.servers import IceServerError, TurnOffer, ice_servers
from ..clients.control import ControlError, ServiceLedger
from ..clients.core import SendFailed, befriend
from ..device import Device
from ..hosts import Host, MissingCapability
from ..session import DeviceFactory
from ..targets import Target
from ..waiting import WaitTimeout
from .discovery import offered, offered_turn
from .outcome import Outcome, check, current_outcome
from .realtime import expect_no_foreign_hosts

__all__ = [
    "CALL_WITHIN",
    "Friends",
    "calls_ring_and_end",
    "core_lists_the_offered_servers",
    "direct_call_leaves_the_relay_alone",
    "need_agents",
    "relayed_call_is_heard_and_seen",
    "set_up",
    "talk_through_turn",
    "two_parties",
    "with_friends",
]

progress = logging.getLogger("harness.progress")

SECONDS = 2.0
"""How long each side talks."""
NUMBERS = 100
"""Data messages from each side."""
VIDEO = (320, 240, 15.0)
CALL_WITHIN = 12.0
"""Seconds for each step of a call; a call is set up in half a second."""
WHOLE = 0.9
"""Part of what was played that must be there: the first frames may come before the other side listens."""
MOST_GAPS = 5
"""Silences that are told one by one."""


@dataclass(frozen=True)
class Friends:
    """Two devices that are befriended, and what their cores would use for a call."""

    alice: Device
    bob: Device
    servers: Mapping[str, tuple[IceServer, ...]]
    logs: Path


@check("DISC-5", "TURN-8", needs=("iroh_relay", "turn"))
def core_lists_the_offered_servers(target: Target, host: Host, devices: DeviceFactory) -> Outcome:
    """Each core names, for a call, exactly the TURN server of METADATA: neither nothing, nor anybody else's."""

    def judge(outcome: Outcome, friends: Friends) -> None:
        for name, servers in friends.servers.items():
            outcome.measurements[f"ice_servers_{name}"] = [url for each in servers for url in each.urls]

    return with_friends(target, host, devices, judge)


@check("TURN-10", "E2E-path", needs=("iroh_relay", "turn"))
def relayed_call_is_heard_and_seen(target: Target, host: Host, devices: DeviceFactory) -> Outcome:
    """A call with no way but TURN: each side hears and sees the other whole, and every packet is accounted for."""
    need_agents()

    def judge(outcome: Outcome, friends: Friends) -> None:
        media = Media(video=VIDEO, policy="relay")
        with two_parties(outcome, friends, "relayed") as (caller, callee):
            call = set_up(outcome, caller, callee, media)
            talked = talk_through_turn(outcome, target, call, SECONDS)
            call.hang_up(within=CALL_WITHIN)
        for name, report in talked.reports.items():
            _judge_video(outcome, name, report)
            outcome.measurements[f"{name}_rtp_lost"] = report.packets_lost

    return with_friends(target, host, devices, judge)


@check("E2E-path", needs=("iroh_relay", "turn", "ledger"))
def direct_call_leaves_the_relay_alone(target: Target, host: Host, devices: DeviceFactory) -> Outcome:
    """Two devices with a way to each other call without TURN: its ledger then shows next to nothing."""
    need_agents()

    def judge(outcome: Outcome, friends: Friends) -> None:
        known = _turn_ledger(target)
        with two_parties(outcome, friends, "direct") as (caller, callee):
            call = set_up(outcome, caller, callee, Media())
            talked = _talk(outcome, call, SECONDS)
            call.hang_up(within=CALL_WITHIN)
        _judge_balance(outcome, talked.account("direct"))
        leaked = carried_since(known, _turn_ledger(target))
        outcome.measurements["carried_bytes"] = leaked.bytes
        outcome.expect(
            leaked.bytes < MOST_BYTES_OF_A_DIRECT_CALL,
            f"the call is direct, but the server carried {leaked.bytes} bytes of it",
        )
        outcome.expect(talked.path == "direct", f"the call should be direct, it is {talked.path}")
        outcome.paths["media"] = talked.path if outcome else f"{talked.path}, not proven"

    return with_friends(target, host, devices, judge)


@check("TURN-10", needs=("iroh_relay", "turn"))
def calls_ring_and_end(target: Target, host: Host, devices: DeviceFactory) -> Outcome:
    """Either side calls through TURN; the other declines, takes it and hangs up, or the caller gives up: both know."""
    need_agents()

    def taken(ringing: Ringing) -> None:
        ringing.accept(within=CALL_WITHIN).hang_up(ringing.callee, within=CALL_WITHIN)

    ends: Mapping[str, tuple[Callable[[Ringing], None], str, str]] = {
        "declined": (lambda ringing: ringing.decline(within=CALL_WITHIN), "Declined", "Declined"),
        "cancelled": (lambda ringing: ringing.cancel(within=CALL_WITHIN), "Canceled", "Missed"),
        "taken": (taken, "Completed", "Completed"),
    }

    def judge(outcome: Outcome, friends: Friends) -> None:
        for how, (end, at_caller, at_callee) in ends.items():
            for caller_name in friends.servers:
                which = f"{how}-by-caller-{caller_name}"
                with two_parties(outcome, friends, which, caller_name) as (caller, callee):
                    ringing = place(caller, callee, Media(policy="relay"), within=CALL_WITHIN)
                    _expect_states(outcome, which, ringing, "Alerting", "Alerting")
                    outcome.measurements[f"ring_ms_{which}"] = _milliseconds(ringing.phases)["ring"]
                    end(ringing)
                    _expect_states(outcome, which, ringing, at_caller, at_callee)

    return with_friends(target, host, devices, judge)


def need_agents() -> None:
    """Raises `MissingCapability` on a machine without aiortc."""
    if not calls_are_possible():
        raise MissingCapability(
            "calls", "aiortc is missing: install the extra calls (pip install '.[calls]' in a checkout)"
        )


def with_friends(
    target: Target, host: Host, devices: DeviceFactory, judge: Callable[[Outcome, Friends], None]
) -> Outcome:
    """Start alice and bob, befriend them, ask their cores for ICE servers, and let `judge` call."""
    offered(target, host)  # before any core starts I/O, and so is the next line
    offer = offered_turn(target, host)
    outcome = current_outcome()
    outcome.measurements["turn"] = str(offer)
    started: tuple[Device, ...] = ()
    try:
        with (
            devices(("alice", "bob")) as started,
            outcome.expect_to_arrive(SendFailed, IceServerError, NoRelayCandidate),
        ):
            alice, bob = started
            for device in started:
                outcome.clients[device.name] = device.description
            progress.info("two cores are online at %s", target.host)
            friends = Friends(alice, bob, _ice_servers(target, offer, alice, bob), alice.core.logs)
            befriend(alice.account, bob.account)
            progress.info("alice and bob are befriended by secure join")
            judge(outcome, friends)
            expect_no_foreign_hosts(outcome, target, alice, bob)
    finally:
        outcome.evidence += [file for device in started for file in device.log_files]
    return outcome


def _ice_servers(target: Target, offer: TurnOffer, *devices: Device) -> Mapping[str, tuple[IceServer, ...]]:
    servers = {device.name: ice_servers(device.account, offer, device.host) for device in devices}
    for each in itertools.chain(*servers.values()):
        target.on_secret(each.credential or "")
    return servers


@contextmanager
def two_parties(
    outcome: Outcome, friends: Friends, call: str, caller: str = "alice"
) -> Iterator[tuple[Party, Party]]:
    """The two with an agent each: who calls, who is called. What the agents write is evidence."""
    logs = friends.logs / f"call-{call}"
    devices = (friends.alice, friends.bob) if caller == friends.alice.name else (friends.bob, friends.alice)
    try:
        with parties(*devices, friends.servers, logs) as both:
            yield both
    finally:
        outcome.evidence += sorted(logs.glob("*.agent.log"))


def set_up(outcome: Outcome, caller: Party, callee: Party, media: Media) -> Call:
    """Ring and take the call; how long each phase took is measured, whatever becomes of it."""
    ringing = place(caller, callee, media, within=CALL_WITHIN)
    try:
        call = ringing.accept(within=CALL_WITHIN)
    finally:
        outcome.measurements["phases_ms"] = _milliseconds(ringing.phases)
    progress.info("the call is up: %s ms after the click", outcome.measurements["phases_ms"])
    return call


def talk_through_turn(
    outcome: Outcome, target: Target, call: Call, seconds: float, longest_pause: float = LONGEST_PAUSE
) -> Talked:
    """Talk in a call that is relayed: judge what was heard, the way that it took, and the account with TURN."""
    talked = _talk(outcome, call, seconds, longest_pause)
    stats = {side.name: side.agent.stats() for side in call.sides}  # at the moment of the ledger
    keeps_ledger = target.control is not None and "ledger" in target.capabilities
    ledger = _turn_ledger(target) if keeps_ledger else None
    for name, report in talked.reports.items():
        _judge_audio(outcome, name, report, seconds)
        _judge_numbers(outcome, name, talked.stats[name])
    carried = None if ledger is None else carried_by_sender(ledger, stats)
    _judge_balance(outcome, account(stats, "relayed", carried))
    if not keeps_ledger:
        outcome.note("the target keeps no ledger: only the agents themselves say which way the media took")
    outcome.expect(talked.path == "relayed", f"the call should be relayed, it is {talked.path}")
    proven = keeps_ledger and outcome
    outcome.paths["media"] = f"relayed({target.name})" if proven else f"{talked.path}, not proven"
    return talked


def _talk(outcome: Outcome, call: Call, seconds: float, longest_pause: float = LONGEST_PAUSE) -> Talked:
    """Raises `MachineTooSlow`: sending is up to us, and what arrives of too little is no finding about the target.

    An agent that has lost its call sends nothing any more, which is not up to us.
    """
    try:
        talked = call.talk(seconds, numbers=NUMBERS)
    except WaitTimeout as error:
        raise MachineTooSlow(f"machine too slow ({error})") from error
    ended = [name for name, stats in talked.stats.items() if stats.connection != "connected"]
    for name in ended:
        outcome.expect(False, f"{name}'s call ended by itself ({talked.stats[name].connection})")
    if not ended:
        talked.check_pace(longest_pause)
    return talked


def _milliseconds(phases: Phases) -> dict[str, float]:
    """After the click; without those that were not reached."""
    return {
        name: round(seconds * 1000, 1)
        for name, seconds in asdict(phases).items()
        if name != "clicked" and seconds is not None
    }


def _expect_states(outcome: Outcome, which: str, ringing: Ringing, caller: str, callee: str) -> None:
    expected = {ringing.caller.name: caller, ringing.callee.name: callee}
    outcome.expect(ringing.states == expected, f"{which}: the users see {ringing.states}, not {expected}")


def _judge_audio(outcome: Outcome, name: str, report: Report, seconds: float) -> None:
    """What one side heard, by its content."""
    audio = report.audio
    if audio is None:
        outcome.expect(False, f"{name} got no audio")
        return
    heard = audio.seconds * audio.known
    outcome.expect(heard >= WHOLE * seconds, f"{name} heard {heard:.2f} of {seconds:g} s")
    outcome.expect(
        audio.seconds >= WHOLE * seconds, f"{name} heard nothing any more after {audio.seconds:.1f} s"
    )
    for gap in audio.gaps[:MOST_GAPS]:
        outcome.expect(False, f"{name} heard nothing for {gap.length:.2f} s from second {gap.start:.1f} on")
    outcome.expect(
        not (audio.gaps or audio.jumps or audio.others),
        f"{name} heard the other side with faults: {len(audio.gaps)} gaps, {len(audio.jumps)} jumps, "
        f"other streams {audio.others}",
    )
    outcome.measurements |= {
        f"{name}_audio_delay_ms": None if audio.delay is None else round(audio.delay * 1000, 1),
        f"{name}_heard_seconds": round(heard, 2),
    }


def _judge_video(outcome: Outcome, name: str, report: Report) -> None:
    """What one side saw, by its content."""
    video = report.video
    if video is None:
        outcome.expect(False, f"{name} got no video")
        return
    outcome.expect(
        video.frames >= WHOLE * SECONDS * VIDEO[2], f"{name} saw {video.frames} pictures in {SECONDS:g} s"
    )
    outcome.expect(
        not (video.unreadable or video.foreign or video.missing),
        f"{name} saw the other side with faults: {video.missing} pictures missing, {video.unreadable} unreadable, "
        f"other streams {video.foreign}",
    )
    outcome.measurements[f"{name}_pictures"] = video.frames


def _judge_numbers(outcome: Outcome, name: str, stats: Stats) -> None:
    outcome.expect(
        stats.numbers_received == NUMBERS and stats.numbers_in_order,
        f"{name} got {stats.numbers_received} of {NUMBERS} data messages"
        f"{'' if stats.numbers_in_order else ', out of order'}",
    )


def _judge_balance(outcome: Outcome, balance: CallAccount) -> None:
    outcome.measurements["account"] = [asdict(each) for each in balance.directions]
    columns = "; ".join(line.strip() for line in str(balance).splitlines())
    outcome.expect(balance, f"the account does not balance: {'; '.join(balance.problems)} ({columns})")


def _turn_ledger(target: Target) -> ServiceLedger:
    assert target.control is not None
    ledger = target.control.ledger().turn
    if ledger is None or not ledger.complete:
        raise ControlError(f"the ledger of TURN is {'missing' if ledger is None else 'not complete'}")
    return ledger
