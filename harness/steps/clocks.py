"""The clocks of the server and of this machine, for what must not have expired by either."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from ..hosts import Host
from ..look.our_clock import is_synchronized
from ..look.ports import look_at_mail_port
from ..target import Target

__all__ = ["Clocks"]

APART = 60.0
"""Seconds from which on one of the two is wrong: answers take some, and `Date:` has full ones."""


@dataclass(frozen=True)
class Clocks:
    """`ahead`: seconds by which the server's is ahead of ours; None: the server told no time."""

    ahead: float | None

    @classmethod
    def of(cls, host: Host, target: Target) -> Self:
        """By the `Date:` of an HTTPS answer (RFC 9110, 6.6.1)."""
        return cls(look_at_mail_port(host, target, "https", target.host).clock_ahead_s)

    def least(self, seconds: float) -> float:
        """The seconds that are left of so many by our clock, by that clock by which they are fewer."""
        return min(seconds, seconds - (self.ahead or 0.0))

    def ours_is_wrong(self, seconds: float) -> bool:
        """Of credentials that have so many left by our clock: they have expired by ours alone, which nobody keeps."""
        return seconds <= 0 < seconds - (self.ahead or 0.0) and not is_synchronized()

    @property
    def words(self) -> str:
        """By whose clock something has expired, behind a sentence that says so."""
        if self.ahead is None:
            return "by the clock of this machine (the server told no time)"
        if abs(self.ahead) < APART:
            return "by the server's clock and by that of this machine"
        side = "ahead of" if self.ahead > 0 else "behind"
        return f"by one clock of two: the server's is {abs(self.ahead):.0f} s {side} this machine's, one is wrong"
