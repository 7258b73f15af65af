"""Swarms in a lab: devices in their networks, befriended and joined, and watched from outside."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from ..clients.core.core import SendFailed, befriend
from ..clients.device import Device
from ..evidence.verdicts import ObservedPath, PathVerdict
from ..network.lab import LabHost
from ..network.profiles import Profile
from ..realtime.swarm import Swarm, join
from ..realtime.table import LAYOUT, TruthTable
from ..report.artefacts import keep
from ..stage.lab import LabStage, People
from ..stage.offers import require_generation_of_cores
from ..stage.outcome import Outcome, promised
from ..stage.watch import Watch
from ..target import Service
from .observed import path_seen, swarm_seen, traffic_seen

__all__ = ["LabSwarm", "expect_proven", "lab_swarm"]

progress = logging.getLogger("harness.progress")

JOIN_WITHIN_EACH = 10.0
"""Seconds for each device of a swarm; ten have come together in 13."""
CALM_WITHIN = 20.0
"""Seconds until a swarm is quiet that has come together: ten devices have sent each other thousands of messages."""
PROVEN = frozenset({PathVerdict.DIRECT, PathVerdict.RELAYED, PathVerdict.MIXED})


@dataclass(frozen=True)
class LabSwarm:
    """Devices that hear each other, and who counts what they send."""

    people: People
    swarm: Swarm
    joining: ObservedPath
    """The way of phase `joining`, in which they came together."""
    outcome: Outcome
    subject: str = ""
    """Name of the swarm, where a check has several."""

    @property
    def devices(self) -> tuple[Device, ...]:
        return tuple(self.people)

    def host(self, device: Device) -> LabHost:
        """The machine that a device lives on."""
        return self.people.host(device)

    def exchange(
        self, phase: str, count: int, *, apart: Sequence[Device] = (), within: float = 30.0
    ) -> tuple[TruthTable, ObservedPath, Watch]:
        """A phase in which everyone sends: the messages that arrived, their way, and everything that was counted.

        `apart`: those of whom nothing is expected, see `Swarm.exchange`.
        """
        with self.people.watch(phase, Service.IROH_RELAY, *self.people, settle_within=CALM_WITHIN) as seen:
            table = self.swarm.exchange(count, apart=apart, within=within)
        names = [device.name for device in apart]
        arrived = LAYOUT.size * sum(row.delivered for row in table.without(*names).directions)
        path = seen.path_of_realtime(arrived, apart=names)
        self.outcome.observe(swarm_seen(table, phase, subject=self.subject))
        in_record = path_seen(path, seen.parties, subject=self.subject)
        self.outcome.observe(in_record)
        self.outcome.observe(traffic_seen(seen.traffic(), phase, subject=self.subject))
        name = f"{'-'.join(device.name for device in self.devices)} {phase}"
        self.outcome.evidence += keep(in_record, self.people.lab.logs, name)
        progress.info("%s\n%s", path.sentence, table.grid())
        return table, path, seen


@contextmanager
def lab_swarm(outcome: Outcome, lab: LabStage, *, what: str = "", **places: Profile) -> Iterator[LabSwarm]:
    """Devices by name, each in a network of its own of that kind, in one swarm; phase `joining` is behind them.

    `what`: which one it is, where a check has several. Raises `PromiseBroken` when they do not come together.
    """
    words = what or "realtime does not work"
    require_generation_of_cores(lab.stage.target)
    with lab.people(**places) as people:
        with promised(SendFailed, what=words):
            first, *others = people
            for other in others:
                befriend(first.account, other.account)
            with people.watch("joining", Service.IROH_RELAY, settle_within=CALM_WITHIN) as seen:
                swarm = join(*people, within=JOIN_WITHIN_EACH * len(places))
        who = ", ".join(f"{name} ({profile.name})" for name, profile in places.items())
        progress.info("%s hear each other, through the relay %s", who, people.offers.relay)
        with outcome.expect_to_arrive(SendFailed, what=words):
            joining = seen.path_of_realtime(swarm.warm_up_bytes)
            outcome.observe(path_seen(joining, seen.parties, subject=what))
            yield LabSwarm(people, swarm, joining, outcome, what)


def expect_proven(outcome: Outcome, path: ObservedPath) -> None:
    """It is known which way the messages went, and it was no strange one."""
    outcome.expect(path.verdict in PROVEN, f"which way the messages went is not proven: {path.sentence}")
