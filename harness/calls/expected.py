"""Which way a call can take between two networks: a function of what they do to UDP (RFC 4787), and of nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from ..network.profiles import Profile
from ..network.punching import can_punch

__all__ = ["AIOICE_LIMITS", "Expected", "expected_path"]

CallPath = Literal["direct", "relayed", "none"]


@dataclass(frozen=True)
class Expected:
    """The way of a call, and why."""

    path: CallPath
    why: str


AIOICE_LIMITS: Mapping[frozenset[str], Expected] = {}
"""By the names of both networks: where agents of aioice find another way than libwebrtc would."""

NO_UDP = "no UDP comes through at {}, and Delta Chat has no TURN over TCP"
NO_IPV4 = "{} has no IPv4 address, and the server no other"


def expected_path(one: Profile, other: Profile) -> Expected:
    """As Delta Chat calls: TURN over UDP on IPv4, and whatever address each side learns of itself."""
    for each in (one, other):
        if each.ipv4 is None:
            return Expected("none", NO_IPV4.format(each.name))
        if each.ipv4.mapping is None:
            return Expected("none", NO_UDP.format(each.name))
    if limit := AIOICE_LIMITS.get(frozenset({one.name, other.name})):
        return limit
    both = [(one.ipv4, other.ipv4), (one.ipv6, other.ipv6)]
    if any(mine and theirs and can_punch(mine, theirs) for mine, theirs in both):
        return Expected("direct", "one can reach the other where TURN sees it (RFC 4787)")
    return Expected("relayed", "neither can reach the other where TURN sees it (RFC 4787)")
