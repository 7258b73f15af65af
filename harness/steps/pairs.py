"""Pairs of networks, for calls and for realtime data: all that there are, and trials of several at the same time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ..network.pairs import Pair
from ..network.profiles import Profile
from ..report.observations import MatrixCell
from ..report.records import Verdict
from ..stage.lab import LabStage
from ..stage.outcome import Outcome

__all__ = ["expect_tried", "places_of", "reaching", "rounds", "side_by_side"]

Found = TypeVar("Found")


def reaching(lab: LabStage, pairs: Sequence[Pair]) -> list[Pair]:
    """Those pairs from whose networks the server can be reached; the others are in the notes."""
    found = []
    for pair in pairs:
        if why := lab.why_not_reached_from(pair.first) or lab.why_not_reached_from(pair.second):
            lab.outcome.note(f"{pair} was not tried: {why}")
        else:
            found.append(pair)
    return found


def places_of(pairs: Sequence[Pair]) -> dict[str, Profile]:
    """All devices that these pairs need, by name, each with its network."""
    return {name: network for pair in pairs for name, network in pair.places.items()}


def expect_tried(outcome: Outcome) -> None:
    """A check that could try none of its pairs has found nothing out, and is not passed."""
    if outcome and not any(isinstance(each, MatrixCell) for each in outcome.observations):
        why = next(iter(outcome.notes), "there is none that this machine can make")
        outcome.include(Outcome(Verdict.UNSUPPORTED, [f"no pair of networks was tried: {why}"]))


def rounds(pairs: Sequence[Pair], at_once: int) -> list[list[Pair]]:
    """All of them in groups of `at_once` at most; in each, no device takes part twice.

    Whoever counts at the edge of a device counts one pair then.
    """
    found: list[list[Pair]] = []
    for pair in pairs:
        for each in found:
            busy = {name for other in each for name in other.devices}
            if len(each) < at_once and busy.isdisjoint(pair.devices):
                each.append(pair)
                break
        else:
            found.append([pair])
    return found


def side_by_side(
    pairs: Sequence[Pair], attempt: Callable[[Pair], Found], *, at_once: int
) -> list[tuple[Pair, Found]]:
    """Try all of them, round by round, those of a round at the same time."""
    with ThreadPoolExecutor(at_once) as pool:
        return [
            each
            for group in rounds(pairs, at_once)
            for each in zip(group, pool.map(attempt, group), strict=True)
        ]
