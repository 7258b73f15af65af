"""One direction of a slow or lossy link, without I/O: packets and `now` go in, verdicts come out."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Conditions", "PacketVerdict", "Schedule"]


@dataclass(frozen=True)
class Conditions:
    """One direction of a link. As given, nothing happens to a packet."""

    delay_ms: float = 0
    jitter_ms: float = 0
    """The delay varies by as much to either side; packets are kept in order all the same."""
    loss: float = 0
    """The share of packets that is dropped, 0 to 1."""
    reorder: float = 0
    """The share of packets, 0 to 1, that skips the delay and so overtakes those before it."""
    rate_kbit: int | None = None
    """Kilobits (1000) per second; what waits longer than 100 ms is dropped, but two full packets always fit."""
    seed: int | None = None
    """With one, the same packets are lost and reordered in every run."""

    def __post_init__(self) -> None:
        if not (0 <= self.loss <= 1 and 0 <= self.reorder <= 1):
            raise ValueError(f"loss and reorder are shares from 0 to 1: {self}")
        if not 0 <= self.jitter_ms <= self.delay_ms:
            raise ValueError(f"jitter_ms is at least 0 and at most delay_ms: {self}")
        if self.reorder and not self.delay_ms:
            raise ValueError(f"a packet overtakes only where others are delayed: {self}")
        if self.rate_kbit is not None and self.rate_kbit <= 0:
            raise ValueError(f"a rate is above 0, or None for no limit: {self}")

    @property
    def only_rate(self) -> bool:
        """No packet has to be looked at one by one."""
        return not (self.delay_ms or self.loss)


@dataclass(frozen=True)
class PacketVerdict:
    packet: int
    accept: bool


class Schedule:
    """Packets on their way in one direction. Times are seconds of a clock that does not go back."""

    def __init__(self, conditions: Conditions) -> None:
        self._conditions = conditions
        self._dice = random.Random(conditions.seed)  # noqa: S311 - weather, not a secret
        self._waiting: list[tuple[float, int, int]] = []  # due, order of arrival, packet
        self._arrivals = itertools.count()
        self._last_due = 0.0
        self.lost = 0
        """Packets dropped so far."""

    def arrived(self, packet: int, now: float) -> PacketVerdict | None:
        """A packet came: it is dropped at once, or has its verdict in `due` later."""
        # As many dice for every packet, so that what happens to the n-th depends on nothing but the seed and n.
        lost, overtakes, wobble = self._dice.random(), self._dice.random(), self._dice.uniform(-1, 1)
        if lost < self._conditions.loss:
            self.lost += 1
            return PacketVerdict(packet, accept=False)
        due = now
        if overtakes >= self._conditions.reorder:
            delay = (self._conditions.delay_ms + wobble * self._conditions.jitter_ms) / 1000
            due = self._last_due = max(self._last_due, now + delay)
        heapq.heappush(self._waiting, (due, next(self._arrivals), packet))
        return None

    def due(self, now: float) -> Iterator[PacketVerdict]:
        """The packets whose time has come, in their order."""
        while self._waiting and self._waiting[0][0] <= now:
            yield PacketVerdict(heapq.heappop(self._waiting)[2], accept=True)

    def next_at(self) -> float | None:
        """Time to ask again."""
        return self._waiting[0][0] if self._waiting else None

    def rest(self) -> Iterator[PacketVerdict]:
        """The link becomes ordinary again: everything that is on its way arrives now."""
        yield from self.due(float("inf"))
