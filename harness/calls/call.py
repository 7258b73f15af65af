"""Calls between two devices: signalled by their cores in encrypted messages, carried by a peer on each side."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ..clients.core.core import CallMessage
from ..clients.device import Device
from ..waiting import Deadline, WaitTimeout, now, wait_until
from .balance import CallAccount, Count, account, path_of
from .kinds import PeerChoice
from .peers import IceServer, Peer, Report, Settings, Stats
from .quality import LONGEST_PAUSE, MachineTooSlow

__all__ = ["Call", "Media", "Party", "Phases", "Ringing", "TalkResult", "parties", "place", "talk_at_once"]

START_WITHIN = 90.0
"""Seconds for a peer's program to start."""
LONGEST_SETTLE = 2.0
"""Seconds until what was sent and has not arrived counts as lost."""


@dataclass(frozen=True)
class Media:
    """Media that both sides play: `video` is width, height and pictures per second; `mutes` are the caller's."""

    audio: bool = True
    video: tuple[int, int, float] | None = None
    mutes: Sequence[tuple[float, float]] = ()
    policy: Literal["all", "relay"] = "all"
    channel_refresh: float = Settings.channel_refresh


@dataclass(frozen=True)
class Party:
    """A device with what its call window would be: a peer, and the ICE servers that its core gave."""

    device: Device
    peer: Peer
    ice_servers: Sequence[IceServer]
    stream: int
    """Number of the stream that it plays, by which the other side recognises it."""
    policy: Literal["all", "relay"] | None = None
    """ICE transport policy of this side, where that is not the policy of the call."""

    @property
    def name(self) -> str:
        return self.device.name

    def limited_to(self, policy: Literal["all", "relay"] | None) -> Party:
        """The same, using these candidates whatever the policy of the call is; None: those of the call."""
        return replace(self, policy=policy)

    def settings(self, media: Media, other: Party) -> Settings:
        return Settings(
            self.ice_servers,
            self.stream,
            other.stream,
            policy=self.policy or media.policy,
            audio=media.audio,
            video=media.video,
            mutes=media.mutes,
            channel_refresh=media.channel_refresh,
        )


@dataclass
class Phases:
    """Times at which each step of setting a call up was done: seconds after the click. None: not yet."""

    clicked: float
    """Unix seconds."""
    offer: float | None = None
    ring: float | None = None
    answer: float | None = None
    accepted: float | None = None
    connected: float | None = None
    first_audio: float | None = None

    def reach(self, phase: str, at: float) -> None:
        """Note that a phase was reached, in unix seconds."""
        setattr(self, phase, at - self.clicked)


@dataclass(frozen=True)
class TalkResult:
    """Result of a while of talking. Both mappings are by the name of the side."""

    stats: Mapping[str, Stats]
    reports: Mapping[str, Report]
    """Findings of each side about what it heard and saw of the other."""
    path: str
    """`direct`, `relayed` or `none`."""

    def account(self, path: str, carried: Mapping[str, Count] | None = None) -> CallAccount:
        """The account of the call as one of this path; see `balance.account`."""
        return account(self.stats, path, carried)

    @property
    def ended(self) -> dict[str, str]:
        """The sides whose peer is not connected any more, with what it is instead."""
        return {name: each.connection for name, each in self.stats.items() if each.connection != "connected"}

    def check_pace(self, longest_pause: float = LONGEST_PAUSE) -> None:
        """Raise `MachineTooSlow` if a side did not send what it should have: come to no verdict then.

        `longest_pause`: seconds without a frame that may be.
        """
        for name, stats in self.stats.items():
            stats.check_pace(name, longest_pause)


@dataclass(frozen=True)
class Ringing:
    """A call that rings: the message that is the call at the caller's, and at the callee's."""

    caller: Party
    callee: Party
    media: Media
    outgoing: CallMessage
    incoming: CallMessage
    offer: str = field(repr=False)
    phases: Phases

    def accept(self, *, within: float = 60.0) -> Call:
        """The callee takes the call. Returns when both peers are connected, and raises what they met otherwise.

        The answer has `within` seconds to arrive, and then the peers have as many to be connected: a machine that was
        slow with the first takes nothing from the second, which is what the target is judged by.
        """
        answer = self.callee.peer.answer(
            replace(self.callee.settings(self.media, self.caller), mutes=()), self.offer
        )
        self.phases.reach("answer", now())
        deadline = Deadline(within)
        self.incoming.accept(answer)
        accepted = self.outgoing.wait_for_answer(within=deadline.remaining())
        self.phases.reach("accepted", accepted.time)
        self.caller.peer.set_answer(accepted["accept_call_info"])
        peers = (self.caller.peer, self.callee.peer)
        deadline = Deadline(within)
        connected = [
            each.wait_for(
                "connection", "the call to be connected", within=deadline.remaining(), state="connected"
            )
            for each in peers
        ]
        self.phases.reach("connected", max(each.time for each in connected))
        for each, label in itertools.product(peers, ("mutedState", "harness")):
            each.wait_for("channel", "the data channels", within=deadline.remaining(), label=label)
        if self.media.audio:
            heard = [
                each.wait_for("first", "audio to arrive", within=deadline.remaining(), media="audio")
                for each in peers
            ]
            self.phases.reach("first_audio", max(each.time for each in heard))
        return Call(self)

    def decline(self, *, within: float = 60.0) -> None:
        """The callee refuses; returns when the caller's phone knows."""
        self.incoming.end()
        self.outgoing.wait_for_end(within=within)

    def cancel(self, *, within: float = 60.0) -> None:
        """The caller gives up; returns when the callee's phone stops ringing: to it, the call is missed."""
        self.outgoing.end()
        self.incoming.wait_for_end(within=within)

    @property
    def states(self) -> dict[str, str]:
        """State of the call for the user of each device, see `CallMessage.state`."""
        return {self.caller.name: self.outgoing.state, self.callee.name: self.incoming.state}


@dataclass(frozen=True)
class Call:
    """A call that is up."""

    ringing: Ringing

    @property
    def sides(self) -> tuple[Party, Party]:
        return self.ringing.caller, self.ringing.callee

    def talk(self, seconds: float, *, numbers: int = 0) -> TalkResult:
        """Let both sides play for so long and send `numbers` data messages each; then stop, count and judge.

        All counts and findings are about the whole call so far.
        """
        [talked] = talk_at_once([self], seconds, numbers=numbers)
        return talked

    def play_on(self, seconds: float) -> None:
        """Return when both sides have played for so long from now on. They play since the call is up."""
        self._wait_until_talked(self._counted(), seconds, 0)

    def mute(self, side: Party, *, audio: bool, video: bool = False, within: float = 30.0) -> None:
        """One side mutes itself; returns when the other side was told."""
        [other] = [each for each in self.sides if each is not side]
        told = len(other.peer.events("muted"))
        side.peer.mute(audio=audio, video=video)
        wait_until(
            lambda: len(other.peer.events("muted")) > told,
            f"{other.name} to be told that {side.name} changed its mutes",
            within=within,
        )

    def hang_up(self, side: Party | None = None, *, within: float = 60.0) -> None:
        """One side, by default the caller, ends the call; returns when the other side's phone knows."""
        side = side or self.ringing.caller
        ours, theirs = self.ringing.outgoing, self.ringing.incoming
        if side is not self.ringing.caller:
            ours, theirs = theirs, ours
        ours.end()
        with ThreadPoolExecutor(
            2
        ) as pool:  # at once: what one sends when the other is gone is in nobody's count
            list(pool.map(lambda each: each.peer.hang_up(), self.sides))
        theirs.wait_for_end(within=within)

    def _start_talking(self, numbers: int) -> dict[str, Stats]:
        """Returns what each side counted before."""
        before = self._counted()
        for side in self.sides:
            side.peer.pause(False)
            side.peer.send_numbers(numbers)
        return before

    def _wait_until_talked(self, before: Mapping[str, Stats], seconds: float, numbers: int) -> None:
        for side in self.sides:
            wait_until(
                functools.partial(_has_talked, side.peer, before[side.name], seconds, numbers),
                f"{side.name} to play for {seconds:g} s and to send {numbers} messages",
                within=seconds * 10 + 30,
            )

    def _pause(self) -> None:
        for side in self.sides:
            side.peer.pause()

    def _judged(self) -> TalkResult:
        """Result of the call so far, both sides being silent."""
        stats = self._settled()
        one, other = (side.peer for side in self.sides)
        reports = {one.name: one.report(other), other.name: other.report(one)}
        return TalkResult(stats, reports, path_of(each.pair for each in stats.values()))

    def _counted(self) -> dict[str, Stats]:
        return {side.name: side.peer.stats() for side in self.sides}

    def _settled(self) -> dict[str, Stats]:
        """Counts of both sides when everything that was sent has arrived, or does not come any more."""

        def arrived() -> dict[str, Stats] | None:
            stats = self._counted()
            one, other = stats.values()
            return stats if _all_arrived(one, other) and _all_arrived(other, one) else None

        try:
            return wait_until(arrived, "everything to arrive", within=LONGEST_SETTLE)
        except WaitTimeout:
            return self._counted()


def talk_at_once(calls: Sequence[Call], seconds: float, *, numbers: int = 0) -> list[TalkResult]:
    """As `Call.talk`, with several calls at the same time.

    What arrived is judged when all are silent: judging takes the time of a processor, which talkers would miss.
    """
    before = [call._start_talking(numbers) for call in calls]
    for call, counted in zip(calls, before, strict=True):
        call._wait_until_talked(counted, seconds, numbers)
    for call in calls:
        call._pause()
    return [call._judged() for call in calls]


@contextlib.contextmanager
def parties(
    caller: Device,
    callee: Device,
    servers: Mapping[str, Sequence[IceServer]],
    logs: Path,
    *,
    ca_file: Path | None = None,
    streams: tuple[int, int] = (1, 2),
    peers: PeerChoice | None = None,
) -> Iterator[tuple[Party, Party]]:
    """Two devices with a peer each, for one call. `servers`: by the name of the device, what its core gave.

    `streams`: what the two play; calls at the same time need different ones, to be told apart. Raises `MachineTooSlow`
    where a peer does not even start in time.
    """
    peers = peers or PeerChoice()
    with contextlib.ExitStack() as stack:
        one, other = (
            Party(
                device,
                stack.enter_context(
                    peers.for_device(device.name).start(logs, device.name, device.host, ca_file)
                ),
                servers[device.name],
                stream,
            )
            for stream, device in zip(streams, (caller, callee), strict=True)
        )
        for each in (one, other):  # so that a call's phases do not begin with the start of a program
            try:
                each.peer.wait_for("ready", within=START_WITHIN)
            except WaitTimeout as error:
                raise MachineTooSlow(f"machine too slow ({error})") from error
        yield one, other


def place(caller: Party, callee: Party, media: Media | None = None, *, within: float = 60.0) -> Ringing:
    """The caller calls; returns when the callee's phone rings.

    The two must be befriended. Raises `NoRelayCandidate` when the caller's TURN server gives it nothing, and
    `WaitTimeout` when it does not ring.
    """
    media = media or Media()
    phases = Phases(clicked=now())
    offer = caller.peer.offer(caller.settings(media, callee))
    phases.reach("offer", now())
    deadline = Deadline(within)
    outgoing = caller.device.account.place_call(
        callee.device.account, offer, has_video=media.video is not None
    )
    ring = callee.device.account.wait_for(
        "IncomingCall", "the call to ring", within=deadline.remaining(), place_call_info=offer
    )
    phases.reach("ring", ring.time)
    incoming = CallMessage(callee.device.account, ring["msg_id"])
    return Ringing(caller, callee, media, outgoing, incoming, offer, phases)


def _has_talked(peer: Peer, before: Stats, seconds: float, numbers: int) -> bool:
    stats = peer.stats()
    played = not stats.pace or stats.played >= before.played + seconds
    return played and stats.numbers_sent >= before.numbers_sent + numbers


def _all_arrived(sender: Stats, receiver: Stats) -> bool:
    packets = sender.traffic.packets_sent == receiver.traffic.packets_received
    return packets and sender.numbers_sent == receiver.numbers_received
