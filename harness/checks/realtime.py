"""Realtime channels of WebXDC apps between real Delta Chat cores (iroh gossip)."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Mapping, Sequence

from ..clients.control import ServiceLedger
from ..clients.core.core import SendFailed, Webxdc, befriend
from ..clients.device import Device
from ..clients.sockets import tcp_connections
from ..hosts import Host
from ..realtime.swarm import LARGEST, NodeIdUnknown, Swarm, join
from ..realtime.table import TruthTable
from ..stage.session import DeviceFactory
from ..steps.outcome import Outcome, check, current_outcome, relay_ledger
from ..target import Impact, Target
from ..urls import RelayUrl
from ..waiting import WaitTimeout, wait_until
from .discovery import offered_to_cores

__all__ = [
    "a_device_rejoins",
    "devices_survive_a_relay_restart",
    "expect_no_foreign_hosts",
    "two_devices_exchange_messages",
    "two_devices_of_one_account",
]

progress = logging.getLogger("harness.progress")

MESSAGES = 50
"""Numbered messages from each device."""
FEWER_MESSAGES = 10
AWAY_MESSAGES = 5
JOIN_WITHIN = 20.0
NOT_PROVEN = (
    "relay used for set-up, data path not proven: on one host iroh goes direct within milliseconds, "
    "and no counter outside the clients tells which way the data took"
)

Pair = Callable[[Outcome, Swarm, Device, Device], None]
"""What a check does with alice and bob once they have a swarm of two."""


@check("E2E-16", "DISC-5", "IROH-2", "IROH-4", needs=("iroh_relay",))
def two_devices_exchange_messages(target: Target, host: Host, devices: DeviceFactory) -> Outcome:
    """Two devices form a swarm through the target's relay; every message, small or large, arrives once and in order."""

    def exchange(outcome: Outcome, swarm: Swarm, alice: Device, bob: Device) -> None:
        _judge_messages(outcome, swarm.exchange(MESSAGES))
        largest = swarm.exchange(1, size=LARGEST)
        outcome.expect(largest.all_right, f"messages of {LARGEST} bytes went wrong: {largest}")
        _ask_witnesses(outcome, target, swarm, alice, bob)

    return _with_swarm(target, host, devices, exchange)


@check("IROH-3", needs=("iroh_relay", "ledger", "faults"), impact=Impact.HARMFUL)
def devices_survive_a_relay_restart(target: Target, host: Host, devices: DeviceFactory) -> Outcome:
    """The relay is killed and started again under two devices: both log in again by themselves, messages go on."""

    def restart(outcome: Outcome, swarm: Swarm, alice: Device, bob: Device) -> None:
        assert target.control is not None
        control = target.control
        ids = {device.name: swarm.node_id(device) for device in (alice, bob)}
        control.restart("iroh_relay", kill=True)
        progress.info("the relay was killed and started again")

        def logged_out() -> list[str]:
            ledger = control.ledger().iroh_relay
            return [name for name, node_id in ids.items() if not ledger.connections_of(node_id)]

        try:
            wait_until(lambda: not logged_out(), "both to log in again", within=JOIN_WITHIN)
        except WaitTimeout:
            who = " and ".join(logged_out())
            outcome.expect(False, f"{who} did not log in again at the relay within {JOIN_WITHIN:g} s")
        _expect_to_hear(outcome, swarm, "after the restart of the relay")
        expect_no_foreign_hosts(outcome, target, alice, bob)
        outcome.note(NOT_PROVEN)

    return _with_swarm(target, host, devices, restart)


@check("IROH-4", needs=("iroh_relay",))
def a_device_rejoins(target: Target, host: Host, devices: DeviceFactory) -> Outcome:
    """Bob closes the app and opens it again, also after he was offline: messages go on; what he missed stays away."""

    def leave_twice(outcome: Outcome, swarm: Swarm, alice: Device, bob: Device) -> None:
        app = swarm.app_of(bob)
        for offline in (False, True):
            when = "after he was offline" if offline else "after he closed the app"
            app.leave()
            if offline:
                bob.account.go_offline()
            swarm.send_away(alice, AWAY_MESSAGES)
            if offline:
                bob.account.bring_online()
            app.advertise()
            try:
                swarm.wait_until_up(within=JOIN_WITHIN)
            except WaitTimeout as error:
                outcome.expect(False, f"bob does not get back into the channel {when}: {error}")
                return
            _expect_to_hear(outcome, swarm, when)
        heard = swarm.heard_away(bob)
        outcome.expect(not heard, f"{heard} messages that were sent while bob had left came later")
        expect_no_foreign_hosts(outcome, target, alice, bob)
        outcome.note(NOT_PROVEN)

    return _with_swarm(target, host, devices, leave_twice)


@check("IROH-4", "IROH-9", needs=("iroh_relay",))
def two_devices_of_one_account(target: Target, host: Host, devices: DeviceFactory) -> Outcome:
    """Bob has a second device, set up from a backup: alice and both of his devices hear each other's messages."""

    def add_device(outcome: Outcome, swarm: Swarm, alice: Device, bob: Device) -> None:
        second = bob.second_device("bob2")
        try:
            outcome.clients[second.name] = second.description
            app = swarm.app_of(bob)
            second_app = Webxdc(second.account, app.msg_id)  # a backup keeps the numbers of messages
            swarm = Swarm([(alice, swarm.app_of(alice)), (bob, app), (second, second_app)])
            swarm.advertise(within=JOIN_WITHIN)
            swarm.wait_until_up(within=JOIN_WITHIN)
            table = swarm.exchange(FEWER_MESSAGES)
            outcome.expect(table.complete, f"realtime messages went wrong: {table}")
            outcome.measurements["messages"] = _rows(table)
            expect_no_foreign_hosts(outcome, target, alice, bob, second)
        finally:
            second.close()
            outcome.evidence += second.log_files
        outcome.note(NOT_PROVEN)

    return _with_swarm(target, host, devices, add_device)


def _with_swarm(target: Target, host: Host, devices: DeviceFactory, judge: Pair) -> Outcome:
    """Start alice and bob, bring them together in a swarm, and let `judge` look at it."""
    offer = offered_to_cores(target, host)  # before any core starts I/O
    outcome = current_outcome()
    started: tuple[Device, ...] = ()
    try:
        with devices(("alice", "bob")) as started, outcome.expect_to_arrive(SendFailed):
            alice, bob = started
            for device in started:
                outcome.clients[device.name] = device.description
            progress.info("two cores are online at %s", target.host)
            befriend(alice.account, bob.account)
            progress.info("alice and bob are befriended by secure join")
            _judge_swarm(outcome, offer.iroh_relay, alice, bob, judge)
    finally:
        outcome.evidence += [file for device in started for file in device.log_files]
    return outcome


def _judge_swarm(outcome: Outcome, relay: RelayUrl, alice: Device, bob: Device, judge: Pair) -> None:
    with outcome.expect_to_arrive(what=f"realtime does not work over {relay}"):
        swarm = join(alice, bob, within=JOIN_WITHIN)
        progress.info("the swarm is up, through the relay %s", relay)
        judge(outcome, swarm, alice, bob)


def _judge_messages(outcome: Outcome, table: TruthTable) -> None:
    outcome.expect(table.all_right, f"realtime messages went wrong: {table}")
    latencies = [latency for row in table.directions for latency in row.latencies]
    outcome.measurements |= {
        "messages": _rows(table),
        "latency_ms_median": round(statistics.median(latencies) * 1000, 2) if latencies else None,
        "latency_ms_max": round(max(latencies) * 1000, 2) if latencies else None,
    }


def _rows(table: TruthTable) -> Sequence[Mapping[str, object]]:
    return [
        {"from": row.sender, "to": row.receiver, "sent": row.sent, "delivered": row.delivered}
        | {"duplicates": row.duplicates, "out_of_order": row.out_of_order}
        for row in table.directions
    ]


def _expect_to_hear(outcome: Outcome, swarm: Swarm, when: str) -> None:
    table = swarm.exchange(FEWER_MESSAGES)
    outcome.expect(table.all_right, f"realtime messages went wrong {when}: {table}")


def expect_no_foreign_hosts(outcome: Outcome, target: Target, *devices: Device) -> None:
    """As far as the cores themselves show; see `Device.foreign_hosts`."""
    for device in devices:
        foreign = sorted(device.foreign_hosts(target))
        outcome.expect(not foreign, f"{device.name} dealt with hosts outside the test: {', '.join(foreign)}")


def _ask_witnesses(outcome: Outcome, target: Target, swarm: Swarm, alice: Device, bob: Device) -> None:
    """Who says that the target's relay was used? The cores say who they are, the ledger what it carried."""
    outcome.paths |= {"joining": "not proven", "established": "not proven"}
    expect_no_foreign_hosts(outcome, target, alice, bob)
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
