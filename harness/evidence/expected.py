"""Expected ways between two networks, of calls and of realtime data: functions of what the networks do to UDP.

RFC 4787 says what a NAT does, RFC 5128 (section 3.3) what hole punching makes of it. What is measured in a lab is
compared with this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..network.profiles import Profile
from ..network.punching import can_go_direct
from .verdicts import PathVerdict

__all__ = ["AIOICE_LIMITS", "Expected", "of_call", "of_realtime"]


@dataclass(frozen=True)
class Expected:
    """A way, and the reason for it."""

    verdict: PathVerdict
    why: str


AIOICE_LIMITS: Mapping[frozenset[str], Expected] = {}
"""By the names of both networks: where agents of aioice find another way than libwebrtc would."""

NO_UDP = "no UDP comes through at {}, and Delta Chat has no TURN over TCP"
NO_IPV4 = "{} has no IPv4 address, and the server no other"


def of_call(one: Profile, other: Profile) -> Expected:
    """As Delta Chat calls: TURN over UDP on IPv4, and whatever address each side learns of itself."""
    for each in (one, other):
        if each.ipv4 is None:
            return Expected(PathVerdict.NONE, NO_IPV4.format(each.name))
        if each.ipv4.mapping is None:
            return Expected(PathVerdict.NONE, NO_UDP.format(each.name))
    if limit := AIOICE_LIMITS.get(frozenset({one.name, other.name})):
        return limit
    if can_go_direct(one, other):
        return Expected(PathVerdict.DIRECT, "one can reach the other where TURN sees it (RFC 4787)")
    return Expected(PathVerdict.RELAYED, "neither can reach the other where TURN sees it (RFC 4787)")


def of_realtime(one: Profile, other: Profile) -> Expected:
    """As iroh connects, once it has found the best way: QUIC over UDP, or the relay over TCP, which all can reach."""
    if can_go_direct(one, other):
        return Expected(PathVerdict.DIRECT, "one can reach the other where the relay sees it (RFC 4787)")
    return Expected(PathVerdict.RELAYED, "neither can reach the other where the relay sees it (RFC 4787)")
