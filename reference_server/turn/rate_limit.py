"""A bound for replies to sources that have not proven their address: spoofed requests must not become a flood."""

from __future__ import annotations

from collections import OrderedDict

__all__ = ["UnauthenticatedRateLimit"]


class UnauthenticatedRateLimit:
    """A token bucket per source. The source that was quiet for longest is forgotten first."""

    def __init__(self, *, burst: int, per_second: float, remembered: int) -> None:
        self._burst = burst
        self._seconds_each = 1 / per_second
        self._remembered = remembered
        self._full_at: OrderedDict[str, float] = OrderedDict()
        """GCRA's theoretical arrival time: when the bucket will be full again."""

    def allows(self, source: str, now: float) -> bool:
        """Take a token of this source, if there is one: whether it may get one more reply."""
        full_at = max(self._full_at.pop(source, now), now)
        allowed = full_at - now <= (self._burst - 1) * self._seconds_each
        self._full_at[source] = full_at + self._seconds_each if allowed else full_at
        if len(self._full_at) > self._remembered:
            self._full_at.popitem(last=False)
        return allowed
