"""Two devices on one host, in a swarm of their own: what checks of realtime channels begin with."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..clients.core.core import SendFailed, befriend
from ..clients.device import Device
from ..clients.sockets import tcp_connections
from ..evidence.verdicts import PathVerdict
from ..realtime.swarm import Swarm, join
from ..realtime.table import TruthTable
from ..report.observations import PathSeen
from ..stage.offers import require_generation_of_cores
from ..stage.outcome import Outcome, promised
from ..stage.stage import Stage
from ..urls import RelayUrl
from .observed import swarm_seen

__all__ = ["JOIN_WITHIN", "SwarmOfTwo", "expect_to_hear", "judge_messages", "swarm_of_two"]

progress = logging.getLogger("harness.progress")

JOIN_WITHIN = 20.0
"""Seconds for devices to come together; a second is usual."""
FEWER_MESSAGES = 10
NOT_PROVEN = (
    "relay used for set-up, data path not proven: on one host iroh goes direct within milliseconds, "
    "and no counter outside the clients tells which way the data took"
)


@dataclass(frozen=True)
class SwarmOfTwo:
    """Alice and bob, who hear each other."""

    alice: Device
    bob: Device
    swarm: Swarm
    relay: RelayUrl

    @property
    def devices(self) -> tuple[Device, Device]:
        return self.alice, self.bob

    def connections(self, device: Device) -> frozenset[str]:
        """The device's ends (`address:port`) of its TCP connections to the relay, by the kernel."""
        relays = {
            f"[{each}]:{self.relay.port}" if ":" in each else f"{each}:{self.relay.port}"
            for each in device.host.addresses_of(self.relay.host)
        }
        return frozenset(each.local for each in tcp_connections(device.core.pid) if each.remote in relays)


@contextmanager
def swarm_of_two(stage: Stage) -> Iterator[SwarmOfTwo]:
    """Alice and bob in a swarm. Raises `PromiseBroken` when they do not come together through the target's relay."""
    outcome, relay = stage.outcome, stage.own_relay()
    require_generation_of_cores(stage.target)
    with stage.people("alice", "bob") as (alice, bob):
        progress.info("two cores are online at %s", stage.target.host)
        with promised(SendFailed):
            befriend(alice.account, bob.account)
        progress.info("alice and bob are befriended by secure join")
        what = f"realtime does not work over {relay}"
        with promised(SendFailed, what=what):
            swarm = join(alice, bob, within=JOIN_WITHIN)
        progress.info("the swarm is up, through the relay %s", relay)
        with outcome.expect_to_arrive(SendFailed, what=what):
            yield SwarmOfTwo(alice, bob, swarm, relay)
        outcome.note(NOT_PROVEN)
        unknown = PathVerdict.NOT_PROVEN.value
        outcome.observe(PathSeen("established", unknown, unknown, doubts=(NOT_PROVEN,)))


def judge_messages(outcome: Outcome, table: TruthTable, *, in_order: bool = True) -> None:
    """Everything arrived once, in order unless that is not asked for."""
    arrived = table.all_right if in_order else table.complete
    outcome.expect(arrived, f"realtime messages went wrong: {table}")
    outcome.observe(swarm_seen(table, "established"))


def expect_to_hear(outcome: Outcome, swarm: Swarm, when: str) -> None:
    """A few more messages go every way, in order."""
    table = swarm.exchange(FEWER_MESSAGES)
    outcome.expect(table.all_right, f"realtime messages went wrong {when}: {table}")
