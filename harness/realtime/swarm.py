"""Devices that run the same WebXDC app and exchange numbered messages over its realtime channel."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor

from ..clients.core.core import Webxdc
from ..clients.core.iroh_trace import OWN_ID_DIGITS
from ..clients.device import Device
from ..scratch import scratch_directory
from ..waiting import Deadline, WaitTimeout, now, wait_until
from .app import build_app
from .inbox import Inbox
from .table import LAYOUT, Arrival, MessageKind, Payload, Sent, TruthTable, tabulate

__all__ = ["LARGEST", "NodeIdUnknown", "Swarm", "join", "share_app"]

LARGEST = 130_964
"""Bytes. Of 128 KiB, core and gossip take 108; a larger one is lost, and the sender's channel with it (measured)."""

WARM_UP_INTERVAL = 0.05
"""Seconds between two warm-up messages of a device: what is sent before the swarm is up is lost by design."""
STRAGGLERS_WITHIN = 3.0
"""Seconds for messages of a swarm that works again: gossip fetches what a neighbour had meanwhile."""
TALK_ON = 3.0
"""Seconds to talk on after something happened: what dies of it slowly shows."""


class NodeIdUnknown(Exception):
    """Node ID that the clients' words do not tie to a device. The text has what they say."""


class Member:
    """A device with its copy of the app; `index` is its number in the payloads."""

    def __init__(self, index: int, device: Device, app: Webxdc, inbox: Inbox) -> None:
        self.index = index
        self.device = device
        self.app = app
        self._inbox = inbox
        self._position = 0

    @property
    def name(self) -> str:
        return self.device.name

    def inbox(self) -> Inbox:
        """With everything that has arrived by now."""
        events, self._position = self.app.received_from(self._position)
        self._inbox.take(events)
        return self._inbox


class Swarm:
    """The gossip swarm of one app. `within` is a number of seconds."""

    def __init__(self, members: Sequence[tuple[Device, Webxdc]]) -> None:
        self._names = [device.name for device, _app in members]
        self._run = secrets.token_bytes(8)
        self._members = [
            Member(index, device, app, Inbox(device.name, self._names, self._run))
            for index, (device, app) in enumerate(members)
        ]
        self._numbers = Counter[MessageKind]()

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

    @property
    def warm_up_bytes(self) -> int:
        """Bytes of those messages that arrived by which devices find out that they hear each other."""
        return LAYOUT.size * len(self._arrivals(MessageKind.WARM_UP))

    def app_of(self, device: Device) -> Webxdc:
        """The device's copy of the app."""
        return self._member(device).app

    def wait_until_up(self, *, within: float = 60.0) -> None:
        """Send marked messages from everyone until each pair has seen one of these in each direction."""
        deadline = Deadline(within)
        first = self._numbers[MessageKind.WARM_UP]
        while silent := self._silent(MessageKind.WARM_UP, first):
            if deadline.over:
                heard = f"nothing from {', '.join(silent)}"
                raise WaitTimeout("each device of the swarm to hear each other", within, heard)
            self._send_all(MessageKind.WARM_UP)
            with contextlib.suppress(WaitTimeout):
                wait_until(
                    lambda: not self._silent(MessageKind.WARM_UP, first), "the swarm", within=WARM_UP_INTERVAL
                )

    def exchange(
        self,
        count: int,
        *,
        size: int | None = None,
        within: float = 30.0,
        apart: Collection[Device] = (),
    ) -> TruthTable:
        """Send `count` numbered messages, of `size` bytes if given, from everyone to everyone; what became of each?

        A message that does not arrive in time is a row of the table, not an exception. Nobody waits for what is sent
        from or to the devices `apart`: it is not expected to arrive.
        """
        first = self._numbers[MessageKind.NUMBERED]
        sent = [each for _ in range(count) for each in self._send_all(MessageKind.NUMBERED, size)]
        return self._tabulate(first, sent, within=within, apart=[each.name for each in apart])

    def exchange_during(
        self, event: Callable[[], object], *, every: float = 0.05, within: float = 60.0
    ) -> TruthTable:
        """Everyone sends a numbered message each `every` seconds: before `event`, while it runs, until each hears each
        again, and a little longer. What became of them?

        Raises `WaitTimeout` when they do not hear each other again.
        """
        deadline = Deadline(within)
        first = self._numbers[MessageKind.NUMBERED]
        over = threading.Event()
        with ThreadPoolExecutor(max_workers=1) as pool:
            sending = pool.submit(self._send_until, over, every)
            try:
                wait_until(
                    lambda: not self._silent(MessageKind.NUMBERED, first),
                    "the swarm",
                    within=deadline.remaining(),
                )
                event()
                self.wait_until_up(within=deadline.remaining())
                over.wait(TALK_ON)
            finally:
                over.set()
            sent = sending.result()
        return self._tabulate(first, sent, within=STRAGGLERS_WITHIN)

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
            member.app.send(Payload(self._run, member.index, MessageKind.AWAY, number).encode())

    def heard_away(self, device: Device) -> int:
        """Number of messages that were sent while it had left and arrived at a device all the same."""
        return sum(each.receiver == device.name for each in self._arrivals(MessageKind.AWAY))

    def _member(self, device: Device) -> Member:
        [member] = [each for each in self._members if each.device is device]
        return member

    def _send_all(self, kind: MessageKind, size: int | None = None) -> list[Sent]:
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

    def _send_until(self, over: threading.Event, every: float) -> list[Sent]:
        sent = self._send_all(MessageKind.NUMBERED)
        while not over.wait(every):
            sent += self._send_all(MessageKind.NUMBERED)
        return sent

    def _tabulate(
        self, first: int, sent: Sequence[Sent], *, within: float, apart: Collection[str] = ()
    ) -> TruthTable:
        """Wait for the messages from number `first` on, and for one more, so that duplicates have come as well."""
        [last, *_] = self._send_all(MessageKind.LAST)
        wanted = range(first, max(each.sequence for each in sent) + 1)

        def complete() -> bool:
            inboxes = {member.name: member.inbox() for member in self._members}
            return all(
                inboxes[receiver].heard(sender, MessageKind.LAST, last.sequence)
                and inboxes[receiver].has_all(sender, wanted)
                for sender, receiver in self._pairs(apart)
            )

        with contextlib.suppress(WaitTimeout):
            wait_until(complete, "every message", within=within)
        arrivals = [each for each in self._arrivals(MessageKind.NUMBERED) if each.sequence >= first]
        return tabulate(self._names, sent, arrivals)

    def _silent(self, kind: MessageKind, number: int) -> list[str]:
        """The directions in which no message of this kind with this number or a later one arrived."""
        inboxes = {member.name: member.inbox() for member in self._members}
        return [
            f"{sender} to {receiver}"
            for sender, receiver in self._pairs()
            if not inboxes[receiver].heard(sender, kind, number)
        ]

    def _pairs(self, apart: Collection[str] = ()) -> list[tuple[str, str]]:
        return list(itertools.permutations([name for name in self._names if name not in apart], 2))

    def _arrivals(self, kind: MessageKind) -> list[Arrival]:
        return [arrival for member in self._members for arrival in member.inbox().arrivals(kind)]


def join(first: Device, *others: Device, within: float = 60.0) -> Swarm:
    """The first device sends an app, all open its realtime channel; returns when messages go every way.

    The others must be befriended with the first; they need not be with each other. Raises `WaitTimeout` with the
    step that did not happen.
    """
    deadline = Deadline(within)
    swarm = share_app(first, *others, within=within)
    swarm.advertise(within=deadline.remaining())
    swarm.wait_until_up(within=deadline.remaining())
    return swarm


def share_app(first: Device, *others: Device, within: float = 60.0) -> Swarm:
    """The first device sends an app, which all have then; nobody has opened its channel yet. As `join` otherwise."""
    deadline = Deadline(within)
    token = f"realtime {secrets.token_hex(4)}"
    with scratch_directory("app") as directory:
        friends = [each.account for each in others]
        sent = first.account.send_webxdc(friends, build_app(directory), text=token)
        received = [
            (each, each.account.wait_for_webxdc(token, within=deadline.remaining())) for each in others
        ]
    return Swarm([(first, sent), *received])
