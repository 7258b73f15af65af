"""Devices in a lab, and which way went what they have for each other, by witnesses outside of them.

watch = Watch(lab, relay, hosts)
watch.begin("joining")
...
watch.begin("established")
table = swarm.exchange(50)
path = watch.path("established", table)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path as File

from ..clients.control import Pair, ServiceLedger
from ..clients.relay.client import RelayUrl
from ..closing import Closing
from ..evidence import egress, paths
from ..evidence.edges import Edges
from ..evidence.egress import Egress, Toward
from ..evidence.flows import EdgeCounts
from ..evidence.parties import Device, Parties, Service
from ..evidence.paths import Path
from ..network.lab import LabHost
from ..realtime.table import LAYOUT, TruthTable
from ..waiting import WaitTimeout
from .lab import STUN_PORT, LabSession

__all__ = ["NAT_TRIAL", "QAD_PORT", "RELAY", "Watch"]

RELAY = "relay"
QAD_PORT = 7842
"""UDP, where iroh 0.35 asks the relay's host for its address as well; nobody answers there."""
NAT_TRIAL = Service("trial of the NAT", frozenset({"203.0.113.1"}), udp=frozenset({12345}))
"""iroh's net report sends one packet to an address for documentation, which nobody has, to open the NAT."""
SETTLE_WITHIN = 2.0
READINGS = 3
"""At most, until nothing has passed while the ledger was read."""

Traffic = dict[str, dict[str, dict[str, int]]]
"""Device -> other end -> `sent` and `received`, in bytes behind the IP header."""


class Watch(Closing):
    """What is counted between some devices of a lab and all that they talk to."""

    def __init__(
        self, lab: LabSession, relay: RelayUrl, hosts: Iterable[LabHost], capture: File | None = None
    ) -> None:
        """Counts from now on. `relay`: the one that METADATA offers."""
        self._lab = lab
        hosts = tuple(hosts)
        self._ledgers: dict[str, ServiceLedger] = {}
        self.parties = Parties(
            tuple(Device.at(host) for host in hosts),
            (Service(RELAY, frozenset({relay.host}), frozenset({relay.port})),),
            (*_services(lab, relay), NAT_TRIAL),
        )
        self._edges = Edges(hosts, capture)

    def moved(self, host: LabHost) -> None:
        """A host has other addresses now; its packets may bear the earlier ones as well."""
        self._edges.follow(host)
        devices = tuple(
            Device.at(host, moved_from=each) if each.name == host.name else each
            for each in self.parties.devices
        )
        self.parties = replace(self.parties, devices=devices)

    def begin(self, phase: str, *, within: float = SETTLE_WITHIN) -> None:
        """Start a phase, as soon as nothing is on its way, or after `within` seconds.

        In a swarm with a device that is cut off it may never be: what it does to the counts is seen by comparing them.
        """
        for _ in range(READINGS):
            calm = self._settles(within)
            before = self._edges.frames()
            ledger = self._ledger()
            if not calm or self._edges.frames() == before:
                break
        self._ledgers[phase] = ledger
        self._edges.begin(phase)

    def end(self, *, within: float = SETTLE_WITHIN) -> None:
        """End the phase, as `begin` of the next one does as well."""
        [*_, phase] = self._ledgers
        self.begin(f"after {phase}", within=within)

    def path(self, phase: str, table: TruthTable | None = None, *, apart: Collection[str] = ()) -> Path:
        """The way of a phase that is over. `table`: what arrived in it.

        `apart`: devices that it is not about, because the lab took away what the relay had for them.
        """
        among = replace(
            self.parties, devices=tuple(each for each in self.parties.devices if each.name not in apart)
        )
        arrived = None
        if table is not None:
            arrived = LAYOUT.size * sum(row.delivered for row in table.without(*apart).directions)
        carried = paths.transferred(self._ledgers[self._after(phase)], among, self._ledgers[phase])
        return paths.of_realtime(self._edges.phase(phase), among, arrived, carried, phase=phase)

    def traffic(self, phase: str) -> Traffic:
        """Who had how much for whom in a phase that is over."""
        edges = self._edges.phase(phase)
        return {device.name: _traffic(edges[device.name], self.parties) for device in self.parties.devices}

    def relayed(self, phase: str, source: str, destination: str) -> Pair:
        """What the relay forwarded from one node ID to another in a phase that is over."""
        before, after = (
            self._ledgers[each].pair(source, destination) for each in (phase, self._after(phase))
        )
        return replace(
            after,
            frames=after.frames - before.frames,
            bytes=after.bytes - before.bytes,
            frames_dropped=after.frames_dropped - before.frames_dropped,
        )

    def egress(self) -> Egress:
        """Where the devices went since the watch began."""
        return egress.of_edges(self._edges.now(), self.parties, devices=Toward.ALL)

    def close(self) -> None:
        """A second call does nothing."""
        self._edges.close()

    def _after(self, phase: str) -> str:
        begun = list(self._ledgers)
        return begun[begun.index(phase) + 1]

    def _settles(self, within: float) -> bool:
        try:
            self._edges.settle(within=within)
        except WaitTimeout:
            return False
        return True

    def _ledger(self) -> ServiceLedger:
        assert self._lab.target.control is not None
        return self._lab.target.control.ledger().iroh_relay


def _services(lab: LabSession, relay: RelayUrl) -> Iterable[Service]:
    """What the target offers besides its relay."""
    own, on_443 = lab.target, lab.target_443
    ports = {own.imaps, own.imap, own.submissions, own.submission, own.https}
    yield Service("mail", frozenset({own.host}), frozenset(ports))
    elsewhere = {host for host in (on_443.imap_host, on_443.smtp_host) if host is not None}
    yield Service("mail on 443", frozenset(elsewhere), frozenset({on_443.imaps, on_443.submissions}))
    yield Service("address discovery", frozenset({relay.host}), udp=frozenset({STUN_PORT, QAD_PORT}))


def _traffic(edge: EdgeCounts, parties: Parties) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for way, rows in (("sent", edge.tx.rows), ("received", edge.rx.rows)):
        for flow, count in rows.items():
            remote = flow.destination if way == "sent" else flow.source
            if (owner := parties.owner(flow.protocol, remote)) is not None:
                sums = found.setdefault(owner.name, {"sent": 0, "received": 0})
                sums[way] += count.bytes
    return found
