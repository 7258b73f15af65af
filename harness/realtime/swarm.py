"""Devices that run the same WebXDC app and exchange numbered messages over its realtime channel."""

from __future__ import annotations

import contextlib
import secrets
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ..clients.core import CoreEvent, Webxdc
from ..clients.iroh_trace import OWN_ID_DIGITS
from ..clients.rpc import now
from ..device import Device
from ..waiting import Deadline, WaitTimeout, wait_until
from .app import build_app
from .table import Arrival, Kind, Payload, Sent, TruthTable, tabulate

__all__ = ["LARGEST", "NodeIdUnknown", "Swarm", "join"]

LARGEST = 130_964
"""Bytes. Of 128 KiB, core and gossip take 108; a larger one is lost, and the sender's channel with it (measured)."""

WARM_UP_INTERVAL = 0.05
"""Seconds between two warm-up messages of a device: what is sent before the swarm is up is lost by design."""


class NodeIdUnknown(Exception):
    """What the clients say does not tie a node ID to a device. The text has what they say."""


@dataclass(frozen=True)
class Member:
    """A device with its copy of the app; `index` is its number in the payloads."""

    index: int
    device: Device
    app: Webxdc

    @property
    def name(self) -> str:
        return self.device.name


class Swarm:
    """The gossip swarm of one app. `within` is a number of seconds."""

    def __init__(self, members: Sequence[tuple[Device, Webxdc]]) -> None:
        self._members = [Member(index, device, app) for index, (device, app) in enumerate(members)]
        self._names = [member.name for member in self._members]
        self._run = secrets.token_bytes(8)
        self._numbers = Counter[Kind]()

    def advertise(self, *, within: float = 60.0) -> None:
        """Every device announces its node ID to the others, who wait for it."""
        deadline = Deadline(within)
        with ThreadPoolExecutor(max_workers=len(self._members)) as pool:
            for advertising in [pool.submit(member.app.advertise) for member in self._members]:
                advertising.result()
        for member in self._members:
            member.device.account.wait_for(
                "WebxdcRealtimeAdvertisementReceived",
                "the node ID of another device",
                within=deadline.remaining(),
                msg_id=member.app.msg_id,
            )

    def app_of(self, device: Device) -> Webxdc:
        """The device's copy of the app."""
        return self._member(device).app

    def wait_until_up(self, *, within: float = 60.0) -> None:
        """Send marked messages from everyone until each pair has seen one of these in each direction."""
        deadline = Deadline(within)
        first = self._numbers[Kind.WARM_UP]
        while silent := self._silent(Kind.WARM_UP, first):
            if deadline.over:
                heard = f"nothing from {', '.join(silent)}"
                raise WaitTimeout("each device of the swarm to hear each other", within, heard)
            self._send_all(Kind.WARM_UP)
            with contextlib.suppress(WaitTimeout):
                wait_until(
                    lambda: not self._silent(Kind.WARM_UP, first), "the swarm", within=WARM_UP_INTERVAL
                )

    def exchange(self, count: int, *, size: int | None = None, within: float = 30.0) -> TruthTable:
        """Send `count` numbered messages, of `size` bytes if given, from everyone to everyone; what became of each?

        A message that does not arrive in time is a row of the table, not an exception.
        """
        first = self._numbers[Kind.NUMBERED]
        sent = [each for _ in range(count) for each in self._send_all(Kind.NUMBERED, size)]
        [last, *_] = self._send_all(Kind.LAST)
        wanted = range(first, first + count)
        with contextlib.suppress(WaitTimeout):
            wait_until(
                lambda: not self._silent(Kind.LAST, last.sequence) and self._all_arrived(wanted),
                "every message",
                within=within,
            )
        arrivals = [each for each in self._arrivals(Kind.NUMBERED) if each.sequence >= first]
        return tabulate(self._names, sent, arrivals)

    def node_id(self, device: Device) -> str:
        """The node ID (64 hex digits) of a device, from clients alone: never from a server's ledger.

        It is what all others learnt from an announcement and the device itself did not; and the device's own iroh
        endpoint must say that it begins like this. Raises `NodeIdUnknown` if the two do not agree on one.
        """
        member = self._member(device)
        others = [each.app.announced_node_ids() for each in self._members if each is not member]
        learnt = frozenset.intersection(*others) - member.app.announced_node_ids()
        own = device.core.iroh_trace().own_ids
        agreed = [node_id for node_id in learnt if node_id[:OWN_ID_DIGITS] in own]
        if len(agreed) != 1:
            raise NodeIdUnknown(
                f"the node ID of {device.name} is not known: its peers learnt {sorted(learnt) or 'none'}, "
                f"its own endpoint names itself {sorted(own) or 'nothing'}"
            )
        return agreed[0]

    def send_away(self, device: Device, count: int) -> None:
        """Send messages from one device while another has left."""
        member = self._member(device)
        for number in range(count):
            member.app.send(Payload(self._run, member.index, Kind.AWAY, number).encode())

    def heard_away(self, device: Device) -> int:
        """How many messages that were sent while it had left arrived at a device all the same."""
        return sum(each.receiver == device.name for each in self._arrivals(Kind.AWAY))

    def _member(self, device: Device) -> Member:
        [member] = [each for each in self._members if each.device is device]
        return member

    def _send_all(self, kind: Kind, size: int | None = None) -> list[Sent]:
        """One message of this kind from every device, all with the same new number."""
        number = self._numbers[kind]
        self._numbers[kind] += 1
        sent = []
        for member in self._members:
            payload = Payload(self._run, member.index, kind, number)
            data = payload.encode() if size is None else payload.encode(size)
            sent.append(Sent(member.name, number, now()))
            member.app.send(data)
        return sent

    def _silent(self, kind: Kind, number: int) -> list[str]:
        """The directions in which no message of this kind with this number or a later one arrived."""
        heard = {(each.sender, each.receiver) for each in self._arrivals(kind) if each.sequence >= number}
        return [
            f"{sender} to {receiver}"
            for sender in self._names
            for receiver in self._names
            if sender != receiver and (sender, receiver) not in heard
        ]

    def _all_arrived(self, wanted: Iterable[int]) -> bool:
        seen = {(each.sender, each.receiver, each.sequence) for each in self._arrivals(Kind.NUMBERED)}
        pairs = [(a, b) for a in self._names for b in self._names if a != b]
        return all((*pair, number) in seen for number in wanted for pair in pairs)

    def _arrivals(self, kind: Kind) -> list[Arrival]:
        return [
            arrival
            for member in self._members
            for arrival in arrivals(member.app.received(), member.name, self._names, self._run, kind)
        ]


def arrivals(
    events: Iterable[CoreEvent], receiver: str, names: Sequence[str], run: bytes, kind: Kind
) -> list[Arrival]:
    """What one device's realtime events say about the messages of one kind of one run."""
    found = []
    for event in events:
        payload = Payload.decode(event["data"])
        if payload and payload.run == run and payload.kind is kind and payload.sender < len(names):
            found.append(Arrival(receiver, names[payload.sender], payload.sequence, event.time))
    return found


def join(first: Device, *others: Device, within: float = 60.0) -> Swarm:
    """The first device sends an app, all open its realtime channel; returns when messages go every way.

    The others must be befriended with the first; they need not be with each other. Raises `WaitTimeout` with the
    step that did not happen.
    """
    deadline = Deadline(within)
    token = f"realtime {secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory() as directory:
        friends = [each.account for each in others]
        sent = first.account.send_webxdc(friends, build_app(Path(directory)), text=token)
        received = [
            (each, each.account.wait_for_webxdc(token, within=deadline.remaining())) for each in others
        ]
    swarm = Swarm([(first, sent), *received])
    swarm.advertise(within=deadline.remaining())
    swarm.wait_until_up(within=deadline.remaining())
    return swarm
