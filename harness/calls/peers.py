"""The peers of a call, as those who make calls know them: what one is told, what it can be asked, and what it says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from .quality import LONGEST_PAUSE, AudioFindings, MachineTooSlow, Pace, VideoFindings

__all__ = [
    "IceServer",
    "NoRelayCandidate",
    "Peer",
    "PeerDied",
    "PeerError",
    "PeerEvent",
    "Report",
    "SelectedPair",
    "Settings",
    "Stats",
    "Traffic",
]


LONGEST_STILL = 1.0
"""Seconds; a call is set up in less than one."""


class PeerError(Exception):
    """A peer could not do what it was asked. The text has its words."""


class NoRelayCandidate(PeerError):
    """The TURN server gave the peer no relayed transport address. The text says what the peer saw."""


class PeerDied(PeerError):
    """The peer's process has ended by itself. The text has the end of its stderr."""


@dataclass(frozen=True)
class IceServer:
    """An entry of what core's `ice_servers()` returns."""

    urls: tuple[str, ...]
    username: str | None = None
    credential: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Settings:
    """One side of a call.

    `stream`: number of what it plays (0 to 255), `expect`: of what it should hear. `video`: width, height and pictures
    per second. `mutes`: seconds from the first sample, from and to, in which it plays silence.
    """

    ice_servers: Sequence[IceServer]
    stream: int
    expect: int
    policy: Literal["all", "relay"] = "all"
    audio: bool = True
    video: tuple[int, int, float] | None = None
    mutes: Sequence[tuple[float, float]] = ()
    trickle: bool = False
    """Send only relayed candidates in the SDP, and the others over the channel, as Delta Chat's call UI may."""
    retry_after: float = 0.05
    """Seconds until aioice repeats a check: with the 0.5 of the RFC most calls start half a second late."""
    channel_refresh: float = 500.0
    """Seconds until aioice binds a channel again, with what it sends next. It refreshes permissions never."""


@dataclass(frozen=True)
class PeerEvent:
    """Something that happened at a peer: unix seconds, kind, and the rest."""

    time: float
    kind: str
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class SelectedPair:
    """The candidate pair that carries the call; the addresses are IP and port."""

    local: str
    local_address: tuple[str, int]
    remote: str
    remote_address: tuple[str, int]

    @property
    def is_relayed(self) -> bool:
        """True if one side at least holds the allocation that the media goes through."""
        return "relay" in (self.local, self.remote)

    def __str__(self) -> str:
        return f"{self.local} to {self.remote}"


@dataclass(frozen=True)
class Traffic:
    """DTLS, RTP and RTCP at the ICE component: packets, and bytes of UDP payload as sent (encrypted)."""

    packets_sent: int
    bytes_sent: int
    packets_received: int
    bytes_received: int


@dataclass(frozen=True)
class Stats:
    """Counts and states of a peer's call so far."""

    traffic: Traffic
    pair: SelectedPair | None
    ice: str
    connection: str
    pace: Mapping[str, Pace]
    """Pace of each source, by its kind."""
    numbers_sent: int
    numbers_received: int
    numbers_in_order: bool
    pictures_not_sent: int = 0
    """Pictures that the peer's own encoder left out, as libwebrtc's does when it is short of time."""
    pictures_dropped: int = 0
    """Pictures that arrived and that the peer's own decoder left out."""
    stood_still: float = 0.0
    """Seconds, the longest that the peer's program stood still while the call was set up; 0: it does not say."""

    @property
    def played(self) -> float:
        """Seconds that the sources have played, pauses not counted."""
        return max((each.seconds for each in self.pace.values()), default=0.0)

    def check_set_up(self, name: str) -> None:
        """Raise `MachineTooSlow` if what was late in setting the call up may have been this peer's program."""
        if self.stood_still > LONGEST_STILL:
            raise MachineTooSlow(
                f"machine too slow ({name}'s call window stood still for {self.stood_still:.1f} s)"
            )

    def check_pace(self, name: str, longest_pause: float = LONGEST_PAUSE) -> None:
        """Raise `MachineTooSlow` if this peer did not send what it should have, or paused for longer (seconds)."""
        for kind, pace in self.pace.items():
            pace.check(f"{name}'s {kind}", longest_pause)


@dataclass(frozen=True)
class Report:
    """Findings of a peer about what it heard and saw, and the RTP packets of all streams as it counted them."""

    audio: AudioFindings | None
    video: VideoFindings | None
    packets: int
    packets_lost: int
    packets_duplicated: int
    packets_reordered: int


class Peer(Protocol):
    """The end of a call on one device: it plays, listens, and counts.

    It carries media and no signalling: its offer and its answer go through the device's core. Each command raises
    `PeerError` for what did not work, `PeerDied`, and `MachineTooSlow` when there is no answer in time.
    """

    name: str
    description: str
    """Program and version, for records; empty: it is the usual one."""
    has_connection: bool
    """A call was opened, whatever became of it: before that a peer has sent nothing, and has no `stats`."""

    def offer(self, settings: Settings) -> str:
        """Open a call and return its SDP, with a relayed candidate where TURN is offered. Raises `NoRelayCandidate`."""

    def answer(self, settings: Settings, offer: str) -> str:
        """Open a call that was offered; result and errors as in `offer`."""

    def set_answer(self, answer: str) -> None:
        """Tell the peer that offered what the other one answered."""

    def mute(self, *, audio: bool, video: bool = False) -> None:
        """Play silence or black, and tell the other side over the channel `mutedState`."""

    def pause(self, paused: bool = True) -> None:
        """Let the sources send nothing, or go on."""

    def send_numbers(self, count: int) -> None:
        """Begin to send messages, 100 a second, over the harness's own data channel; `stats` says how many."""

    def stats(self) -> Stats:
        """Counts and states of the call so far; also after `hang_up`."""

    def sent(self) -> Mapping[str, Sequence[float]]:
        """Times at which each frame was sent, by kind of media, seconds of the machine's monotonic clock."""

    def report(self, other: Peer) -> Report:
        """Judge what arrived from the other side's peer, in the light of what it says that it sent."""

    def hang_up(self) -> None:
        """Close the call, which ends its allocations at the TURN server."""

    def events(self, kind: str, **fields: Any) -> tuple[PeerEvent, ...]:
        """The events of one kind so far whose fields have these values."""

    def wait_for(self, kind: str, what: str | None = None, *, within: float, **fields: Any) -> PeerEvent:
        """The first event of this kind with these values, past or coming. Raises `WaitTimeout`, `PeerDied`."""
