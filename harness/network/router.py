"""A router of the lab: what it is follows from data, and all of it can change while the lab runs."""

from __future__ import annotations

import itertools
from dataclasses import replace
from ipaddress import IPv4Network

from . import firewall as firewalls
from . import nat as nats
from . import nat64, routing_rules
from .firewall import Block, Firewall
from .links import Link, renumber, route
from .namespace import Namespace
from .nat import Nat
from .preflight import preflight
from .profiles import Gateway, Profile
from .ranges import SHARED_BY, Ranges

__all__ = ["Router"]

HOME4 = "10.{}.{}.0/24"
CARRIER4 = "100.{}.{}.0/24"
FIRST_CARRIER = 64  # 100.64.0.0/10 (RFC 6598)
PREFIX6 = "2a01:4f8:{:x}::"


class Router:
    """A router, with its way out and a network behind it."""

    def __init__(
        self,
        name: str,
        gateway: Gateway,
        namespace: Namespace,
        link: Link,
        *,
        upstream: Router | None,
        ranges: Ranges,
    ) -> None:
        """`upstream` None: the internet. The link's number, unique in the lab, makes the addresses behind.

        `ranges`: those of the lab.
        """
        self.name = name
        self.gateway = gateway
        self.namespace = namespace
        self.link = link
        self.upstream = upstream
        self._ranges = ranges
        self._guests = itertools.count(2)
        self._blocks: set[Block] = set()
        self.ipv4 = gateway.ipv4 is not None
        """True if there is IPv4 behind it; and IPv6:"""
        self.ipv6 = any(":" in address for address in link.addresses)
        self._inside = [f"{PREFIX6.format(link.number)}/48"] if self.ipv6 else []
        if gateway.routed:
            self._inside.append(str(self._network4))
        for prefix in self._inside:
            self._announce(prefix)
        self._become(gateway)
        if gateway.nat64:
            self._translator = nat64.start(namespace, f"{PREFIX6.format(link.number)}6464")

    @property
    def address(self) -> str:
        """Address by which the world, or a carrier, knows it: IPv4 where there is any behind it."""
        return self.link.addresses[0]

    def as_profile(self) -> Profile:
        """Profile of a guest without routers of its own."""
        own = Profile(
            f"guest of {self.name}",
            f"A guest in the network of {self.name}.",
            (self.gateway,),
            ipv4=self.gateway.ipv4,
            ipv6=self.gateway.ipv6 if self.ipv6 else None,
        )
        return own.behind(self.upstream.as_profile()) if self.upstream else own

    def next_addresses(self, *, ipv4: bool, ipv6: bool) -> list[str]:
        """Addresses for one more guest, of these families as far as the router has them."""
        guest = next(self._guests)
        addresses = [str(self._network4[guest])] if ipv4 and self.ipv4 else []
        return addresses + ([f"{PREFIX6.format(self.link.number)}{guest:x}"] if ipv6 and self.ipv6 else [])

    def change(self, *, nat: Nat | None = None, firewall: Firewall | None = None) -> None:
        """Become another router; what is None stays. All mappings are lost, as in a restart."""
        gateway = replace(
            self.gateway, nat=nat or self.gateway.nat, firewall=firewall or self.gateway.firewall
        )
        preflight().require(*gateway.needs)
        if self.gateway.by_routing:
            routing_rules.let_udp_pass(self.namespace)
            self._become(gateway)
        else:
            self._become(gateway, instead_of=firewalls.REMOVE + nats.REMOVE)
            self.namespace.conntrack("-F")

    def forget_mappings(self) -> None:
        """Every flow gets another outer port.

        UDP is held back meanwhile: media that runs would have its old port again within milliseconds.
        """
        everything = Block("udp")
        preflight().require("nft", "conntrack")
        held = everything not in self._blocks
        if held:
            self.block("udp")
        if self.gateway.nat:
            self.namespace.nft(nats.FORGET)
        self.namespace.conntrack("-F")
        if held:
            self.unblock("udp")

    def renumber(self, address: str) -> None:
        """Get another outer IPv4 address, as home routers do at night; mappings are lost.

        Raises `ValueError` where public addresses are behind it: they are reached by its own.
        """
        if self.gateway.routed:
            raise ValueError(f"{self.name} has public addresses behind it and keeps its own")
        self.link = renumber(self.link, address)
        self.change()

    def block(self, protocol: str, port: int | None = None) -> None:
        """From now on nothing of `udp` or `tcp`, or nothing to and from a far port, passes; silently."""
        self._blocks.add(Block(protocol, port))
        self.namespace.nft(firewalls.render_blocks(self._blocks))

    def unblock(self, protocol: str, port: int | None = None) -> None:
        """The end of a `block`. Raises `KeyError` for one that there is not."""
        self._blocks.remove(Block(protocol, port))
        self.namespace.nft(firewalls.render_blocks(self._blocks))

    @property
    def _network4(self) -> IPv4Network:
        if self.gateway.routed and not self.gateway.carrier:
            return self._ranges.network(self.link.number)
        high, low = divmod(self.link.number, SHARED_BY)
        if self.gateway.carrier:
            return IPv4Network(CARRIER4.format(FIRST_CARRIER + high, low))
        return IPv4Network(HOME4.format(high, low))

    def _become(self, gateway: Gateway, instead_of: str = "") -> None:
        """`instead_of`: what removes the rules of `nft` that there are."""
        self.gateway = gateway
        rules = instead_of
        if not gateway.by_routing:
            rules += firewalls.render(gateway.firewall)
        elif not gateway.firewall.udp:
            routing_rules.hold_udp_back(self.namespace, self._inside)
        if gateway.nat:
            self.namespace.sysctl(nats.sysctls(gateway.nat))
            rules += nats.render(gateway.nat, self.address)
        if rules:
            self.namespace.nft(rules)

    def _announce(self, prefix: str) -> None:
        """Every router on the way out knows the way back."""
        router: Router | None = self
        while router is not None:
            route(router.link, prefix)
            router = router.upstream
