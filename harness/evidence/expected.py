"""Expected ways between two networks, of calls and of realtime data: functions of what the networks do to UDP.

RFC 4787 says what a NAT does, RFC 5128 (section 3.3) what hole punching makes of it. What is measured in a lab is
compared with this.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..network.nat import Dependence
from ..network.profiles import Profile
from ..network.punching import can_go_direct
from .verdicts import PathVerdict

__all__ = ["BY_POLICY", "Expected", "of_call", "of_realtime"]


@dataclass(frozen=True)
class Expected:
    """A way, and the reason for it."""

    verdict: PathVerdict
    why: str
    begins_relayed: bool = False
    """A direct call may begin through TURN, and move when the direct way has answered."""
    may_stay_relayed: bool = False
    """It may not move: TURN is then all that carries it."""


BY_POLICY = Expected(PathVerdict.RELAYED, "its ICE policy allows nothing but relayed candidates")

NO_UDP = "no UDP comes through at {}, and Delta Chat has no TURN over TCP"
NO_IPV4 = "{} has no IPv4 address, and the server no other"


def of_call(one: Profile, other: Profile, *, moves: bool = False) -> Expected:
    """As Delta Chat calls: TURN over UDP on IPv4, and whatever address each side learns of itself.

    `moves`: libwebrtc chooses the way. It uses the first pair of candidates that answers, which is often a relayed one,
    and moves the call to the best; aioice stays with the first, and our agents let it try direct ones before. Where
    libwebrtc calls aioice, only its own media may move. Where both NATs let in whatever comes from an address that was
    sent something, the callee's check through TURN reaches the caller before the answer does, and works: then the
    caller may never try the callee's reflexive address (measured, in most of such calls).
    """
    for each in (one, other):
        if each.ipv4 is None:
            return Expected(PathVerdict.NONE, NO_IPV4.format(each.name))
        if each.ipv4.mapping is None:
            return Expected(PathVerdict.NONE, NO_UDP.format(each.name))
    if can_go_direct(one, other):
        why = "one can reach the other where TURN sees it (RFC 4787)"
        by_address = all(
            each.ipv4 is not None and each.ipv4.filtering is Dependence.ADDRESS_DEPENDENT
            for each in (one, other)
        )
        return Expected(PathVerdict.DIRECT, why, moves, moves and by_address)
    return Expected(PathVerdict.RELAYED, "neither can reach the other where TURN sees it (RFC 4787)")


def of_realtime(one: Profile, other: Profile) -> Expected:
    """As iroh connects, once it has found the best way: QUIC over UDP, or the relay over TCP, which all can reach."""
    if can_go_direct(one, other):
        return Expected(PathVerdict.DIRECT, "one can reach the other where the relay sees it (RFC 4787)")
    return Expected(PathVerdict.RELAYED, "neither can reach the other where the relay sees it (RFC 4787)")
