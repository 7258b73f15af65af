"""Swarms of several devices in a lab: who hears whom, with devices cut off, links cut, and networks that change."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from ..clients.core.core import SendFailed
from ..clients.device import Device
from ..evidence import drawing
from ..evidence.legs import Way
from ..evidence.verdicts import Path, Verdict
from ..network import profiles
from ..network.lab import LabHost
from ..network.profiles import Profile
from ..realtime.table import TruthTable
from ..stage.lab import LabFactory, LabSession
from ..steps.outcome import Outcome, check, current_outcome
from ..steps.swarms import LabSwarm, expect_proven, expected_way, lab_swarm, measured
from ..target import Target

__all__ = [
    "CHANGES",
    "FIVE",
    "SHORT_OUTAGE",
    "TEN",
    "TWO",
    "Change",
    "Networks",
    "a_change_loses_little",
    "a_cut_link_loses_nothing",
    "an_isolated_device_is_lost_alone",
    "everyone_hears_everyone",
]

progress = logging.getLogger("harness.progress")

NAMES = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy")
Networks = tuple[Profile, ...]

TWO: Networks = (profiles.HOME, profiles.HOME)
FIVE: Networks = (profiles.HOME, profiles.UDP_BLOCKED, profiles.CARRIER, profiles.SYMMETRIC, profiles.PUBLIC)
"""Some pairs must be relayed: with UDP blocked all, and symmetric with home."""
TEN: Networks = (*FIVE, *FIVE)
MESSAGES = 10
JOIN_WITHIN_EACH = 10.0
"""Seconds for each device of a swarm; ten have come together in 13."""
DEADLINE = 10.0
"""Seconds for messages; they take milliseconds."""


@check("IROH-9", "IROH-5", "E2E-path", needs=("iroh_relay", "ledger", "lab"))
def everyone_hears_everyone(_target: Target, labs: LabFactory, *, networks: Networks = FIVE) -> Outcome:
    """In a swarm of devices in networks of several kinds, every message of each arrives at each other once."""
    outcome = current_outcome()
    with labs() as lab, outcome.expect_to_arrive(SendFailed), _swarm(outcome, lab, networks) as found:
        table, path = found.exchange("established", MESSAGES)
        _record(outcome, found, table, path)
        arrived = table.all_right if len(networks) == 2 else table.complete
        outcome.expect(arrived, f"realtime messages went wrong: {table}")
        for device, network in zip(found.devices, networks, strict=True):
            if all(expected_way(network, each) is Verdict.RELAYED for each in networks):
                direct = _directly(path, device)
                outcome.expect(
                    not direct,
                    f"{device.name} can only be relayed, and {direct} packets came or went directly",
                )
        found.expect_nothing_else_contacted()
    return outcome


@check("IROH-9", "E2E-path", needs=("iroh_relay", "ledger", "lab"))
def an_isolated_device_is_lost_alone(_target: Target, labs: LabFactory) -> Outcome:
    """One device of four loses its network: exactly what it sends and what is sent to it is lost."""
    outcome = current_outcome()
    networks = (profiles.HOME, profiles.UDP_BLOCKED, profiles.HOME, profiles.UDP_BLOCKED)
    with labs() as lab, outcome.expect_to_arrive(SendFailed), _swarm(outcome, lab, networks) as found:
        lost = found.devices[0]
        _block(found.host(lost))
        table, path = found.exchange("isolated", MESSAGES, apart=[lost], within=DEADLINE)
        _record(outcome, found, table, path)
        others = table.without(lost.name)
        outcome.expect(others.complete, f"messages between others than {lost.name} were lost: {others}")
        for row in table.directions:
            if lost.name in (row.sender, row.receiver):
                outcome.expect(not row.delivered, f"{lost.name} is isolated, and yet {row}")
        found.expect_nothing_else_contacted()
    return outcome


@check("IROH-9", "IROH-5", "E2E-path", needs=("iroh_relay", "ledger", "lab"))
def a_cut_link_loses_nothing(_target: Target, labs: LabFactory) -> Outcome:
    """Two devices of three cannot reach each other directly any more: messages go another way, none is lost."""
    outcome = current_outcome()
    with (
        labs() as lab,
        outcome.expect_to_arrive(SendFailed),
        _swarm(outcome, lab, (profiles.HOME,) * 3) as found,
    ):
        alice, bob, _carol = found.devices
        lab.lab.cut(found.host(alice), found.host(bob))
        table, path = found.exchange("cut", MESSAGES)
        _record(outcome, found, table, path)
        outcome.expect(table.complete, f"messages were lost behind a cut link: {table}")
        ids = [found.swarm.node_id(device) for device in (alice, bob)]
        frames = sum(found.watch.relayed("cut", *pair).frames for pair in (ids, ids[::-1]))
        outcome.measurements["frames_over_the_relay"] = frames
        outcome.note(
            f"alice and bob, cut off from each other: the relay carried {frames} frames between them, and "
            f"{_bytes(path, 'alice', 'carol')} bytes went between alice and carol, "
            f"{_bytes(path, 'bob', 'carol')} between bob and carol"
        )
        for leg in path.legs:
            if leg.way is Way.DIRECT and {leg.source, leg.target} == {"alice", "bob"}:
                outcome.expect(not leg.delivered, f"the link was cut, and yet {leg.delivered} passed it")
        found.expect_nothing_else_contacted()
    return outcome


@dataclass(frozen=True)
class Change:
    """Something that happens to one of three devices of a swarm, and what it may cost."""

    name: str
    happens: Callable[[LabSwarm, Device], None]
    most_lost: int
    """Messages, of all directions."""
    longest_silence: float
    """Seconds without a message in some direction."""


def _block(host: LabHost) -> None:
    for protocol in ("udp", "tcp"):
        host.routers[0].block(protocol)


def _outage(seconds: float) -> Callable[[LabSwarm, Device], None]:
    """The device keeps its addresses and its link; its router passes nothing for so long."""

    def happens(found: LabSwarm, device: Device) -> None:
        router = found.host(device).routers[0]
        _block(found.host(device))
        threading.Event().wait(seconds)
        for protocol in ("udp", "tcp"):
            router.unblock(protocol)

    return happens


def _new_mapping(found: LabSwarm, device: Device) -> None:
    found.host(device).routers[0].forget_mappings()


def _to_mobile(found: LabSwarm, device: Device) -> None:
    found.lab.lab.move(found.host(device), profiles.MOBILE)
    found.watch.moved(found.host(device))


def _relay_restart(found: LabSwarm, _device: Device) -> None:
    assert found.lab.target.control is not None
    found.lab.target.control.restart("iroh_relay", kill=True)


CHANGING: Networks = (profiles.HOME, profiles.HOME, profiles.UDP_BLOCKED)
"""The second one has the change: its messages with the first go direct, those with the third over the relay."""
SHORT_OUTAGE = "outage of 3 s"
CHANGES = {
    each.name: each
    for each in (
        Change(SHORT_OUTAGE, _outage(3), most_lost=20, longest_silence=10),
        Change("outage of 5 s", _outage(5), most_lost=20, longest_silence=15),
        Change("outage of 20 s", _outage(20), most_lost=20, longest_silence=40),
        Change("new NAT mapping", _new_mapping, most_lost=20, longest_silence=10),
        Change("wifi to mobile", _to_mobile, most_lost=20, longest_silence=15),
        Change("relay restart", _relay_restart, most_lost=20, longest_silence=10),
    )
}
"""Measured on a busy machine: 0 to 2 lost; docs/realtime.md has the silences."""
HEALED_WITHIN = 60.0
"""Seconds from the first message on."""


@check("IROH-3", "IROH-5", "IROH-9", needs=("iroh_relay", "ledger", "faults", "lab"))
def a_change_loses_little(
    _target: Target, labs: LabFactory, *, change: Change = CHANGES[SHORT_OUTAGE]
) -> Outcome:
    """A device of a swarm that talks has an outage or another network: all hear each other again, little is lost."""
    outcome = current_outcome()
    with (
        labs() as lab,
        outcome.expect_to_arrive(SendFailed, what=change.name),
        _swarm(outcome, lab, CHANGING) as found,
    ):
        device = found.devices[1]
        table = found.swarm.exchange_during(lambda: change.happens(found, device), within=HEALED_WITHIN)
        silence = round(table.longest_silence, 2)
        outcome.measurements["messages"] = measured(table) | {"longest_silence_s": silence}
        outcome.expect(
            table.lost <= change.most_lost,
            f"{change.name}: {table.lost} messages were lost, {change.most_lost} may be",
        )
        outcome.expect(
            silence <= change.longest_silence,
            f"{change.name}: nothing was heard for {silence} s, {change.longest_silence:g} s may be",
        )
        outcome.note(f"{change.name}: {table.lost} messages lost, {silence} s without one at the longest")
        after, path = found.exchange("afterwards", MESSAGES)
        outcome.paths["afterwards"] = path.name
        outcome.expect(after.complete, f"{change.name}: afterwards messages went wrong: {after}")
        expect_proven(outcome, path)
        found.expect_nothing_else_contacted()
    return outcome


def _swarm(outcome: Outcome, lab: LabSession, networks: Networks) -> AbstractContextManager[LabSwarm]:
    names = NAMES[: len(networks)]
    places = dict(zip(names, networks, strict=True))
    return lab_swarm(outcome, lab, places, within=JOIN_WITHIN_EACH * len(networks))


def _record(outcome: Outcome, found: LabSwarm, table: TruthTable, path: Path) -> None:
    joining = found.watch.path("joining")
    outcome.paths |= {"joining": joining.name, path.phase: path.name}
    outcome.measurements |= {
        "messages": measured(table),
        "path": drawing.as_json(path),
        "bytes": found.watch.traffic(path.phase),
    }
    expect_proven(outcome, joining)
    expect_proven(outcome, path)
    progress.info("%s\n%s", path.sentence, table.grid())


def _directly(path: Path, device: Device) -> int:
    """Packets that were delivered from or to a device without a relay."""
    return sum(
        leg.delivered.packets
        for leg in path.legs
        if leg.way is Way.DIRECT and leg.delivered and device.name in (leg.source, leg.target)
    )


def _bytes(path: Path, one: str, other: str) -> int:
    return sum(
        leg.delivered.all_bytes
        for leg in path.legs
        if leg.delivered and {leg.source, leg.target} == {one, other}
    )
