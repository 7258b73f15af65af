"""Findings about a path: the verdict, who relayed, what every witness counted, and where they disagree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from .legs import Leg, Load, Way, total

__all__ = ["FEWEST_WITNESSES", "Hop", "ObservedPath", "PathVerdict", "conclude"]

FEWEST_WITNESSES = 2


class PathVerdict(StrEnum):
    DIRECT = "direct"
    RELAYED = "relayed"
    MIXED = "mixed"
    NONE = "none"
    FOREIGN = "foreign"
    """Through something that is neither a device nor a service of the target."""
    NOT_PROVEN = "not proven"
    DISAGREEMENT = "disagreement"


@dataclass(frozen=True)
class Hop:
    """Count of one witness in one direction at one place, in words."""

    witness: str
    place: str
    load: Load

    def __str__(self) -> str:
        return f"{self.place}: {self.load}"


@dataclass(frozen=True)
class ObservedPath:
    """The way of one phase. `sentence` says all of it."""

    phase: str
    verdict: PathVerdict
    by: tuple[str, ...] = ()
    """Names of those who relayed, or the addresses of strangers."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Of the bytes that were delivered to devices: `direct`, and each relay or stranger by name."""
    legs: tuple[Leg, ...] = ()
    hops: tuple[Hop, ...] = ()
    witnesses: tuple[str, ...] = ()
    contradictions: tuple[str, ...] = ()
    """Sentences of witnesses that do not agree."""
    doubts: tuple[str, ...] = ()
    """Reasons for which it is not proven."""

    def is_relayed_by(self, *names: str) -> bool:
        """Everything went through these services, and through all of them. Nothing was delivered directly."""
        return self.verdict is PathVerdict.RELAYED and set(self.by) == set(names)

    @property
    def is_direct(self) -> bool:
        return self.verdict is PathVerdict.DIRECT

    @property
    def delivered_directly(self) -> int:
        """UDP packets of what the phase is about that arrived at a device from another: exact."""
        return total(self.legs, Way.DIRECT).packets

    @property
    def attempted_directly(self) -> int:
        """Such packets that left a device, whether they arrived or not."""
        return sum(leg.attempted.packets for leg in self.legs if leg.way is Way.DIRECT and leg.attempted)

    @property
    def name(self) -> str:
        """As reports show it: `direct`, `relayed(turn)`, `mixed(direct 40 %, turn 60 %)`."""
        if self.verdict is PathVerdict.MIXED:
            shown = ", ".join(f"{way} {share:.0%}" for way, share in self.shares.items())
            return f"mixed({shown})"
        return f"{self.verdict}({', '.join(self.by)})" if self.by else str(self.verdict)

    @property
    def sentence(self) -> str:
        why = "; ".join(self.doubts or self.contradictions)
        witnesses = " and ".join(self.witnesses) or "no witness"
        return f"{self.phase}: {self.name}, by {witnesses}{f': {why}' if why else ''}"

    def __str__(self) -> str:
        return self.sentence


def conclude(
    phase: str,
    legs: Sequence[Leg],
    carrying: Iterable[Leg],
    *,
    hops: Iterable[Hop],
    witnesses: Sequence[str],
    contradictions: Iterable[str],
    doubts: Iterable[str],
) -> ObservedPath:
    """Exactly one verdict. `carrying`: the legs that count; whatever makes the counts worthless goes first."""
    used = list(carrying)
    shares = _shares(used)
    path = ObservedPath(
        phase,
        PathVerdict.NONE,
        shares=shares,
        legs=tuple(legs),
        hops=tuple(hops),
        witnesses=tuple(witnesses),
        contradictions=tuple(contradictions),
        doubts=tuple(doubts),
    )
    strangers = {leg.carrier for leg in used if leg.way is Way.FOREIGN}
    if path.doubts:
        return replace(path, verdict=PathVerdict.NOT_PROVEN)
    if strangers:
        return replace(path, verdict=PathVerdict.FOREIGN, by=tuple(sorted(strangers)))
    if path.contradictions:
        return replace(path, verdict=PathVerdict.DISAGREEMENT)
    relays = tuple(sorted({leg.carrier for leg in used if leg.way is Way.RELAYED}))
    if not relays:
        return replace(path, verdict=PathVerdict.DIRECT if used else PathVerdict.NONE)
    return replace(
        path, verdict=PathVerdict.MIXED if Way.DIRECT in shares else PathVerdict.RELAYED, by=relays
    )


def _shares(legs: Iterable[Leg]) -> dict[str, float]:
    """Of the bytes delivered to devices; a leg on which nothing arrived has none."""
    sums: dict[str, int] = {}
    for leg in legs:
        if leg.delivered is not None:
            sums[leg.carrier] = sums.get(leg.carrier, 0) + leg.delivered.all_bytes
    everything = sum(sums.values())
    return {carrier: amount / everything for carrier, amount in sorted(sums.items())} if everything else {}
