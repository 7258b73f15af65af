"""Policy on the peers that a relayed transport address may exchange data with.

A TURN server lends its address to strangers, so it must not lend them its own network: no loopback, private,
link-local, shared, multicast or reserved address, in whatever IPv6 clothes it comes (CVE-2020-26262,
CVE-2026-27624), and none of its own services. Relay addresses of living allocations are not judged here; `Turn`
knows them and lets them through.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Protocol

from .stun import Address

__all__ = ["DENIED", "DenyList", "PeerPolicy", "readings"]

Ip = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

DENIED: tuple[Network, ...] = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4"),
        *("::/128", "::1/128", "fc00::/7", "fe80::/10", "fec0::/10", "ff00::/8"),
        *("100::/64", "2001:2::/48"),  # discard (RFC 6666) and benchmarks (RFC 5180), as 198.18.0.0/15
        "64:ff9b:1::/48",  # NAT64 of this very network (RFC 8215), where an address may stand in four places
    )
)
_IN_LAST_BITS = tuple(ipaddress.IPv6Network(text) for text in ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96"))
"""IPv4-compatible (RFC 4291), IPv4-translated (RFC 2765) and NAT64 (RFC 6052)."""
_ISATAP = (0x00005EFE, 0x02005EFE)
"""Bits 64 to 95 of an address of any prefix that has an IPv4 address behind them (RFC 5214, section 6.1)."""


class PeerPolicy(Protocol):
    def allows(self, peer: Address) -> bool:
        """True when data may go to `peer`. Port 0 asks about the host as such."""


def readings(address: Ip) -> Iterator[Ip]:
    """The address itself and every IPv4 address that it stands for: mapped, compatible, translated, 6to4, NAT64,
    Teredo and ISATAP."""
    yield address
    if isinstance(address, ipaddress.IPv4Address):
        return
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    if address.teredo is not None:
        yield from address.teredo
    if address.is_loopback or address.is_unspecified:
        return  # also IPv4-compatible by their bits
    if any(address in network for network in _IN_LAST_BITS) or int(address) >> 32 & 0xFFFFFFFF in _ISATAP:
        yield ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)


class DenyList:
    """The standard policy. `allowed` networks are for labs; even they do not reach `listeners`, those over UDP.

    `own_hosts` are addresses of this server: whatever else runs there is nobody's peer.
    """

    def __init__(
        self, *, listeners: Iterable[Address], own_hosts: Iterable[str] = (), allowed: Iterable[Network] = ()
    ) -> None:
        self._listeners = [(ipaddress.ip_address(host), port) for host, port in listeners]
        self._own_hosts = {ipaddress.ip_address(host) for host in own_hosts}
        self._own_hosts |= {host for host, _ in self._listeners if not host.is_unspecified}
        self._allowed = tuple(allowed)
        self._judged = lru_cache(maxsize=4096)(self._judge)

    def allows(self, peer: Address) -> bool:
        return self._judged(peer)

    def _judge(self, peer: Address) -> bool:
        address = ipaddress.ip_address(peer.host)
        return all(self._allows_reading(reading, peer.port) for reading in readings(address))

    def _allows_reading(self, address: Ip, port: int) -> bool:
        if any(port == used and self._may_be(address, host) for host, used in self._listeners):
            return False
        if any(address in network for network in self._allowed):
            return True
        return address not in self._own_hosts and not any(address in network for network in DENIED)

    def _may_be(self, address: Ip, host: Ip) -> bool:
        """A listener on 0.0.0.0 has addresses that we do not know: every one may be its own."""
        return host.is_unspecified or address == host or address in self._own_hosts
