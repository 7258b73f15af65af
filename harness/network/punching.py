"""UDP hole punching (RFC 5128, 3.3): who can reach whom directly, by theory and by trying.

Each of two hosts learns from a server where it is seen, tells the other, and both send. Expected paths of calls follow
from `can_punch`; the matrix that is measured in a lab must equal it.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..hosts import Socket
from .lab import LabHost
from .nat import Behaviour, Dependence
from .probe import PORTS, Address, Reflector, arrived, udp_socket
from .profiles import Profile

__all__ = ["can_go_direct", "can_punch", "punch"]

ROUNDS = 5
"""More than enough: the first opens, the second arrives, the third answers to where that came from."""


def can_punch(one: Behaviour, other: Behaviour) -> bool:
    """True if two hosts can exchange UDP directly, once each knows the address at which a server sees the other."""
    if one.mapping is None or other.mapping is None:
        return False
    return _reaches(one, other) or _reaches(other, one)


def can_go_direct(one: Profile, other: Profile) -> bool:
    """True if devices in these networks can exchange UDP directly, over either family."""
    families = ((one.ipv4, other.ipv4), (one.ipv6, other.ipv6))
    return any(here and there and can_punch(here, there) for here, there in families)


def _reaches(sender: Behaviour, receiver: Behaviour) -> bool:
    """True if a packet to the receiver's known address passes; the answer then finds its way back in any case."""
    if receiver.filtering is Dependence.ENDPOINT_INDEPENDENT:
        return True
    if receiver.mapping is not Dependence.ENDPOINT_INDEPENDENT:
        return (
            False  # the known address is for the server only; what the receiver sends to us leaves by another
        )
    if receiver.filtering is Dependence.ADDRESS_DEPENDENT:
        return True
    return sender.mapping is Dependence.ENDPOINT_INDEPENDENT  # we come from the port that it has sent to


@dataclass(eq=False)
class _End:
    """One side of one attempt."""

    socket: Socket
    seen: Address
    """By the server."""
    starts: int
    """In which round it begins to send."""
    heard: set[Address] = field(default_factory=set)
    """Addresses that packets of the other side came from."""


def punch(reflector: Reflector, hosts: Mapping[str, Sequence[LabHost]]) -> dict[tuple[str, str], bool]:
    """Try each kind with each kind, in both orders, all at once: (who starts, who follows) -> both heard the other.

    `hosts` has two of each kind, each behind routers of its own.
    """
    attempts = {
        (one, other): (
            _end(reflector, hosts[one][0], starts=0),
            _end(reflector, hosts[other][1], starts=1),
        )
        for one, other in itertools.product(hosts, repeat=2)
    }
    try:
        for number in range(ROUNDS):
            for pair in attempts.values():
                _send(number, *pair)
            for pair in attempts.values():
                _receive(reflector, *pair)
        return {names: all(end.heard for end in pair) for names, pair in attempts.items()}
    finally:
        for end in itertools.chain.from_iterable(attempts.values()):
            end.socket.close()


def _end(reflector: Reflector, host: LabHost, *, starts: int) -> _End:
    own = udp_socket(host, reflector.family)
    server = (reflector.first, PORTS[0])
    seen = reflector.sees(own, server)
    reflector.answers(own, seen, contacted=server)  # the way back is known from now on, too
    return _End(own, seen, starts)


def _send(number: int, one: _End, other: _End) -> None:
    """To where the other side is known to be, and to where it was heard from."""
    for end, peer in ((one, other), (other, one)):
        if number >= end.starts:
            for to in {peer.seen, *end.heard}:
                end.socket.sendto(b"punch", to)


def _receive(reflector: Reflector, *ends: _End) -> None:
    """Receive the packets of this round: what the server gets was sent after them, so they are here now or lost."""
    for end in ends:
        reflector.sees(end.socket, (reflector.first, PORTS[0]))
    for end in ends:
        end.heard.update(arrived(end.socket).values())
