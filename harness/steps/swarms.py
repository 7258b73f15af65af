"""A swarm in a lab: devices in their networks, befriended and joined, watched from outside."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..checks.discovery import offered_to_cores
from ..clients.core.core import befriend
from ..clients.device import Device
from ..evidence.artefacts import keep
from ..evidence.verdicts import Path, Verdict
from ..network.lab import LabHost
from ..network.probe import self_test
from ..network.profiles import Profile
from ..network.punching import can_go_direct
from ..realtime.swarm import Swarm, join
from ..realtime.table import TruthTable
from ..stage.lab import LabSession
from ..stage.watch import Watch
from ..urls import RelayUrl
from .outcome import Outcome

__all__ = [
    "LabSwarm",
    "expect_proven",
    "expected_way",
    "lab_swarm",
    "measured",
    "offered_in_lab",
]

progress = logging.getLogger("harness.progress")

JOIN_WITHIN = 20.0
"""Seconds for two devices; a second is usual."""
CALM_WITHIN = 20.0
"""Seconds until a swarm is quiet that has come together: ten devices have sent each other thousands of messages."""
PROVEN = frozenset({Verdict.DIRECT, Verdict.RELAYED, Verdict.MIXED})


@dataclass(frozen=True)
class LabSwarm:
    """Devices that hear each other, and their witnesses."""

    lab: LabSession
    devices: tuple[Device, ...]
    swarm: Swarm
    watch: Watch
    outcome: Outcome

    def host(self, device: Device) -> LabHost:
        """Where it lives."""
        assert isinstance(device.host, LabHost)
        return device.host

    def exchange(
        self, phase: str, count: int, *, apart: Sequence[Device] = (), within: float = 30.0
    ) -> tuple[TruthTable, Path]:
        """A phase in which everyone sends: what arrived, and which way it took.

        `apart`: those of whom nothing is expected, see `Swarm.exchange`.
        """
        self.watch.begin(phase)
        table = self.swarm.exchange(count, apart=apart, within=within)
        self.watch.end()
        path = self.watch.path(phase, table, apart=[device.name for device in apart])
        name = f"{'-'.join(device.name for device in self.devices)} {phase}"
        self.outcome.evidence += keep(path, self.watch.parties, self.lab.logs, name)
        return table, path

    def expect_nothing_else_contacted(self) -> None:
        """The devices dealt with the target's services and with each other."""
        went = self.watch.egress()
        self.outcome.expect(went, f"devices went where they should not: {went}")


def expected_way(one: Profile, other: Profile) -> Verdict:
    """The way of realtime data between devices in these networks, once iroh has found it."""
    return Verdict.DIRECT if can_go_direct(one, other) else Verdict.RELAYED


def offered_in_lab(lab: LabSession) -> RelayUrl:
    """The relay of the lab's server. Raises `PromiseBroken` before any core starts; see `offered_to_cores`."""
    return offered_to_cores(lab.target, lab.server).iroh_relay


@contextmanager
def lab_swarm(
    outcome: Outcome, lab: LabSession, places: Mapping[str, Profile], *, within: float = JOIN_WITHIN
) -> Iterator[LabSwarm]:
    """Devices by name, each in a network of its own of that kind, in one swarm; phase `joining` is behind them.

    Raises `WaitTimeout` and `SendFailed` where they do not come together.
    """
    for profile in dict.fromkeys(places.values()):
        self_test(profile)
    relay = offered_in_lab(lab)
    hosts = {name: lab.lab.device(name, profile) for name, profile in places.items()}
    by_443 = [name for name, profile in places.items() if profile.only_443]
    devices: tuple[Device, ...] = ()
    capture = lab.logs / f"{'-'.join(places)}.pcapng"
    try:
        with (
            Watch(lab, relay, hosts.values(), capture) as watch,
            lab.devices(hosts, by_443=by_443) as devices,
        ):
            outcome.clients |= {device.name: device.description for device in devices}
            first, *others = devices
            for other in others:
                befriend(first.account, other.account)
            watch.begin("joining")
            swarm = join(*devices, within=within)
            watch.end(within=CALM_WITHIN)
            who = ", ".join(f"{name} ({profile.name})" for name, profile in places.items())
            progress.info("%s hear each other, through the relay %s", who, relay)
            yield LabSwarm(lab, devices, swarm, watch, outcome)
    finally:
        outcome.evidence += [capture, *(file for device in devices for file in device.log_files)]


def expect_proven(outcome: Outcome, path: Path) -> None:
    """It is known which way the messages went, and it was no strange one."""
    outcome.expect(path.verdict in PROVEN, f"which way the messages went is not proven: {path.sentence}")


def measured(table: TruthTable) -> dict[str, Any]:
    """For the record: the table as lines of text, and milliseconds."""
    latencies = sorted(latency for row in table.directions for latency in row.latencies)
    return {
        "table": table.grid().splitlines(),
        "lost": table.lost,
        "duplicates": sum(row.duplicates for row in table.directions),
        "out_of_order": sum(row.out_of_order for row in table.directions),
        "latency_ms_median": _ms(latencies[len(latencies) // 2]) if latencies else None,
        "latency_ms_max": _ms(latencies[-1]) if latencies else None,
    }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
