"""Parties on the wire: devices with all addresses that their packets may bear, and services."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from ..network.links import Link
from ..network.profiles import Profile
from .flows import Endpoint

__all__ = ["ObservedDevice", "Parties", "Placed", "Site"]


class Linked(Protocol):
    """Router: something with a link to the outside."""

    @property
    def name(self) -> str: ...
    @property
    def link(self) -> Link: ...


class Placed(Protocol):
    """A host in a lab, and the routers in front of it from the inside out."""

    @property
    def name(self) -> str: ...
    @property
    def addresses(self) -> Sequence[str]: ...
    @property
    def routers(self) -> Sequence[Linked]: ...
    @property
    def profile(self) -> Profile: ...


@dataclass(frozen=True)
class ObservedDevice:
    """A person's device, and where it lives."""

    name: str
    addresses: frozenset[str]
    """Its own, and the outer ones of the NATs in front of it."""
    behind: tuple[str, ...] = ()
    """Descriptions of what stands between it and the internet, from the inside out. For drawings."""
    network: str = ""
    """Kind of network that makes, in words. For drawings."""

    @classmethod
    def at(cls, host: Placed, *, moved_from: Self | None = None) -> Self:
        """The device that lives on a host of a lab. After a move, `moved_from` is what it was: packets bear both."""
        outer = [address for router in host.routers for address in router.link.addresses]
        before = moved_from.addresses if moved_from is not None else frozenset()
        return cls(
            host.name,
            before.union(host.addresses, outer),
            tuple(router.name for router in host.routers),
            host.profile.name,
        )


@dataclass(frozen=True)
class Site:
    """Addresses and ports at which devices find something that they talk to."""

    name: str
    addresses: frozenset[str]
    tcp: frozenset[int] = frozenset()
    """Ports. Several services may share an address over TCP."""
    udp: frozenset[int] | None = frozenset()
    """Ports; None: all, as for a TURN server, whose relayed transport addresses are not known beforehand."""

    def is_at(self, protocol: str, endpoint: Endpoint) -> bool:
        """True if this endpoint belongs to it. `protocol`: `udp`, `tcp`, or `rest` where there are no ports."""
        if endpoint.address not in self.addresses:
            return False
        if protocol == "rest":
            return True
        ports = self.tcp if protocol == "tcp" else self.udp
        return ports is None or endpoint.port in ports


@dataclass(frozen=True)
class Parties:
    """Everybody of whom it is known that they exist."""

    devices: tuple[ObservedDevice, ...]
    relays: tuple[Site, ...] = ()
    """Those that may carry what one device has for another."""
    others: tuple[Site, ...] = ()
    """Those that carry nothing between devices, such as mail and DNS."""

    def owner(self, protocol: str, endpoint: Endpoint, *, seen_by: str = "") -> ObservedDevice | Site | None:
        """Party at that end, as far as an address can tell: two devices behind one NAT share some.

        `seen_by`: the device at the near end, which is at the far end only if nobody else can be.
        """
        for service in (*self.relays, *self.others):
            if service.is_at(protocol, endpoint):
                return service
        return self.device_at(endpoint.address, seen_by=seen_by)

    def device_at(self, address: str, *, seen_by: str = "") -> ObservedDevice | None:
        found = [each for each in self.devices if address in each.addresses]
        return min(found, key=lambda each: each.name == seen_by, default=None)
