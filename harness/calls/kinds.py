"""Kinds of peers that a call can have at each end, by name, and which device gets which."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..clients.core.versions import person_of
from ..hosts import Host, MissingCapability
from .agent import Agent, require_agents
from .process import PeerProcess
from .window import Window, require_windows

__all__ = ["AIORTC", "CHROMIUM", "KINDS", "PeerChoice", "PeerKind"]


@dataclass(frozen=True)
class PeerKind:
    """A program that can be at the end of a call."""

    name: str
    require: Callable[[], None]
    """Raises `MissingCapability`, with the command that heals it, where it cannot run."""
    start: Callable[[Path, str, Host, Path | None], PeerProcess]
    """Start one: directory of its logs, name of its device, host, and the CA that signed the certificates of TURN."""
    gives_up_after: float
    """Seconds without an answer of the other side after which its call is dead for good, at the earliest."""
    moves: bool = False
    """Its ICE moves a call to the best way, as libwebrtc's does; aioice stays with the first that answers."""


def _start_agent(logs: Path, name: str, host: Host, ca_file: Path | None) -> PeerProcess:
    return Agent(logs, name, host=host, ca_file=ca_file)


def _start_window(logs: Path, name: str, host: Host, ca_file: Path | None) -> PeerProcess:
    return Window(logs, name, host=host, ca_file=ca_file)


def _require_window() -> None:
    require_agents()  # sound and pictures are made and judged by what comes with aiortc
    require_windows()


# Six checks of consent, 4 to 6 s apart (RFC 7675).
AIORTC = PeerKind("aiortc", require_agents, _start_agent, gives_up_after=24.0)
# The ICE of libwebrtc is `failed` then, and the call UI does not restart it.
CHROMIUM = PeerKind("chromium", _require_window, _start_window, gives_up_after=15.0, moves=True)
KINDS: Mapping[str, PeerKind] = {each.name: each for each in (AIORTC, CHROMIUM)}


@dataclass(frozen=True)
class PeerChoice:
    """Kind of each device's peer: one by the device's name, or the one for all."""

    every: PeerKind = AIORTC
    by_device: Mapping[str, PeerKind] = field(default_factory=dict)

    @classmethod
    def parse(cls, texts: Iterable[str]) -> PeerChoice:
        """Read `chromium` and `alice=chromium,bob=aiortc`; several of them add up. Raises ValueError."""
        every, by_device = AIORTC, {}
        for word in (word.strip() for text in texts for word in text.split(",")):
            device, equals, name = word.rpartition("=")
            if name not in KINDS or (equals and not device):
                raise ValueError(
                    f"--peer: {word!r} is none like {CHROMIUM.name} or alice={CHROMIUM.name}; "
                    f"there are {' and '.join(KINDS)}"
                )
            if device:
                by_device[device] = KINDS[name]
            else:
                every = KINDS[name]
        return cls(every, by_device)

    def for_device(self, name: str) -> PeerKind:
        """What is chosen for alice holds for all of her devices, see `person_of`."""
        return self.by_device.get(name, self.by_device.get(person_of(name), self.every))

    def at_once(self, most: int) -> int:
        """Calls that may be made at the same time: two browsers are what a small machine bears."""
        return 1 if CHROMIUM in self.kinds else most

    def with_windows(self, people: Iterable[str]) -> PeerChoice:
        """The same, with call windows on the devices of these people."""
        return replace(self, by_device={**self.by_device, **dict.fromkeys(people, CHROMIUM)})

    @property
    def kinds(self) -> tuple[PeerKind, ...]:
        """All that were chosen."""
        return tuple(dict.fromkeys((self.every, *self.by_device.values())))

    def require_only(self, kind: PeerKind, why: str) -> None:
        """Raise `MissingCapability` where a device has a peer of another kind."""
        if others := [each.name for each in self.kinds if each is not kind]:
            raise MissingCapability(kind.name, f"not with {others[0]}: {why}", heal=f"--peer {kind.name}")

    def require_windows(self, people: Iterable[str]) -> None:
        """Raise `MissingCapability` where devices of one of these people have another peer than a call window."""
        for person in people:
            if self.for_device(person) is not CHROMIUM:
                raise MissingCapability(
                    CHROMIUM.name,
                    f"{person}'s devices have no call window",
                    heal=f"--peer {person}={CHROMIUM.name}",
                )

    def require(self) -> None:
        """Raises `MissingCapability` for the first that cannot run here."""
        for each in self.kinds:
            each.require()
