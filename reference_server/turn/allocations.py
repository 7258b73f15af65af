"""Allocations with their relays, permissions and channels (RFC 8656, section 5), and when each of them ends."""

from __future__ import annotations

import heapq
import ipaddress
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

from .ledger import AllocationRecord, Flow
from .settings import Limits, Transport
from .stun import Address, AddressFamily

__all__ = [
    "Allocation",
    "Allocations",
    "Channel",
    "FiveTuple",
    "Permission",
    "PermissionPolicy",
    "Permissions",
    "Relay",
    "Reservation",
    "source_of",
]


Key = TypeVar("Key")

MIN_TIDY = 1024
"""Timers; when what has ended early may be the greater part, the heap is made anew."""


class FiveTuple(NamedTuple):
    """5-tuple by which a client reaches the server; it names the allocation."""

    transport: Transport
    client: Address
    server: Address


@dataclass(slots=True, eq=False)
class Relay:
    """One relayed transport address; `address` is what clients are told."""

    allocation: Allocation
    address: Address
    expires: float
    ended: bool = False

    @property
    def family(self) -> AddressFamily:
        return self.address.family


@dataclass(slots=True, eq=False)
class Permission:
    """The host may send to the client."""

    allocation: Allocation
    host: str
    expires: float
    ended: bool = False


@dataclass(slots=True, eq=False)
class Channel:
    """A number that stands for a peer. `reachable`: the peer policy lets data out to the peer's own address."""

    allocation: Allocation
    number: int
    peer: Address
    relay: Relay
    permission: Permission
    flow: Flow
    reachable: bool
    expires: float
    ended: bool = False


@dataclass(slots=True, eq=False)
class Reservation:
    """A port whose socket waits for the Allocate that brings its token (RFC 8656, section 7.2)."""

    token: bytes
    username: bytes
    source: str
    """The source in whose quota it counts, until it is claimed or ends."""
    address: Address
    expires: float
    ended: bool = False


@dataclass(slots=True, eq=False)
class Allocation:
    """The allocation of one 5-tuple. `reply` answers a retransmitted Allocate."""

    five_tuple: FiveTuple
    username: bytes
    key: bytes = field(repr=False)
    """Signs its requests, also when the credentials have expired meanwhile."""
    transaction: bytes
    record: AllocationRecord
    reply: bytes = b""
    relays: dict[AddressFamily, Relay] = field(default_factory=dict)
    """By address family."""
    permissions: dict[str, Permission] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    channel_of: dict[Address, Channel] = field(default_factory=dict)


Timed: TypeAlias = Relay | Permission | Channel | Reservation


class PermissionPolicy(Protocol):
    """Decides when data may pass."""

    def open_until(self, channel: Channel, /) -> float:
        """Time at which the channel stops to carry data, unless something refreshes it."""

    def permits(self, allocation: Allocation, host: str, now: float, /) -> bool:
        """For Send, and for data from a peer without a channel."""


@dataclass(frozen=True, slots=True)
class Permissions:
    """The standard policy. `strict`: a channel whose permission has expired carries nothing."""

    strict: bool = False

    def open_until(self, channel: Channel, /) -> float:
        return min(channel.expires, channel.permission.expires) if self.strict else channel.expires

    def permits(self, allocation: Allocation, host: str, now: float, /) -> bool:
        permission = allocation.permissions.get(host)
        if permission is not None and permission.expires > now:
            return True
        return not self.strict and any(
            channel.peer.host == host and channel.expires > now for channel in allocation.channels.values()
        )


def source_of(client: Address) -> str:
    """The unit of quotas that a client belongs to: an IPv4 address, or an IPv6 /64."""
    if client.family is AddressFamily.IPV4:
        return client.host
    address = ipaddress.IPv6Address(client.host)
    return str(address.ipv4_mapped or ipaddress.IPv6Network((address, 64), strict=False))


class Allocations:
    """Allocations and reservations of a server, by 5-tuple, relayed transport address or token, and ended in time."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.by_five_tuple: dict[FiveTuple, Allocation] = {}
        self.by_relay: dict[Address, Relay] = {}
        self.reservations: dict[bytes, Reservation] = {}
        self._of_source: Counter[str] = Counter()
        self._of_username: Counter[bytes] = Counter()
        self._timers: list[tuple[float, int, Timed]] = []
        self._order = count()
        self._tidy_at = MIN_TIDY

    def __len__(self) -> int:
        return len(self.by_five_tuple)

    def has_room(self, client: Address, username: bytes) -> bool:
        limits = self._limits
        return (
            len(self.by_five_tuple) + len(self.reservations) < limits.allocations
            and self._of_source[source_of(client)] < limits.allocations_per_source
            and self._of_username[username] < limits.allocations_per_username
        )

    def add(self, allocation: Allocation) -> None:
        self.by_five_tuple[allocation.five_tuple] = allocation
        self._of_source[source_of(allocation.five_tuple.client)] += 1
        self._of_username[allocation.username] += 1
        for relay in allocation.relays.values():
            self.by_relay[relay.address] = relay
            self.watch(relay)

    def remove_relay(self, relay: Relay) -> None:
        """With the last relay the allocation goes, too."""
        relay.ended = True
        del self.by_relay[relay.address]
        allocation = relay.allocation
        del allocation.relays[relay.family]
        if not allocation.relays:
            del self.by_five_tuple[allocation.five_tuple]
            _less(self._of_source, source_of(allocation.five_tuple.client))
            _less(self._of_username, allocation.username)
            for permission in allocation.permissions.values():
                permission.ended = True

    def reserve(self, reservation: Reservation) -> None:
        self.reservations[reservation.token] = reservation
        self._of_source[reservation.source] += 1
        self.watch(reservation)

    def claim(self, token: bytes, username: bytes, now: float) -> Reservation | None:
        """The reservation, which is used up thereby; None when there is none for this user."""
        found = self.reservations.get(token)
        if found is None or found.expires <= now or found.username != username:
            return None
        self.unreserve(found)
        return found

    def unreserve(self, reservation: Reservation) -> None:
        reservation.ended = True
        del self.reservations[reservation.token]
        _less(self._of_source, reservation.source)

    # Time

    def watch(self, timed: Timed) -> None:
        """Note when `timed` ends; to be called for a new one, and for one that will end earlier than before."""
        heapq.heappush(self._timers, (timed.expires, next(self._order), timed))
        if len(self._timers) > self._tidy_at:
            alive = {id(timed): timed for *_, timed in self._timers if not timed.ended}
            self._timers = [(timed.expires, next(self._order), timed) for timed in alive.values()]
            heapq.heapify(self._timers)
            self._tidy_at = max(MIN_TIDY, 2 * len(self._timers))

    def next_deadline(self) -> float | None:
        """Time at which `expired` has something to give at the latest-known state; it may turn out to be nothing."""
        return self._timers[0][0] if self._timers else None

    def expired(self, now: float) -> Iterator[Timed]:
        """Everything whose time is over. The caller ends it before it asks for the next one."""
        while self._timers and self._timers[0][0] <= now:
            *_, timed = heapq.heappop(self._timers)
            if timed.ended:
                continue
            if timed.expires > now:
                self.watch(timed)  # refreshed since
            else:
                yield timed


def _less(counter: Counter[Key], key: Key) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
