"""Realtime channels of WebXDC apps between real Delta Chat cores (iroh gossip)."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from ..clients.control import ServiceLedger
from ..clients.core.core import Webxdc
from ..clients.device import Device
from ..clients.sockets import tcp_connections
from ..evidence.verdicts import PathVerdict
from ..realtime.swarm import LARGEST, NodeIdUnknown, Swarm
from ..report.observations import Measured
from ..stage.check import check
from ..stage.outcome import Outcome
from ..stage.stage import Stage
from ..steps.observed import path_by_agents
from ..steps.relay_exchange import RELAY_FORWARDS
from ..steps.swarm_of_two import JOIN_WITHIN, SwarmOfTwo, expect_to_hear, judge_messages, swarm_of_two
from ..target import Impact, Service
from ..waiting import WaitTimeout, wait_until

__all__ = [
    "a_device_rejoins",
    "both_devices_of_an_account_receive_messages",
    "devices_survive_a_relay_restart",
    "two_devices_exchange_messages",
]

progress = logging.getLogger("harness.progress")

ONLY_CORES = "only the cores themselves say that its relay was used"
MESSAGES = 50
"""Numbered messages from each device."""
MESSAGES_OF_THREE = 10
AWAY_MESSAGES = 5


@check("E2E-16", "DISC-5", "IROH-2", "IROH-4", needs=("iroh_relay",), after=RELAY_FORWARDS)
def two_devices_exchange_messages(stage: Stage, outcome: Outcome) -> None:
    """Two devices form a swarm through the target's relay; every message, small or large, arrives once and in order."""
    with swarm_of_two(stage) as pair:
        judge_messages(outcome, pair.swarm.exchange(MESSAGES))
        largest = pair.swarm.exchange(1, size=LARGEST)
        outcome.expect(largest.all_right, f"messages of {LARGEST} bytes went wrong: {largest}")
        ledger = stage.ledger(Service.IROH_RELAY, otherwise=ONLY_CORES)
        if ledger is not None:
            _expect_frames_of_both(outcome, ledger, pair)
        doubt = "" if ledger is not None and outcome else ONLY_CORES
        outcome.observe(
            path_by_agents(PathVerdict.RELAYED, Service.IROH_RELAY, subject="", phase="joining", doubt=doubt)
        )


@check(
    "IROH-3",
    needs=("iroh_relay",),
    disturbs=(Service.IROH_RELAY,),
    impact=Impact.HARMFUL,
    after=RELAY_FORWARDS,
)
def devices_survive_a_relay_restart(stage: Stage, outcome: Outcome) -> None:
    """The relay is killed and started again under two devices: both log in again by themselves, messages go on."""
    with swarm_of_two(stage) as pair:
        before = {device.name: pair.connections(device) for device in pair.devices}
        stage.server.program(Service.IROH_RELAY).restart(kill=True)
        progress.info("the relay was killed and started again")
        anew = _expect_log_in(stage, pair, before)
        expect_to_hear(outcome, pair.swarm, "after the restart of the relay")
        for device in pair.devices:
            kept = pair.connections(device) & anew[device.name]
            outcome.expect(kept, f"{device.name} did not stay logged in at the relay after its restart")


@check("IROH-4", needs=("iroh_relay",), after=RELAY_FORWARDS)
def a_device_rejoins(stage: Stage, outcome: Outcome) -> None:
    """Bob closes the app and opens it again, also after he was offline: messages go on; what he missed stays away."""
    with swarm_of_two(stage) as pair:
        _leave_and_rejoin(outcome, pair, "after he closed the app")
        _leave_and_rejoin(outcome, pair, "after he was offline", offline=True)
        heard = pair.swarm.heard_away(pair.bob)
        outcome.expect(not heard, f"{heard} messages that were sent while bob had left came later")


@check("IROH-4", "IROH-9", needs=("iroh_relay",), after=RELAY_FORWARDS)
def both_devices_of_an_account_receive_messages(stage: Stage, outcome: Outcome) -> None:
    """Bob has a second device, set up from a backup: alice and both of his devices hear each other's messages."""
    with swarm_of_two(stage) as pair:
        second = pair.bob.second_device("bob2")
        try:
            outcome.clients[second.name] = second.description
            judge_messages(outcome, _with_second(pair, second).exchange(MESSAGES_OF_THREE), in_order=False)
            stage.expect_no_foreign_hosts(second)
        finally:
            second.close()
            outcome.evidence += second.log_files


def _leave_and_rejoin(outcome: Outcome, pair: SwarmOfTwo, when: str, *, offline: bool = False) -> None:
    app = pair.swarm.app_of(pair.bob)
    app.leave()
    if offline:
        pair.bob.account.go_offline()
    pair.swarm.send_away(pair.alice, AWAY_MESSAGES)
    if offline:
        pair.bob.account.bring_online()
    app.advertise()
    with outcome.expect_to_arrive(what=f"bob does not get back into the channel {when}"):
        pair.swarm.wait_until_up(within=JOIN_WITHIN)
        expect_to_hear(outcome, pair.swarm, when)


def _with_second(pair: SwarmOfTwo, second: Device) -> Swarm:
    """The swarm of alice and both devices of bob, once they hear each other."""
    app = pair.swarm.app_of(pair.bob)
    second_app = Webxdc(second.account, app.msg_id)  # a backup keeps the numbers of messages
    swarm = Swarm([(pair.alice, pair.swarm.app_of(pair.alice)), (pair.bob, app), (second, second_app)])
    swarm.advertise(within=JOIN_WITHIN)
    swarm.wait_until_up(within=JOIN_WITHIN)
    return swarm


def _expect_log_in(
    stage: Stage, pair: SwarmOfTwo, before: Mapping[str, frozenset[str]]
) -> dict[str, frozenset[str]]:
    """Wait until both are logged in at the new process. Returns their ends of connections that are new."""
    keeps_ledger = stage.ledger(
        Service.IROH_RELAY, otherwise="only the devices' own connections say that they logged in again"
    )
    ids = {device.name: pair.swarm.node_id(device) for device in pair.devices} if keeps_ledger else {}

    def anew(device: Device) -> frozenset[str]:
        return pair.connections(device) - before[device.name]

    def logged_out() -> list[str]:
        ledger = stage.server.ledger(Service.IROH_RELAY)
        unknown = {name for name, node_id in ids.items() if ledger and not ledger.connections_of(node_id)}
        return [each.name for each in pair.devices if each.name in unknown or not anew(each)]

    try:
        wait_until(lambda: not logged_out(), "both to log in again", within=JOIN_WITHIN)
    except WaitTimeout:
        who = " and ".join(logged_out())
        stage.outcome.expect(False, f"{who} did not log in again at the relay within {JOIN_WITHIN:g} s")
    return {device.name: anew(device) for device in pair.devices}


def _expect_frames_of_both(outcome: Outcome, ledger: ServiceLedger, pair: SwarmOfTwo) -> None:
    """The ledger of the relay has frames in both directions, between node IDs that clients and kernel know as theirs.

    An unknown ID, or one that the kernel does not tie to a core, is an error of ours and no finding.
    """
    ids = {device.name: pair.swarm.node_id(device) for device in pair.devices}
    for device in pair.devices:
        _tie(device, ids[device.name], ledger)
    for sender, receiver in (pair.devices, pair.devices[::-1]):
        frames = ledger.pair(ids[sender.name], ids[receiver.name]).frames
        outcome.observe(Measured(f"from {sender.name} to {receiver.name} over the relay", frames, "frames"))
        outcome.expect(
            frames,
            f"the relay carried no frame from {sender.name} to {receiver.name}: they met in another way",
        )


def _tie(device: Device, node_id: str, ledger: ServiceLedger) -> None:
    """Make sure that the node ID in the ledger belongs to the device's process: the kernel shows its sockets."""
    ports = {connection.local for connection in tcp_connections(device.core.pid)}
    logged_in = {connection.remote for connection in ledger.connections_of(node_id)}
    if not ports & logged_in:
        raise NodeIdUnknown(
            f"the relay saw {node_id[:10]}... log in from {sorted(logged_in) or 'nowhere'}, but the core of "
            f"{device.name} has connections from {sorted(ports) or 'nowhere'}"
        )
