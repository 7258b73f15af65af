"""What the checks of calls have in common: two friends, a call from the click to its account, and its judges."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ..calls.agent import IceServer, NoRelayCandidate, Report, Stats, calls_are_possible
from ..calls.balance import CallAccount, Direction, account, carried_by_sender
from ..calls.call import Call, Media, Party, Phases, Ringing, Talked, parties, place
from ..calls.quality import LONGEST_PAUSE, MachineTooSlow
from ..calls.servers import IceServerError, TurnOffer, ice_servers
from ..checks.discovery import offered, offered_turn
from ..checks.realtime import expect_no_foreign_hosts
from ..clients.control import ControlError, ServiceLedger
from ..clients.core.core import SendFailed, befriend
from ..clients.device import Device
from ..hosts import Host, MissingCapability
from ..report.calls import CALLS, MeasuredCall, Way
from ..stage.session import DeviceFactory
from ..target import Target
from ..waiting import WaitTimeout
from .outcome import Outcome, current_outcome

__all__ = [
    "CALL_WITHIN",
    "NUMBERS",
    "SECONDS",
    "VIDEO",
    "WHOLE",
    "Friends",
    "account_now",
    "judge_audio",
    "judge_balance",
    "judge_numbers",
    "judge_relayed_call",
    "judge_video",
    "keeps_ledger",
    "machine_too_slow",
    "measure",
    "measure_phases",
    "need_agents",
    "seated",
    "set_up",
    "talk",
    "talk_through_turn",
    "turn_ledger_of",
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
MOST_GAPS = 5
"""Silences that are told one by one."""
WHOLE = 0.9
"""Part of what was played that must be there: the first frames may come before the other side listens."""


@dataclass(frozen=True)
class Friends:
    """Two devices that are befriended, and what their cores would use for a call."""

    alice: Device
    bob: Device
    servers: Mapping[str, tuple[IceServer, ...]]
    logs: Path
    ca_file: Path | None
    """What agents verify a TURN server over TLS with."""


def need_agents() -> None:
    """Raise `MissingCapability` where no agent can run."""
    if not calls_are_possible():
        raise MissingCapability(
            "calls", "aiortc is not installed", heal="pip install 'dc-harness[calls]', in a checkout ./setup"
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
            servers = _ice_servers(target, offer, alice, bob)
            befriend(alice.account, bob.account)
            progress.info("alice and bob are befriended by secure join")
            judge(outcome, Friends(alice, bob, servers, alice.core.logs, target.ca_file or target.pinned))
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
def seated(
    outcome: Outcome, friends: Friends, call: str, caller: str = "alice", *, streams: tuple[int, int] = (1, 2)
) -> Iterator[tuple[Party, Party]]:
    """The two with an agent each: who calls, who is called. What the agents write is evidence."""
    logs = friends.logs / f"call-{call}"
    devices = (friends.alice, friends.bob) if caller == friends.alice.name else (friends.bob, friends.alice)
    try:
        with parties(*devices, friends.servers, logs, ca_file=friends.ca_file, streams=streams) as both:
            yield both
    finally:
        outcome.evidence += sorted(logs.glob("*.agent.log"))


def set_up(outcome: Outcome, name: str, caller: Party, callee: Party, media: Media) -> Call:
    """Ring and take the call; how long each phase took is measured, whatever becomes of it."""
    ringing = place(caller, callee, media, within=CALL_WITHIN)
    try:
        call = ringing.accept(within=CALL_WITHIN)
    finally:
        measure_phases(outcome, name, ringing)
    progress.info("the call %s is up: %.0f ms after the click", name, (ringing.phases.connected or 0) * 1000)
    return call


def talk(
    call: Call, seconds: float = SECONDS, numbers: int = NUMBERS, longest_pause: float = LONGEST_PAUSE
) -> Talked:
    """Raises `MachineTooSlow`: sending is up to us, and what arrives of too little is no finding about the target.

    An agent that has lost its call sends nothing any more, which is not up to us. `longest_pause`: seconds.
    """
    with machine_too_slow():
        talked = call.talk(seconds, numbers=numbers)
    if not talked.ended:
        talked.check_pace(longest_pause)
    return talked


def talk_through_turn(
    outcome: Outcome,
    target: Target,
    call: Call,
    name: str,
    *,
    seconds: float = SECONDS,
    longest_pause: float = LONGEST_PAUSE,
) -> Talked:
    """Talk in a call that is relayed; judge what was heard, the way that it took, and the account with TURN."""
    talked = talk(call, seconds, longest_pause=longest_pause)
    balance = account_now(target, call)
    for side, how in talked.ended.items():
        outcome.expect(False, f"{side}'s call ended by itself ({how})")
    for side, report in talked.reports.items():
        judge_audio(outcome, side, report, seconds)
        judge_numbers(outcome, side, talked.stats[side])
    measure(outcome, name, call, talked, balance)
    judge_balance(outcome, name, balance)
    if not keeps_ledger(target):
        outcome.note("the target keeps no ledger: only the agents themselves say which way the media took")
    outcome.expect(talked.path == "relayed", f"the call should be relayed, it is {talked.path}")
    proven = keeps_ledger(target) and outcome
    outcome.paths[f"media of {name}"] = f"relayed({target.name})" if proven else f"{talked.path}, not proven"
    return talked


@contextmanager
def machine_too_slow() -> Iterator[None]:
    """Around waits for what only our own programs have to do: in time or not, they say nothing about the target."""
    try:
        yield
    except WaitTimeout as error:
        raise MachineTooSlow(f"machine too slow ({error})") from error


def measure_phases(outcome: Outcome, name: str, ringing: Ringing) -> None:
    """Keep how far the call `name` has come, for the table of calls."""
    _keep(outcome, MeasuredCall(name, _milliseconds(ringing.phases)))


def measure(outcome: Outcome, name: str, call: Call, talked: Talked, balance: CallAccount) -> None:
    """Keep what the table of calls shows of a call that was talked over."""
    ways = [_way(each, talked.reports[each.receiver]) for each in balance.directions]
    _keep(outcome, MeasuredCall(name, _milliseconds(call.ringing.phases), talked.path, ways))


def _way(direction: Direction, report: Report) -> Way:
    counted = Way(
        direction.sender,
        direction.receiver,
        sent=direction.sent.packets,
        server=None if direction.server is None else direction.server.packets,
        received=direction.received.packets,
        lost=report.packets_lost,
    )
    if (audio := report.audio) is None:
        return counted
    return replace(
        counted,
        delay_ms=None if audio.delay is None else round(audio.delay * 1000, 1),
        heard_s=round(audio.seconds * audio.known, 2),
        gaps_ms=[round(gap.length * 1000) for gap in audio.gaps],
        stall_ms=round(max(audio.stalls, default=0.0) * 1000),
    )


def _keep(outcome: Outcome, call: MeasuredCall) -> None:
    """In the order of the calls; a newer word about one takes the place of the older."""
    known = {each["name"]: each for each in outcome.measurements.get(CALLS, ())}
    outcome.measurements[CALLS] = list({**known, call.name: asdict(call)}.values())


def _milliseconds(phases: Phases) -> dict[str, float]:
    """After the click; without those that were not reached."""
    return {
        name: round(seconds * 1000, 1)
        for name, seconds in asdict(phases).items()
        if name != "clicked" and seconds is not None
    }


def judge_audio(outcome: Outcome, name: str, report: Report, seconds: float = SECONDS) -> None:
    """One side heard the other for as long as it talked, without a fault."""
    audio = report.audio
    if audio is None:
        outcome.expect(False, f"{name} got no audio")
        return
    heard = audio.seconds * audio.known
    outcome.expect(heard >= WHOLE * seconds, f"{name} heard {heard:.2f} of {seconds:.2f} s")
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


def judge_video(outcome: Outcome, name: str, report: Report) -> None:
    """One side saw the other, without a fault."""
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


def judge_numbers(outcome: Outcome, name: str, stats: Stats) -> None:
    """One side got every data message of the other, in order."""
    outcome.expect(
        stats.numbers_received == NUMBERS and stats.numbers_in_order,
        f"{name} got {stats.numbers_received} of {NUMBERS} data messages"
        f"{'' if stats.numbers_in_order else ', out of order'}",
    )


def judge_balance(outcome: Outcome, name: str, balance: CallAccount) -> None:
    """Sender, server and receiver counted the same. `name` is that of the call."""
    columns = "; ".join(line.strip() for line in str(balance).splitlines())
    outcome.expect(
        balance, f"{name}: the account does not balance: {'; '.join(balance.problems)} ({columns})"
    )


def judge_relayed_call(
    outcome: Outcome, target: Target, friends: Friends, name: str, *, video: bool = True
) -> None:
    """Make a call with no way but TURN and judge all of it: media, data messages, account and path."""
    media = Media(video=VIDEO if video else None, policy="relay")
    with seated(outcome, friends, name) as (caller, callee):
        call = set_up(outcome, name, caller, callee, media)
        talked = talk_through_turn(outcome, target, call, name)
        call.hang_up(within=CALL_WITHIN)
    if video:
        for side, report in talked.reports.items():
            judge_video(outcome, side, report)


def account_now(target: Target, call: Call, path: str = "relayed") -> CallAccount:
    """The account of a call whose sides are silent, with the server's column where it keeps a ledger."""
    stats = {side.name: side.agent.stats() for side in call.sides}
    carried = carried_by_sender(turn_ledger_of(target), stats) if keeps_ledger(target) else None
    return account(stats, path, carried)


def keeps_ledger(target: Target) -> bool:
    """Whether the target itself says what it carried."""
    return target.control is not None and "ledger" in target.capabilities


def turn_ledger_of(target: Target) -> ServiceLedger:
    """What TURN says that it carried. Raises `ControlError` when it forgot something."""
    assert target.control is not None
    ledger = target.control.ledger().turn
    if ledger is None or not ledger.complete:
        raise ControlError(f"the ledger of TURN is {'missing' if ledger is None else 'not complete'}")
    return ledger
