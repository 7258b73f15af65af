"""Networks that devices live in, as data: what stands between a device and the internet, and how that behaves.

A profile says what it is; the self-test (`probe.self_test`) finds out whether it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from .firewall import Firewall
from .nat import BLOCKED, OPEN, STATEFUL, Behaviour, Dependence, Nat

__all__ = [
    "ADDRESS_RESTRICTED",
    "ALL",
    "CARRIER",
    "DUAL_STACK",
    "FULL_CONE",
    "HAIRPIN",
    "HOME",
    "IPV6_ONLY",
    "IPV6_ROUTED",
    "MOBILE",
    "NAT64",
    "ONLY_443",
    "ONLY_443_REFUSED",
    "PUBLIC",
    "SYMMETRIC",
    "SYMMETRIC_OPEN",
    "UDP_BLOCKED",
    "UDP_BLOCKED_PUBLIC",
    "Gateway",
    "Profile",
]

INDEPENDENT = Dependence.ENDPOINT_INDEPENDENT
BY_ADDRESS = Dependence.ADDRESS_DEPENDENT
BY_ADDRESS_AND_PORT = Dependence.ADDRESS_AND_PORT_DEPENDENT


@dataclass(frozen=True)
class Gateway:
    """One router."""

    nat: Nat | None = None
    """For IPv4; None: there is no IPv4 behind it, or it is `routed`. IPv6 is always routed."""
    firewall: Firewall = field(default_factory=Firewall)
    nat64: bool = False
    """Behind it is IPv6 alone, from which its IPv4 translator is reached as well (RFC 6146)."""
    carrier: bool = False
    """Its inside has the addresses that carriers share (RFC 6598)."""
    routed: bool = False
    """Without a NAT: the IPv4 addresses behind it are public ones."""

    @property
    def ipv4(self) -> Behaviour | None:
        """Behaviour of UDP over IPv4 here; None: there is no IPv4 behind it. And over IPv6:"""
        if self.nat is None:
            return self.ipv6 if self.routed else None
        if self.nat64:
            return None
        return self.nat.behaviour if self.firewall.udp else BLOCKED

    @property
    def ipv6(self) -> Behaviour:
        if not self.firewall.udp:
            return BLOCKED
        return OPEN if self.firewall.unsolicited else STATEFUL

    @property
    def by_routing(self) -> bool:
        """It needs no `nft`."""
        return self.nat is None and self.firewall.by_routing

    @property
    def needs(self) -> tuple[str, ...]:
        """Capabilities of a machine that can make it."""
        if self.by_routing:
            return () if self.firewall.udp else ("udp_rules",)
        return ("nft", "conntrack", "nat64") if self.nat64 else ("nft", "conntrack")


@dataclass(frozen=True)
class Profile:
    """A kind of network."""

    name: str
    sentence: str
    """For people."""
    routers: tuple[Gateway, ...] = ()
    """From the device outward; none: the device is on the internet itself."""
    ipv4: Behaviour | None = None
    """Behaviour of UDP over IPv4 on the way; None: no such addresses."""
    ipv6: Behaviour | None = None

    @property
    def needs(self) -> tuple[str, ...]:
        """Capabilities of a machine that can make it, besides networks at all."""
        return tuple(dict.fromkeys(each for router in self.routers for each in router.needs))

    @property
    def only_443(self) -> bool:
        """Nothing but TCP port 443 gets out."""
        return any(each.firewall.tcp_ports == frozenset({443}) for each in self.routers)

    def behind(self, outer: Profile) -> Profile:
        """This network as a customer of another one."""
        return replace(
            self,
            name=f"{self.name} behind {outer.name}",
            routers=self.routers + outer.routers,
            ipv4=self.ipv4.behind(outer.ipv4) if self.ipv4 and outer.ipv4 else None,
            ipv6=self.ipv6.behind(outer.ipv6) if self.ipv6 and outer.ipv6 else None,
        )


def _behind(name: str, sentence: str, nat: Nat) -> Profile:
    return Profile(name, sentence, (Gateway(nat),), ipv4=nat.behaviour)


PUBLIC = Profile("public", "A public IPv4 address and nothing in the way.", ipv4=OPEN)
FULL_CONE = _behind(
    "full cone", "Once a port is mapped, everybody can send to it.", Nat(INDEPENDENT, INDEPENDENT)
)
ADDRESS_RESTRICTED = _behind(
    "address-restricted",
    "Whoever was sent something may answer, from any port.",
    Nat(INDEPENDENT, BY_ADDRESS),
)
HOME = _behind(
    "home",
    "A home router: one mapping for all destinations, and only the port that was sent to may answer"
    " (port-restricted).",
    Nat(INDEPENDENT, BY_ADDRESS_AND_PORT),
)
HAIRPIN = _behind(
    "hairpin",
    "A home router whose devices reach each other by its outer address as well.",
    Nat(INDEPENDENT, BY_ADDRESS_AND_PORT, hairpin=True),
)
SYMMETRIC = _behind(
    "symmetric",
    "A company's NAT: a new mapping for every destination.",
    Nat(BY_ADDRESS_AND_PORT, BY_ADDRESS_AND_PORT),
)
SYMMETRIC_OPEN = _behind(
    "symmetric, open",
    "A new mapping for every destination, and everybody can send to each of them.",
    Nat(BY_ADDRESS_AND_PORT, INDEPENDENT),
)
MOBILE = Profile(
    "mobile",
    "A mobile network: a symmetric NAT behind the carrier's own.",
    (
        Gateway(Nat(BY_ADDRESS_AND_PORT, BY_ADDRESS_AND_PORT)),
        Gateway(Nat(INDEPENDENT, BY_ADDRESS_AND_PORT), carrier=True),
    ),
    ipv4=Behaviour(BY_ADDRESS_AND_PORT, BY_ADDRESS_AND_PORT),
)
CARRIER = Profile(
    "carrier",
    "A home router behind a provider that has too few addresses and a NAT of its own (full cone).",
    (
        Gateway(Nat(INDEPENDENT, BY_ADDRESS_AND_PORT)),
        Gateway(Nat(INDEPENDENT, INDEPENDENT), carrier=True),
    ),
    ipv4=Behaviour(INDEPENDENT, BY_ADDRESS_AND_PORT),
)

_OFFICE = Nat(INDEPENDENT, BY_ADDRESS_AND_PORT)
UDP_BLOCKED = Profile(
    "UDP blocked",
    "A network that swallows UDP, except for DNS.",
    (Gateway(_OFFICE, Firewall(udp=False)),),
    ipv4=BLOCKED,
)
UDP_BLOCKED_PUBLIC = Profile(
    "UDP blocked, public",
    "A network with public addresses that swallows UDP, except for DNS.",
    (Gateway(routed=True, firewall=Firewall(udp=False)),),
    ipv4=BLOCKED,
)
ONLY_443 = Profile(
    "only 443",
    "A network that swallows UDP, and TCP to any port but 443; DNS passes.",
    (Gateway(_OFFICE, Firewall(udp=False, tcp_ports=frozenset({443}))),),
    ipv4=BLOCKED,
)
ONLY_443_REFUSED = Profile(
    "only 443, refused",
    "A network that refuses UDP, and TCP to any port but 443; DNS passes.",
    (Gateway(_OFFICE, Firewall(udp=False, tcp_ports=frozenset({443}), refuses=True)),),
    ipv4=BLOCKED,
)

IPV6_ONLY = Profile(
    "IPv6 only",
    "No IPv4 address; a firewall that lets nobody from outside begin.",
    (Gateway(firewall=Firewall(unsolicited=False)),),
    ipv6=STATEFUL,
)
IPV6_ROUTED = Profile("IPv6 routed", "No IPv4 address, and nothing in the way.", (Gateway(),), ipv6=OPEN)
DUAL_STACK = Profile(
    "dual stack",
    "A home router for IPv4, and IPv6 behind a firewall that lets nobody from outside begin.",
    (Gateway(Nat(INDEPENDENT, BY_ADDRESS_AND_PORT), Firewall(unsolicited=False)),),
    ipv4=Behaviour(INDEPENDENT, BY_ADDRESS_AND_PORT),
    ipv6=STATEFUL,
)
NAT64 = Profile(
    "NAT64",
    "No IPv4 address; IPv4 servers are reached by addresses that the network makes of theirs.",
    (Gateway(Nat(INDEPENDENT, BY_ADDRESS_AND_PORT), Firewall(unsolicited=False), nat64=True),),
    ipv6=STATEFUL,
)

ALL = (
    PUBLIC,
    FULL_CONE,
    ADDRESS_RESTRICTED,
    HOME,
    HAIRPIN,
    SYMMETRIC,
    SYMMETRIC_OPEN,
    MOBILE,
    CARRIER,
    UDP_BLOCKED,
    UDP_BLOCKED_PUBLIC,
    ONLY_443,
    ONLY_443_REFUSED,
    IPV6_ROUTED,
    IPV6_ONLY,
    DUAL_STACK,
    NAT64,
)
