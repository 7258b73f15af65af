"""The account of a call: what each side sent, what the TURN server carried, and what the other side received.

The unit is the UDP payload at the ICE component: DTLS, RTP and RTCP. What is relayed must be equal in all three
columns; of a direct call the server carries nothing. An account that does not balance is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..clients.control import ServiceLedger
from ..clients.turn.ledger import Count, TurnAllocation
from .peers import SelectedPair, Stats

__all__ = [
    "MOST_BYTES_OF_A_DIRECT_CALL",
    "SLACK",
    "CallAccount",
    "Count",
    "Direction",
    "account",
    "carried_by_sender",
    "carried_since",
    "path_of",
]

SLACK = 3
"""Packets that may be on their way at the moment of counting."""
MOST_BYTES_OF_A_DIRECT_CALL = 1000
"""Bytes at the server: checks of pairs that were not selected."""
MEDIA_CLASSES = ("dtls", "rtp")


@dataclass(frozen=True)
class Direction:
    """From one side to the other. `server`: what the TURN server carried that way; None without a ledger."""

    sender: str
    receiver: str
    sent: Count
    server: Count | None
    received: Count

    def problems(self, path: str) -> list[str]:
        """Sentences about columns that are not as a call of this path (`direct`, `relayed`) must have them."""
        where = f"from {self.sender} to {self.receiver}"
        found = []
        if abs(self.sent.packets - self.received.packets) > SLACK:
            found.append(f"{where} {self.sent.packets} packets were sent and {self.received.packets} arrived")
        if self.sent.packets == 0:
            found.append(f"{where} nothing was sent")
        if self.server is None:
            return found
        if path == "direct":
            if self.server.bytes > MOST_BYTES_OF_A_DIRECT_CALL:
                found.append(f"{where} the call is direct, but the server carried {self.server.bytes} bytes")
        elif abs(self.sent.packets - self.server.packets) > SLACK:
            found.append(
                f"{where} {self.sent.packets} packets were sent and the server carried {self.server.packets}"
            )
        return found


@dataclass(frozen=True)
class CallAccount:
    """Both directions of a call; it is true when it balances."""

    path: str
    directions: tuple[Direction, ...]

    @property
    def problems(self) -> list[str]:
        return [problem for each in self.directions for problem in each.problems(self.path)]

    def __bool__(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        """The columns, one line for each direction."""
        lines = [f"{self.path}: packets/bytes sent, carried by the server, received"]
        lines += [
            f"  {each.sender} to {each.receiver}: {_show(each.sent)}, {_show(each.server)}, {_show(each.received)}"
            for each in self.directions
        ]
        return "\n".join(lines)


def account(stats: Mapping[str, Stats], path: str, carried: Mapping[str, Count] | None = None) -> CallAccount:
    """The account of the two sides of a call, by name.

    `path`: what the call is expected to be, `direct` or `relayed`. `carried`: by the name of the sender, what the
    server's ledger says that it took over from that side, without control messages; a forward between two
    allocations of one server is one. None: there is no ledger.
    """
    alice, bob = stats
    return CallAccount(
        path,
        tuple(
            Direction(
                sender,
                receiver,
                Count(stats[sender].traffic.packets_sent, stats[sender].traffic.bytes_sent),
                None if carried is None else carried.get(sender, Count(0, 0)),
                Count(stats[receiver].traffic.packets_received, stats[receiver].traffic.bytes_received),
            )
            for sender, receiver in ((alice, bob), (bob, alice))
        ),
    )


def carried_by_sender(ledger: ServiceLedger, stats: Mapping[str, Stats]) -> dict[str, Count]:
    """For `account`: by sender, what the server took over from that side.

    A side that has no allocation of its own sends to that of the other side (one leg is relayed).
    """
    alice, bob = stats
    found = {}
    for sender, receiver in ((alice, bob), (bob, alice)):
        if (own := _allocation(ledger, stats[sender].pair)) is not None:
            found[sender] = _media([own.to_peer])
        elif (other := _allocation(ledger, stats[receiver].pair)) is not None:
            found[sender] = _media([other.to_client])
    return found


def carried_since(known: ServiceLedger, ledger: ServiceLedger) -> Count:
    """Sum, in both directions, over all allocations that were not known before."""
    before = {each.id for each in known.allocations}
    new = [each for each in ledger.allocations if each.id not in before]
    return _media(tally for each in new for tally in (each.to_peer, each.to_client))


def path_of(pairs: Iterable[SelectedPair | None]) -> str:
    """The way that a call took by its selected pairs: one side with an allocation is enough to be relayed."""
    found = list(pairs)
    if any(pair is None for pair in found):
        return "none"
    return "relayed" if any(pair.is_relayed for pair in found if pair is not None) else "direct"


def _show(count: Count | None) -> str:
    return "no ledger" if count is None else f"{count.packets}/{count.bytes}"


def _allocation(ledger: ServiceLedger, pair: SelectedPair | None) -> TurnAllocation | None:
    """The one that a side sends through."""
    if pair is None or pair.local != "relay":
        return None
    host, port = pair.local_address
    return ledger.allocation_at(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")


def _media(tallies: Iterable[Mapping[str, Count]]) -> Count:
    """DTLS, RTP and RTCP; connectivity checks are apart."""
    found = [each[kind] for each in tallies for kind in MEDIA_CLASSES if kind in each]
    return Count(sum(each.packets for each in found), sum(each.bytes for each in found))
