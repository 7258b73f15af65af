"""An account of what the TURN server carried: packets and bytes by peer, direction and class of the first byte."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from reference_server.ledger import Ledger

from .stun import Address

__all__ = ["CLASSES", "CLASS_OF", "AllocationRecord", "Flow", "Tally", "TurnLedger"]

MAX_ALLOCATIONS = 20_000

CLASSES = ("stun", "dtls", "rtp", "other")
"""First bytes 0-3, 20-63, 128-191 (RTP and RTCP), anything else or none (RFC 7983)."""
OTHER = CLASSES.index("other")
CLASS_OF = bytes(
    0 if byte <= 3 else 1 if 20 <= byte <= 63 else 2 if 128 <= byte <= 191 else OTHER for byte in range(256)
)


class Tally:
    """Packets and payload bytes of each class."""

    __slots__ = ("bytes", "packets")

    def __init__(self) -> None:
        self.packets = [0] * len(CLASSES)
        self.bytes = [0] * len(CLASSES)

    def count(self, payload: bytes) -> None:
        self.add(CLASS_OF[payload[0]] if payload else OTHER, 1, len(payload))

    def add(self, kind: int, packets: int, size: int) -> None:
        """`kind` is an index of `CLASSES`, `size` that of all packets together."""
        self.packets[kind] += packets
        self.bytes[kind] += size

    def snapshot(self) -> dict[str, dict[str, int]]:
        return {
            name: {"packets": self.packets[kind], "bytes": self.bytes[kind]}
            for kind, name in enumerate(CLASSES)
            if self.packets[kind]
        }


class Flow:
    """Traffic of one allocation with one peer: payloads without any header of TURN."""

    __slots__ = ("channel", "peer", "to_client", "to_peer")

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.channel: int | None = None
        self.to_peer = Tally()
        self.to_client = Tally()

    def snapshot(self) -> dict[str, Any]:
        return {
            "peer": self.peer,
            "channel": self.channel,
            "to_peer": self.to_peer.snapshot(),
            "to_client": self.to_client.snapshot(),
        }


class AllocationRecord:
    """The account of one allocation. `control_in` and `control_out` are STUN messages other than Send and Data."""

    def __init__(
        self,
        number: int,
        *,
        transport: str,
        client: Address,
        server: Address,
        username: str,
        relayed: list[str],
        opened: float,
        peers_remembered: int,
    ) -> None:
        self._facts = {
            "id": number,
            "transport": transport,
            "client": str(client),
            "server": str(server),
            "username": username,
            "relayed": relayed,
            "opened": opened,
        }
        self.closed: float | None = None
        self.reason: str | None = None
        self.control_in = [0, 0]
        self.control_out = [0, 0]
        self._peers_remembered = peers_remembered
        self._flows: dict[Address, Flow] = {}
        self._crowd: Flow | None = None
        self._drops: dict[str, list[int]] = {}

    def flow(self, peer: Address) -> Flow:
        """The counters of one peer; peers beyond the bound share one flow."""
        known = self._flows.get(peer)
        if known is None:
            if len(self._flows) >= self._peers_remembered:
                self._crowd = self._crowd or Flow("others")
                return self._crowd
            known = self._flows[peer] = Flow(str(peer))
        return known

    def drop(self, reason: str, size: int, packets: int = 1) -> None:
        """A payload that was not forwarded. `reason` is one of a few fixed words."""
        count = self._drops.setdefault(reason, [0, 0])
        count[0] += packets
        count[1] += size

    def snapshot(self) -> dict[str, Any]:
        flows = [*self._flows.values(), *([self._crowd] if self._crowd else [])]
        return {
            **self._facts,
            "closed": self.closed,
            "reason": self.reason,
            "control": {"in": _count(self.control_in), "out": _count(self.control_out)},
            "peers": [flow.snapshot() for flow in flows],
            "drops": {reason: _count(count) for reason, count in self._drops.items()},
        }


def _count(pair: list[int]) -> dict[str, int]:
    return {"packets": pair[0], "bytes": pair[1]}


class TurnLedger(Ledger):
    """The service's ledger with its allocations.

    The allocations change in the thread of the event loop; `run_there` is how `snapshot`, called from another
    thread, gets its turn there.
    """

    def __init__(self, *, enabled: bool, clock: Callable[[], float] = time.time) -> None:
        super().__init__("turn", enabled=enabled, clock=clock)
        self.wall_clock = clock
        self.run_there: Callable[[Callable[[], dict[str, Any]]], dict[str, Any]] = lambda work: work()
        self._allocations: OrderedDict[int, AllocationRecord] = OrderedDict()
        self._allocations_seen = 0
        self._unallocated: dict[str, list[int]] = {}

    def allocation(
        self,
        *,
        transport: str,
        client: Address,
        server: Address,
        username: str,
        relayed: list[str],
        peers_remembered: int,
    ) -> AllocationRecord:
        self._allocations_seen += 1
        record = AllocationRecord(
            self._allocations_seen,
            transport=transport,
            client=client,
            server=server,
            username=username,
            relayed=relayed,
            opened=self.wall_clock(),
            peers_remembered=peers_remembered,
        )
        if self.enabled:
            self._allocations[self._allocations_seen] = record
            if len(self._allocations) > MAX_ALLOCATIONS:
                self._allocations.popitem(last=False)
        return record

    def drop(self, reason: str, size: int) -> None:
        """Something that belongs to no allocation and was not answered."""
        count = self._unallocated.setdefault(reason, [0, 0])
        count[0] += 1
        count[1] += size

    def snapshot(self) -> dict[str, Any]:
        return self.run_there(self._snapshot)

    def _snapshot(self) -> dict[str, Any]:
        return {
            **super().snapshot(),
            "allocations": [record.snapshot() for record in self._allocations.values()],
            "allocations_forgotten": self._allocations_seen - len(self._allocations),
            "drops": {reason: _count(count) for reason, count in self._unallocated.items()},
        }
