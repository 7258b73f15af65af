"""Swarms of several devices in a lab: with devices cut off, direct paths blocked, and networks that change."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass

from ..clients.device import Device
from ..evidence import expected
from ..evidence.legs import Way
from ..evidence.verdicts import ObservedPath, PathVerdict
from ..network import profiles
from ..network.profiles import Profile
from ..report.observations import Measured
from ..stage.check import check
from ..stage.lab import LabStage
from ..stage.outcome import Outcome
from ..stage.stage import Stage
from ..stage.watch import Watch
from ..steps.changes import CHANGES, NEW_NAT_MAPPING, RELAY_RESTART, WIFI_TO_MOBILE, blocked
from ..steps.observed import swarm_seen
from ..steps.relay_exchange import RELAY_FORWARDS
from ..steps.swarms import LabSwarm, expect_proven, lab_swarm

__all__ = [
    "FIVE",
    "LIMITS",
    "SHORT_OUTAGE",
    "TEN",
    "TWO",
    "Limit",
    "Networks",
    "blocking_a_direct_path_loses_no_message",
    "every_device_receives_every_message",
    "isolating_one_device_affects_no_other",
    "swarm_recovers_from_a_change",
]

NAMES = ("alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy")
Networks = tuple[Profile, ...]

TWO: Networks = (profiles.HOME, profiles.HOME)
FIVE: Networks = (profiles.HOME, profiles.UDP_BLOCKED, profiles.CARRIER, profiles.SYMMETRIC, profiles.PUBLIC)
"""Some pairs must be relayed: with UDP blocked all, and symmetric with home."""
TEN: Networks = (*FIVE, *FIVE)
FOUR: Networks = (profiles.HOME, profiles.UDP_BLOCKED, profiles.HOME, profiles.UDP_BLOCKED)
CHANGING: Networks = (profiles.HOME, profiles.HOME, profiles.UDP_BLOCKED)
"""The second one has the change: its messages with the first go direct, those with the third over the relay."""
MESSAGES = 10
DEADLINE = 10.0
"""Seconds for messages; they take milliseconds."""
GIVEN_UP_AFTER = 30.0
"""Seconds without a packet after which iroh gives a connection up (RFC 9000, 10.1), and with it what it still had for
the other end. An outage of 20 s may end before or behind that: probes of QUIC are up to 16 s apart by then."""
RECOVERED_WITHIN = 60.0
"""Seconds from the first message on."""


@dataclass(frozen=True)
class Limit:
    """Cost that a change of one device's network may have for a swarm."""

    most_lost: int
    """Messages, of all directions."""
    longest_silence: float
    """Seconds without a message in some direction."""


SHORT_OUTAGE = "outage of 3 s"
LIMITS: Mapping[str, Limit] = {
    SHORT_OUTAGE: Limit(most_lost=20, longest_silence=10),
    "outage of 5 s": Limit(most_lost=20, longest_silence=15),
    "outage of 20 s": Limit(most_lost=20, longest_silence=40),
    NEW_NAT_MAPPING: Limit(most_lost=20, longest_silence=10),
    WIFI_TO_MOBILE: Limit(most_lost=20, longest_silence=15),
    RELAY_RESTART: Limit(most_lost=20, longest_silence=10),
}
"""By the name of the change. Measured on a busy machine: 0 to 2 lost; docs/realtime.md has the silences."""


@check("IROH-9", "IROH-5", "E2E-path", needs=("iroh_relay", "lab"), after=RELAY_FORWARDS)
def every_device_receives_every_message(stage: Stage, outcome: Outcome, networks: Networks = FIVE) -> None:
    """In a swarm of devices in networks of several kinds, every message of each arrives at each other once."""
    with stage.lab() as lab, _swarm(outcome, lab, networks) as found:
        table, path, _seen = found.exchange("established", MESSAGES)
        expect_proven(outcome, found.joining)
        expect_proven(outcome, path)
        arrived = table.all_right if len(networks) == 2 else table.complete
        outcome.expect(arrived, f"realtime messages went wrong: {table}")
        for device, network in zip(found.devices, networks, strict=True):
            if all(expected.of_realtime(network, each).verdict is PathVerdict.RELAYED for each in networks):
                direct = _directly(path, device)
                outcome.expect(
                    not direct,
                    f"{device.name} can only be relayed, and {direct} packets came or went directly",
                )


@check("IROH-9", "E2E-path", needs=("iroh_relay", "lab"), after=RELAY_FORWARDS)
def isolating_one_device_affects_no_other(stage: Stage, outcome: Outcome) -> None:
    """One device of four loses its network: exactly what it sends and what is sent to it is lost."""
    with stage.lab() as lab, _swarm(outcome, lab, FOUR) as found:
        lost = found.devices[0]
        with blocked(found.host(lost)):
            table, path, _seen = found.exchange("isolated", MESSAGES, apart=[lost], within=DEADLINE)
        expect_proven(outcome, found.joining)
        expect_proven(outcome, path)
        others = table.without(lost.name)
        outcome.expect(others.complete, f"messages between others than {lost.name} were lost: {others}")
        for row in table.directions:
            if lost.name in (row.sender, row.receiver):
                outcome.expect(not row.delivered, f"{lost.name} is isolated, and yet {row}")


@check("IROH-9", "IROH-5", "E2E-path", needs=("iroh_relay", "lab"), after=RELAY_FORWARDS)
def blocking_a_direct_path_loses_no_message(stage: Stage, outcome: Outcome) -> None:
    """Two devices of three cannot reach each other directly any more: messages go another way, none is lost."""
    with stage.lab() as lab, _swarm(outcome, lab, (profiles.HOME,) * 3) as found:
        alice, bob, _carol = found.devices
        lab.network.cut(found.host(alice), found.host(bob))
        table, path, seen = found.exchange("cut", MESSAGES)
        expect_proven(outcome, found.joining)
        expect_proven(outcome, path)
        outcome.expect(table.complete, f"messages were lost behind a blocked path: {table}")
        for leg in path.legs:
            if leg.way is Way.DIRECT and {leg.source, leg.target} == {alice.name, bob.name}:
                outcome.expect(not leg.delivered, f"the path was blocked, and yet {leg.delivered} passed it")
        outcome.note(f"alice and bob, cut off from each other: {_detour(found, path, seen)}")


@check("IROH-3", "IROH-5", "IROH-9", needs=("iroh_relay", "lab"), after=RELAY_FORWARDS)
def swarm_recovers_from_a_change(stage: Stage, outcome: Outcome, change: str = SHORT_OUTAGE) -> None:
    """One device of an active swarm loses or changes its network: all hear each other again, little is lost."""
    limit = LIMITS[change]
    with stage.lab() as lab, _swarm(outcome, lab, CHANGING, what=change) as found:
        _alice, bob, _carol = found.devices
        table = found.swarm.exchange_during(
            lambda: CHANGES[change](found.people, bob), within=RECOVERED_WITHIN
        )
        silence = round(table.longest_silence, 2)
        outcome.observe(swarm_seen(table, "while it happens", subject=change, silence=True))
        outcome.note(f"{change}: {table.lost} messages lost, {silence} s without one at the longest")
        outcome.expect(
            table.lost <= limit.most_lost or silence >= GIVEN_UP_AFTER,
            f"{change}: {table.lost} messages were lost, {limit.most_lost} may be",
        )
        outcome.expect(
            silence <= limit.longest_silence,
            f"{change}: nothing was heard for {silence} s, {limit.longest_silence:g} s may be",
        )
        after, path, _seen = found.exchange("afterwards", MESSAGES)
        outcome.expect(after.complete, f"{change}: afterwards messages went wrong: {after}")
        expect_proven(outcome, path)


def _swarm(
    outcome: Outcome, lab: LabStage, networks: Networks, what: str = ""
) -> AbstractContextManager[LabSwarm]:
    return lab_swarm(outcome, lab, what=what, **dict(zip(NAMES, networks, strict=False)))


def _detour(found: LabSwarm, path: ObservedPath, seen: Watch) -> str:
    """Places that messages between the first two of three went through, in words."""
    alice, bob, carol = found.devices
    went = [f"{_bytes(path, each, carol)} bytes went between {each.name} and carol" for each in (alice, bob)]
    ids = [found.swarm.node_id(device) for device in (alice, bob)]
    pairs = [seen.relayed(*ends) for ends in (ids, ids[::-1])]
    frames = sum(pair.frames for pair in pairs if pair is not None)
    if None not in pairs:
        found.outcome.observe(Measured("between alice and bob over the relay", frames, "frames"))
        went.insert(0, f"the relay carried {frames} frames between them")
    return ", ".join(went)


def _directly(path: ObservedPath, device: Device) -> int:
    """Packets that were delivered from or to a device without a relay."""
    return sum(
        leg.delivered.packets
        for leg in path.legs
        if leg.way is Way.DIRECT and leg.delivered and device.name in (leg.source, leg.target)
    )


def _bytes(path: ObservedPath, one: Device, other: Device) -> int:
    return sum(
        leg.delivered.all_bytes
        for leg in path.legs
        if leg.delivered and {leg.source, leg.target} == {one.name, other.name}
    )
