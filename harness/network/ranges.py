"""Where the public IPv4 addresses of a lab are from."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network

__all__ = ["BENCHMARKING", "EDGES", "ORDINARY", "SHARED_BY", "Ranges"]

SHARED_BY = 250
"""Numbers per block of 256 addresses, so that no address ends in 255."""


@dataclass(frozen=True)
class Ranges:
    """Public addresses of one lab."""

    hosts: IPv4Network
    """Of servers, routers, and devices without a router."""
    routed: IPv4Network
    """Of networks behind routers that translate nothing."""
    routed_prefix: int
    """Prefix length of one such network."""

    def host(self, number: int) -> str:
        """The address of a link; numbers count from 1."""
        block, rest = divmod(number, SHARED_BY)
        return str(self.hosts[256 * block + rest])

    def network(self, number: int) -> IPv4Network:
        """The network behind the router whose way out is that link."""
        size = 1 << (32 - self.routed_prefix)
        if self.routed_prefix <= 24:
            block, rest = divmod(number, SHARED_BY)
            number = 256 * block + rest
        return IPv4Network((int(self.routed[0]) + size * number, self.routed_prefix))

    @property
    def name_server(self) -> str:
        """The first machine is the name server, so that every other can be told."""
        return self.host(1)


EDGES = IPv4Network("198.19.128.0/17")
"""Addresses of labs at the machine that their uplink leads to."""
ORDINARY = Ranges(IPv4Network("5.9.0.0/16"), IPv4Network("46.0.0.0/8"), 24)
"""Ordinary public addresses: stacks treat the ranges for documentation as special, and nothing leaves the lab."""
BENCHMARKING = Ranges(IPv4Network("198.18.0.0/16"), IPv4Network("198.19.0.0/17"), 28)
"""With an uplink: RFC 2544 keeps these for tests of devices, so no real host has one, and no stack treats them as
special, other than those for documentation (RFC 5737) and for carriers (RFC 6598, which a lab has inside anyway)."""
