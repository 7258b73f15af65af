"""Ledger of a TURN server: the traffic that it says it carried (docs/control-protocol.md, "LEDGER of TURN")."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["NOTHING", "Count", "PeerAccount", "TurnAllocation", "read_counts"]


@dataclass(frozen=True)
class Count:
    """A number of packets, and the bytes of their payloads."""

    packets: int
    bytes: int

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> Count:
        return cls(int(data["packets"]), int(data["bytes"]))

    def __add__(self, other: Count) -> Count:
        return Count(self.packets + other.packets, self.bytes + other.bytes)

    def __sub__(self, other: Count) -> Count:
        return Count(self.packets - other.packets, self.bytes - other.bytes)


NOTHING = Count(0, 0)


@dataclass(frozen=True)
class PeerAccount:
    """Traffic of one allocation with one peer, by class of the first byte: `stun`, `dtls`, `rtp`, `other`."""

    peer: str
    """`address:port`, or `others` for all beyond the bound."""
    channel: int | None
    to_peer: Mapping[str, Count]
    to_client: Mapping[str, Count]

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> PeerAccount:
        channel = data["channel"]
        return cls(
            str(data["peer"]),
            None if channel is None else int(channel),
            read_counts(data["to_peer"]),
            read_counts(data["to_client"]),
        )


@dataclass(frozen=True)
class TurnAllocation:
    """The account of one allocation."""

    id: int
    transport: str
    client: str
    """`address:port` of the client's end, as the server sees it."""
    server: str
    username: str
    relayed: tuple[str, ...]
    opened: float
    closed: float | None
    reason: str | None
    """Reason of its end: `deleted`, `expired` or `disconnected`."""
    control_in: Count
    """STUN messages other than Send and Data: all of their bytes."""
    control_out: Count
    peers: tuple[PeerAccount, ...]
    drops: Mapping[str, Count]
    """Traffic that was not forwarded, by reason."""

    @classmethod
    def parse(cls, data: Mapping[str, Any]) -> TurnAllocation:
        """Raises KeyError, TypeError, ValueError or AttributeError for what is none."""
        closed, reason = data["closed"], data["reason"]
        return cls(
            id=int(data["id"]),
            transport=str(data["transport"]),
            client=str(data["client"]),
            server=str(data["server"]),
            username=str(data["username"]),
            relayed=tuple(str(each) for each in data["relayed"]),
            opened=float(data["opened"]),
            closed=None if closed is None else float(closed),
            reason=None if reason is None else str(reason),
            control_in=Count.parse(data["control"]["in"]),
            control_out=Count.parse(data["control"]["out"]),
            peers=tuple(PeerAccount.parse(each) for each in data["peers"]),
            drops=read_counts(data["drops"]),
        )

    @property
    def to_peer(self) -> Mapping[str, Count]:
        """Traffic that was taken over from the client, of all peers, by class."""
        return _total(each.to_peer for each in self.peers)

    @property
    def to_client(self) -> Mapping[str, Count]:
        """Traffic that was handed to the client, of all peers, by class."""
        return _total(each.to_client for each in self.peers)

    def with_peer(self, peer: str) -> PeerAccount:
        """The account with the peer at `address:port`: an empty one when nothing was exchanged."""
        return next((each for each in self.peers if each.peer == peer), PeerAccount(peer, None, {}, {}))


def read_counts(data: Mapping[str, Any]) -> dict[str, Count]:
    """From a class or a reason to its count."""
    return {str(name): Count.parse(count) for name, count in data.items()}


def _total(accounts: Iterable[Mapping[str, Count]]) -> dict[str, Count]:
    total: dict[str, Count] = {}
    for account in accounts:
        for name, count in account.items():
            total[name] = total.get(name, NOTHING) + count
    return total
