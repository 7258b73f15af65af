"""Realtime channels of WebXDC apps between real Delta Chat cores (iroh gossip)."""

from __future__ import annotations

import logging
import statistics

from ..clients.control import ServiceLedger
from ..clients.core import SendFailed, befriend
from ..clients.sockets import tcp_connections
from ..device import Device
from ..hosts import Host
from ..realtime.swarm import NodeIdUnknown, Swarm, join
from ..realtime.table import TruthTable
from ..session import DeviceFactory
from ..targets import Target
from .discovery import offered
from .outcome import Outcome, check, relay_ledger

__all__ = ["two_devices_exchange_messages"]

progress = logging.getLogger("harness.progress")

MESSAGES = 50
"""Numbered messages from each device."""
JOIN_WITHIN = 20.0
NOT_PROVEN = (
    "relay used for set-up, data path not proven: on one host iroh goes direct within milliseconds, "
    "and no counter outside the clients tells which way the data took"
)


@check("E2E-16", "DISC-5", "IROH-2", "IROH-4", needs=("iroh_relay",))
def two_devices_exchange_messages(target: Target, host: Host, devices: DeviceFactory) -> Outcome:
    """Two devices form a swarm through the target's relay; every message arrives once, in order, both ways."""
    offer = offered(target, host)  # before any core starts I/O
    outcome = Outcome()
    started: tuple[Device, ...] = ()
    try:
        with devices(("alice", "bob")) as started, outcome.expect_to_arrive(SendFailed):
            alice, bob = started
            for device in started:
                outcome.clients[device.name] = device.description
            progress.info("two cores are online at %s", target.host)
            befriend(alice.account, bob.account)
            progress.info("alice and bob are befriended by secure join")
            with outcome.expect_to_arrive(what=f"realtime does not work over {offer.iroh_relay}"):
                swarm = join(alice, bob, within=JOIN_WITHIN)
                progress.info("the swarm is up, through the relay %s", offer.iroh_relay)
                _judge_messages(outcome, swarm.exchange(MESSAGES))
                _ask_witnesses(outcome, target, swarm, alice, bob)
    finally:
        outcome.evidence += [file for device in started for file in device.log_files]
    return outcome


def _judge_messages(outcome: Outcome, table: TruthTable) -> None:
    outcome.expect(table.all_right, f"realtime messages went wrong: {table}")
    latencies = [latency for row in table.directions for latency in row.latencies]
    outcome.measurements |= {
        "messages": [
            {"from": row.sender, "to": row.receiver, "sent": row.sent, "delivered": row.delivered}
            | {"duplicates": row.duplicates, "out_of_order": row.out_of_order}
            for row in table.directions
        ],
        "latency_ms_median": round(statistics.median(latencies) * 1000, 2) if latencies else None,
        "latency_ms_max": round(max(latencies) * 1000, 2) if latencies else None,
    }


def _ask_witnesses(outcome: Outcome, target: Target, swarm: Swarm, alice: Device, bob: Device) -> None:
    """Who says that the target's relay was used? The cores say who they are, the ledger what it carried."""
    outcome.paths |= {"joining": "not proven", "established": "not proven"}
    for device in (alice, bob):
        foreign = sorted(device.foreign_hosts(target))
        outcome.expect(not foreign, f"{device.name} dealt with hosts outside the test: {', '.join(foreign)}")
    ledger = relay_ledger(outcome, target, otherwise="only the cores themselves say that its relay was used")
    if ledger is None:
        return
    # An unknown ID, or one that the kernel does not tie to a core, is an error of ours and no finding.
    ids = {device.name: swarm.node_id(device) for device in (alice, bob)}
    for device in (alice, bob):
        _tie(device, ids[device.name], ledger)
    for sender, receiver in ((alice, bob), (bob, alice)):
        pair = ledger.pair(ids[sender.name], ids[receiver.name])
        outcome.measurements[f"relay_frames_{sender.name}_to_{receiver.name}"] = pair.frames
        outcome.expect(
            pair.frames,
            f"the relay carried no frame from {sender.name} to {receiver.name}: they met in another way",
        )
    if outcome:
        outcome.paths["joining"] = f"relayed({target.name})"
    outcome.note(NOT_PROVEN)


def _tie(device: Device, node_id: str, ledger: ServiceLedger) -> None:
    """Make sure that the node ID in the ledger belongs to the device's process: the kernel shows its sockets."""
    ports = {connection.local for connection in tcp_connections(device.core.pid)}
    logged_in = {connection.remote for connection in ledger.connections_of(node_id)}
    if not ports & logged_in:
        raise NodeIdUnknown(
            f"the relay saw {node_id[:10]}... log in from {sorted(logged_in) or 'nowhere'}, but the core of "
            f"{device.name} has connections from {sorted(ports) or 'nowhere'}"
        )
