"""Differences between versions of Delta Chat core, as far as this harness drives them: one row for each change.

Everything else that the harness asks of core (configuration codes, secure join, messages, apps, realtime, backups)
is the same from 1.160.0 to 2.65.0. Measured with the binaries themselves. Every version before 2.50.0 lacks
`get_next_event_batch`, as far as we looked (2.43.0); newer ones still have `get_next_event`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

__all__ = ["ANNOUNCED", "CoreUnsupported", "Era", "era_of"]

ANNOUNCED = re.compile(
    r"Adding iroh peer with (?:node id |address \"\{\\\"node_id\\\":\\\")([0-9a-f]{64})\b"
    r".* to the topic of Msg#(\d+)\b"
)
"""Core's log: somebody's node ID and the message of the app. Until 2.0 it shows the whole address, as escaped JSON."""

VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")


class CoreUnsupported(Exception):
    """This version of core cannot be used with this target, for a reason of its own. The text has both."""


class EventSource(Protocol):
    """The two remote calls that wait for events."""

    def get_next_event(self) -> Mapping[str, Any] | None: ...

    def get_next_event_batch(self) -> Sequence[Mapping[str, Any]]: ...


class CallSource(Protocol):
    """The remote call that begins a call."""

    def place_outgoing_call(self, account: int, chat: int, offer: str, /, *video: bool) -> int: ...


@dataclass(frozen=True)
class Era:
    """The versions from `since` to the next era."""

    since: tuple[int, int, int]
    batched_events: bool
    """The events that are there come in one answer, and not each with a request of its own."""
    needs_turn: bool
    """True if core, where METADATA offers no TURN, looks up the public name nine.testrun.org before it watches its
    inbox, and does not watch it when that name has no address. (Others, 2.20.0 among them, look it up and go on
    without.)"""
    has_calls: bool = True
    """It has the remote calls for calls."""
    calls_tell_video: bool = True
    """Whoever calls says whether it begins with video."""
    has_transports: bool = True
    """A profile can have accounts on several servers: 2.20.0 refuses the second, 2.35.0 takes it."""

    def require_transports(self, version: str) -> None:
        """Raise `CoreUnsupported` for a core whose profiles have one server each."""
        if not self.has_transports:
            raise CoreUnsupported(f"core {version} has no profiles with several servers")

    def require_calls(self, version: str) -> None:
        """Raise `CoreUnsupported` for a core that has none."""
        if not self.has_calls:
            raise CoreUnsupported(f"core {version} has no calls: they came with 2.15.0")

    def place_call(self, source: CallSource, account: int, chat: int, offer: str, *, has_video: bool) -> int:
        """Call the members of a chat, with the SDP of our offer. Returns the number of the message."""
        if self.calls_tell_video:
            return source.place_outgoing_call(account, chat, offer, has_video)
        return source.place_outgoing_call(account, chat, offer)

    def next_events(self, source: EventSource) -> Sequence[Mapping[str, Any]]:
        """Wait for the next events; empty when there will be none."""
        if self.batched_events:
            return source.get_next_event_batch()
        event = source.get_next_event()
        return [] if event is None else [event]


_ONE_SERVER = Era(
    (1, 160, 0),
    batched_events=False,
    needs_turn=False,
    has_calls=False,
    calls_tell_video=False,
    has_transports=False,
)
_ERAS = (
    _ONE_SERVER,
    replace(_ONE_SERVER, since=(2, 15, 0), has_calls=True),
    Era((2, 35, 0), batched_events=False, needs_turn=True, calls_tell_video=False),
    Era((2, 38, 0), batched_events=False, needs_turn=False, calls_tell_video=False),
    Era((2, 40, 0), batched_events=False, needs_turn=False),
    Era((2, 50, 0), batched_events=True, needs_turn=False),
)


def era_of(version: str) -> Era:
    """The era of a version as core writes it, `v2.65.0`; what we cannot read is new, what is older is not known.

    Raises ValueError for a version before 1.160.0.
    """
    numbers = VERSION.match(version)
    if numbers is None:
        return _ERAS[-1]
    given = (int(numbers[1]), int(numbers[2]), int(numbers[3]))
    eras = [era for era in _ERAS if era.since <= given]
    if not eras:
        raise ValueError(f"this harness drives Delta Chat core from 1.160.0 on, not {version}")
    return eras[-1]
