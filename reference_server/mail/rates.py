"""Limits on how often somebody may do something, and on the memory that strangers may fill. No sockets, no clock."""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["Gcra", "MemoryBudget"]

MAX_KEYS = 100_000
"""The one that was seen longest ago is forgotten first: it has the most allowance anyway."""


class Gcra:
    """Generic cell rate algorithm: `burst` at once, then one each `period` seconds, for each key apart.

    A key costs one number: the time at which its bucket will be empty.
    """

    def __init__(self, *, period: float, burst: int) -> None:
        self._period = period
        self._tolerance = period * burst
        self._empty_at: OrderedDict[str, float] = OrderedDict()

    def allows(self, key: str, now: float) -> bool:
        """True when `take` would succeed."""
        return self._empty_at.get(key, now) + self._period <= now + self._tolerance + 1e-9

    def take(self, key: str, now: float) -> bool:
        """Use one up. False: there is none now, and asking costs nothing."""
        if not self.allows(key, now):
            return False
        self._empty_at[key] = max(self._empty_at.pop(key, now), now) + self._period
        if len(self._empty_at) > MAX_KEYS:
            self._empty_at.popitem(last=False)
        return True


class MemoryBudget:
    """Bytes that all connections together may hold of messages that are not complete yet."""

    def __init__(self, size: int) -> None:
        self._left = size

    def take(self, size: int) -> bool:
        if size > self._left:
            return False
        self._left -= size
        return True

    def give_back(self, size: int) -> None:
        self._left += size
