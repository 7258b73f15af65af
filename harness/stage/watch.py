"""One watch for calls and realtime data alike: everything that is counted while something happens in a lab.

with lab.watch("media", Service.TURN, alice, bob) as seen:
    ...
path = seen.path_of_call(client_counts)

It counts at the edges of the devices and of the server, and asks the server's ledger, or the relay's metrics, where
there is one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Self

from ..clients.control import PairTraffic, ServiceLedger
from ..clients.relay.metrics import RelayMetrics
from ..evidence import egress, paths
from ..evidence.edges import Edges
from ..evidence.egress import DirectTraffic, Egress
from ..evidence.flows import EdgeCounts
from ..evidence.parties import Parties
from ..evidence.paths import ClientCounts
from ..evidence.verdicts import ObservedPath
from ..waiting import WaitTimeout

__all__ = ["Traffic", "Watch"]

log = logging.getLogger(__name__)

SETTLE_WITHIN = 10.0
READINGS = 3
"""At most, until nothing has passed while the ledger was read."""

Reading = tuple[Mapping[str, EdgeCounts], ServiceLedger | None, RelayMetrics | None]
NOTHING_READ: Reading = ({}, None, None)
Traffic = dict[str, dict[str, dict[str, int]]]
"""Device -> other end -> `sent` and `received`, in bytes behind the IP header."""


class Watch:
    """Counts of one phase, between some devices and all that they talk to. It begins and ends with the block."""

    def __init__(
        self,
        phase: str,
        parties: Callable[[], Parties],
        edges: Edges,
        *,
        server: str | None,
        ledger: Callable[[], ServiceLedger | None],
        metrics: Callable[[], RelayMetrics | None] = lambda: None,
        settle_within: float = SETTLE_WITHIN,
    ) -> None:
        """`parties`: who is who, asked again at the end; `server`: name of the server's host among the edges,
        None where its edge is not watched."""
        self.phase = phase
        self._parties = parties
        self._edges = edges
        self._server = server
        self._ledger = ledger
        self._metrics = metrics
        self._settle_within = settle_within
        self._before = self._after = NOTHING_READ

    def __enter__(self) -> Self:
        self._before = self._read()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._after = self._read()

    @property
    def parties(self) -> Parties:
        """The devices that it is about, and everything that the target offers to them."""
        return self._parties()

    @property
    def edges(self) -> dict[str, EdgeCounts]:
        """Counts of the phase at the edges of the devices and of the server, by name of the host."""
        before, after = self._before[0], self._after[0]
        return {name: counts - before.get(name, EdgeCounts()) for name, counts in after.items()}

    @property
    def of_devices(self) -> dict[str, EdgeCounts]:
        """Likewise, of the devices alone."""
        names = [device.name for device in self.parties.devices]
        return {name: counts for name, counts in self.edges.items() if name in names}

    def path_of_call(
        self, agents: Mapping[str, ClientCounts] | None, *, lost: Mapping[str, int] | None = None
    ) -> ObservedPath:
        """The way of a call of two devices. `agents`, `lost`: see `paths.of_call`."""
        parties, edges = self.parties, self.edges
        before, after = self._before[1], self._after[1]
        carried = None if after is None else paths.turn_carried(after, parties, before)
        server = edges.pop(self._server, None) if self._server else None
        return paths.of_call(edges, parties, agents, carried, server=server, lost=lost, phase=self.phase)

    def path_of_realtime(self, arrived: int | None = None, *, apart: Collection[str] = ()) -> ObservedPath:
        """The way of realtime data. `arrived`: bytes of the messages that apps got, where that is known.

        `apart`: devices that it is not about, because the lab took away what the relay had for them.
        """
        everybody, edges = self.parties, self.edges
        devices = tuple(each for each in everybody.devices if each.name not in apart)
        among = replace(everybody, devices=devices)
        before, after = self._before[1], self._after[1]
        carried = None if after is None else paths.transferred(after, among, before)
        server = edges.pop(self._server, None) if self._server else None
        metrics = None if apart else self._by_metrics()
        return paths.of_realtime(
            edges, among, arrived, carried, metrics=metrics, server=server, phase=self.phase
        )

    def _by_metrics(self) -> RelayMetrics | None:
        """None, too, for a relay that was started again meanwhile and begins at 0."""
        before, after = self._before[2], self._after[2]
        if before is None or after is None or after.taken < before.taken:
            return None
        return after - before

    def relayed(self, source: str, destination: str) -> PairTraffic | None:
        """Frames that the relay's ledger has from one node ID to another; None without a ledger."""
        before, after = self._before[1], self._after[1]
        if before is None or after is None:
            return None
        then, now = before.pair(source, destination), after.pair(source, destination)
        return replace(
            now,
            frames=now.frames - then.frames,
            bytes=now.bytes - then.bytes,
            frames_dropped=now.frames_dropped - then.frames_dropped,
        )

    def traffic(self) -> Traffic:
        """Bytes between each device and each other end."""
        edges, parties = self.edges, self.parties
        return {device.name: _traffic(device.name, edges[device.name], parties) for device in parties.devices}

    def egress(self, toward: DirectTraffic) -> Egress:
        """Destinations of the devices in this phase."""
        return egress.of_edges(self.edges, self.parties, devices=toward)

    def _read(self) -> Reading:
        """Edges and ledger as of one moment, at which nothing is on its way.

        Where devices never rest it is any moment: how that falsifies the counts is seen by comparing them.
        """
        own = [device.name for device in self.parties.devices]
        for _ in range(READINGS):
            calm = self._settles(own)
            before = self._edges.frames(own)
            ledger, metrics = self._ledger(), self._metrics()
            if not calm or self._edges.frames(own) == before:
                break
        return self._edges.now([*own, *([self._server] if self._server else [])]), ledger, metrics

    def _settles(self, names: Collection[str]) -> bool:
        try:
            self._edges.settle(within=self._settle_within, names=names)
        except WaitTimeout as error:
            log.info("%s: %s", self.phase, error)
            return False
        return True


def _traffic(name: str, edge: EdgeCounts, parties: Parties) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for way, rows in (("sent", edge.tx.rows), ("received", edge.rx.rows)):
        for flow, count in rows.items():
            remote = flow.destination if way == "sent" else flow.source
            if (owner := parties.owner(flow.protocol, remote, seen_by=name)) is not None:
                sums = found.setdefault(owner.name, {"sent": 0, "received": 0})
                sums[way] += count.bytes
    return found
