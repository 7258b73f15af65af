"""Paths of realtime data between networks of all kinds: real cores in a lab, counted outside of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial

from ..evidence import expected
from ..evidence.verdicts import ObservedPath, PathVerdict
from ..network import profiles
from ..network.lab import possible
from ..network.pairs import Pair, every_pair
from ..network.profiles import Profile
from ..realtime.swarm import LARGEST
from ..realtime.table import TruthTable
from ..report.observations import MatrixCell
from ..stage.check import check
from ..stage.lab import LabStage
from ..stage.offers import require_generation_of_cores
from ..stage.outcome import Outcome, PromiseBroken
from ..stage.stage import Stage
from ..steps.pairs import expect_tried, reaching, rounds, side_by_side
from ..steps.relay_exchange import RELAY_FORWARDS
from ..steps.swarms import LabSwarm, expect_proven, lab_swarm
from ..waiting import Deadline

__all__ = [
    "ESSENTIAL",
    "EVERY",
    "data_takes_the_way_that_networks_allow",
    "two_pairs_take_both_ways_at_once",
    "two_devices_are_relayed",
    "two_devices_go_direct",
]

ESSENTIAL = (
    Pair(profiles.HOME, profiles.CARRIER),
    Pair(profiles.HOME, profiles.SYMMETRIC),
    Pair(profiles.FULL_CONE, profiles.SYMMETRIC),
    Pair(profiles.ONLY_443, profiles.PUBLIC),
)
KINDS = (
    profiles.PUBLIC,
    profiles.FULL_CONE,
    profiles.ADDRESS_RESTRICTED,
    profiles.HOME,
    profiles.SYMMETRIC,
    profiles.SYMMETRIC_OPEN,
    profiles.MOBILE,
    profiles.CARRIER,
    profiles.DUAL_STACK,
    profiles.UDP_BLOCKED,
    profiles.ONLY_443,
    profiles.ONLY_443_REFUSED,
)
EVERY = every_pair(KINDS)
"""All in which a device reaches the server of a lab: that has IPv4 only, so a network of IPv6 alone is none of them."""

DIRECT = (profiles.HOME, profiles.PUBLIC)
RELAYED = (profiles.UDP_BLOCKED, profiles.UDP_BLOCKED_PUBLIC)
RELAYED_SOON = (profiles.SYMMETRIC, profiles.UDP_BLOCKED_PUBLIC)
"""Networks of two devices, the first that the machine can make: kinds of NAT need `nft`, the last of each does not.

Where UDP is swallowed, iroh waits three seconds for answers to its probes before it says where it can be reached.
"""

AT_ONCE = 4
"""Pairs; each has two cores."""
MESSAGES = 50
FEWER_MESSAGES = 20
DIRECT_WITHIN = 15.0
"""Seconds for iroh to find the direct way; the first second is usual."""
DEADLINE = 10.0
"""Seconds for messages; they take milliseconds."""


@check("IROH-5", "E2E-path", needs=("iroh_relay", "lab"), after=RELAY_FORWARDS)
def data_takes_the_way_that_networks_allow(
    stage: Stage, outcome: Outcome, pairs: Sequence[Pair] = ESSENTIAL
) -> None:
    """In pairs of networks, messages go direct where hole punching works, and over the target's relay where not."""
    require_generation_of_cores(stage.target)
    for each in rounds(pairs, AT_ONCE):
        with stage.lab() as lab:
            lab.offers()
            attempt = partial(_attempt, lab, _judge_cell)
            for _pair, found in side_by_side(reaching(lab, each), attempt, at_once=AT_ONCE):
                outcome.include(found)
    expect_tried(outcome)


@check("E2E-16", "IROH-5", "E2E-path", needs=("iroh_relay", "lab"), after=RELAY_FORWARDS)
def two_pairs_take_both_ways_at_once(stage: Stage, outcome: Outcome) -> None:
    """At the same time, messages go direct where networks allow it, and over the target's relay where they do not."""
    pairs = [Pair(each, each) for each in (possible(DIRECT), possible(RELAYED_SOON))]
    with stage.lab() as lab:
        for _pair, found in side_by_side(pairs, partial(_attempt, lab, _judge_all), at_once=len(pairs)):
            outcome.include(found)


@check("E2E-16", "IROH-5", "E2E-path", needs=("iroh_relay", "lab"), after=RELAY_FORWARDS)
def two_devices_go_direct(stage: Stage, outcome: Outcome) -> None:
    """In two networks that a way leads between: the relay brings two devices together, then messages go direct."""
    with stage.lab() as lab:
        _two_devices(outcome, lab, possible(DIRECT))


@check("E2E-16", "IROH-5", "E2E-path", needs=("iroh_relay", "lab"), after=RELAY_FORWARDS)
def two_devices_are_relayed(stage: Stage, outcome: Outcome) -> None:
    """In two networks that swallow UDP: all messages of two devices go over the target's relay, and none direct."""
    with stage.lab() as lab:
        _two_devices(outcome, lab, possible(RELAYED))


def _two_devices(outcome: Outcome, lab: LabStage, network: Profile) -> None:
    with lab_swarm(outcome, lab, alice=network, bob=network) as found:
        _judge_all(found, Pair(network, network))


def _attempt(lab: LabStage, judge: Callable[[LabSwarm, Pair], None], pair: Pair) -> Outcome:
    """One pair of networks, with two devices of its own."""
    outcome, name = Outcome(), str(pair)
    # Devices of one pair that do not come together say nothing about the others.
    with outcome.expect_to_arrive(PromiseBroken), lab_swarm(outcome, lab, what=name, **pair.places) as found:
        judge(found, pair)
    outcome.reasons = [
        each if each.startswith(f"{name}: ") else f"{name}: {each}" for each in outcome.reasons
    ]
    return outcome


def _judge_cell(found: LabSwarm, pair: Pair) -> None:
    """A few messages, for the table of all pairs."""
    wanted = expected.of_realtime(pair.first, pair.second)
    path = _judge(found, wanted.verdict, FEWER_MESSAGES)
    found.outcome.observe(
        MatrixCell(
            "realtime",
            pair.first.name,
            pair.second.name,
            wanted.verdict.value,
            path.verdict.value,
            wanted.why,
        )
    )


def _judge_all(found: LabSwarm, pair: Pair) -> None:
    """Many messages, and the largest ones."""
    wanted = expected.of_realtime(pair.first, pair.second).verdict
    path = _judge(found, wanted, MESSAGES)
    largest = found.swarm.exchange(1, size=LARGEST)
    found.outcome.expect(largest.all_right, f"messages of {LARGEST} bytes went wrong: {largest}")
    may = "a direct path is possible" if wanted is PathVerdict.DIRECT else "no direct path is possible"
    found.outcome.note(f"both devices in a network of the kind {pair.first.name!r}, {may}: {path.sentence}")


def _judge(found: LabSwarm, wanted: PathVerdict, count: int) -> ObservedPath:
    """Exchange messages on the way that is wanted."""
    outcome = found.outcome
    joining = found.joining
    table, path = _established(found, wanted, count)
    outcome.expect(table.all_right, f"realtime messages went wrong: {table}")
    expect_proven(outcome, joining)
    outcome.expect(path.verdict is wanted, f"messages should be {wanted}, they are not: {path.sentence}")
    if wanted is PathVerdict.RELAYED:
        for each in (joining, path):
            outcome.expect(
                not each.delivered_directly,
                f"{each.phase}: {each.delivered_directly} packets arrived directly, and none can",
            )
    return path


def _established(found: LabSwarm, wanted: PathVerdict, count: int) -> tuple[TruthTable, ObservedPath]:
    """Exchange until all goes the direct way that is wanted, or it takes too long: iroh may need a moment for it."""
    deadline = Deadline(DIRECT_WITHIN)
    for number in itertools.count(1):
        phase = "established" if number == 1 else f"established, trial {number}"
        table, path, _seen = found.exchange(phase, count, within=DEADLINE)
        if path.verdict is wanted or wanted is not PathVerdict.DIRECT or deadline.over or not table.all_right:
            return table, path
    raise AssertionError("unreachable")
