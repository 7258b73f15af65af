"""Realtime channels of WebXDC apps between real Delta Chat cores (iroh gossip)."""

from __future__ import annotations

import logging
import statistics

from ..clients.control import ServiceLedger
from ..clients.core import SendFailed, befriend
from ..device import Device
from ..hosts import Host
from ..realtime.swarm import join
from ..realtime.table import TruthTable
from ..session import DeviceFactory
from ..targets import Target
from .discovery import offered
from .outcome import Outcome, Verdict, check

__all__ = ["two_devices_exchange_messages"]

progress = logging.getLogger("harness.progress")

MESSAGES = 50
"""Numbered messages from each device."""
JOIN_WITHIN = 30.0
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
            swarm = join(alice, bob, within=JOIN_WITHIN)
            progress.info("the swarm is up, through the relay %s", offer.iroh_relay)
            table = swarm.exchange(MESSAGES)
            _judge_messages(outcome, table)
            _ask_witnesses(outcome, target, alice, bob)
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


def _ask_witnesses(outcome: Outcome, target: Target, alice: Device, bob: Device) -> None:
    """Who says that the target's relay was used? The cores' logs say who they are, the ledger what it carried."""
    outcome.paths["established"] = "not proven"
    if target.control is None:
        outcome.paths["joining"] = "not proven"
        outcome.note("the target keeps no ledger: only the cores themselves say that its relay was used")
        return
    ledger = target.control.ledger().iroh_relay
    ids = {
        device.name: _identify(outcome, device, friend, ledger)
        for device, friend in ((alice, bob), (bob, alice))
    }
    if None in ids.values():
        return
    frames = {}
    for sender, receiver in ((alice, bob), (bob, alice)):
        pair = ledger.pair(str(ids[sender.name]), str(ids[receiver.name]))
        frames[f"{sender.name} to {receiver.name}"] = pair.frames
        outcome.expect(
            pair.frames > 0,
            f"the relay carried no frame from {sender.name} to {receiver.name}: they met in another way",
        )
    outcome.measurements["relay_frames"] = frames
    outcome.paths["joining"] = f"relayed({target.name})" if outcome else "none"
    outcome.note(NOT_PROVEN)


def _identify(outcome: Outcome, device: Device, friend: Device, ledger: ServiceLedger) -> str | None:
    """The device's node ID, as its friend learnt it, tied to the device's process by the ports it holds."""
