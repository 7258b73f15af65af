"""Network address translators as data, and the rules that make a router behave like them.

The words are those of RFC 4787: what a mapping, and what a filter, depends on. UDP is exact; TCP follows the kernel's
connection tracking, which is address and port-dependent in its filtering.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from .links import INNER_END

__all__ = [
    "BLOCKED",
    "FORGET",
    "OPEN",
    "REMOVE",
    "STATEFUL",
    "Behaviour",
    "Dependence",
    "Nat",
    "render",
    "sysctls",
]

TABLE = "lab_nat"
OTHER_PORTS = "40000-64999"
"""Ports for mappings whose own port is taken on the outside."""
MOST_MAPPINGS = 8192
"""At a time. The kernel makes room for all of them at once: 0.1 MB for each thousand."""

REMOVE = f"""\
table ip {TABLE}
delete table ip {TABLE}
"""
"""Takes away what `render` made, or nothing, in the transaction of the rules behind it.

New routers go without: a removal waits for all processors, which is most of the time of a small ruleset.
"""

FORGET = f"""\
flush map ip {TABLE} inside_to_outside
flush map ip {TABLE} outside_to_inside
flush set ip {TABLE} contacted
"""
"""Empties the maps of any translator. Which outer ports were taken stays known, so that mappings really move."""


class Dependence(enum.StrEnum):
    """Part of the remote endpoint that a mapping or a filter depends on (RFC 4787, sections 4.1 and 5)."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address and port-dependent"


@dataclass(frozen=True)
class Behaviour:
    """Behaviour of UDP on a host's way out as the world sees it, of all routers on the way together."""

    mapping: Dependence | None
    filtering: Dependence | None
    """Both None: no UDP comes through."""
    translated: bool = True
    """The world sees another address than the host."""
    hairpin: bool = False
    """True if what is sent to that address from inside comes back in (RFC 4787, 6)."""

    def behind(self, outer: Behaviour) -> Behaviour:
        """Both, one after the other: the stricter one decides."""
        if BLOCKED in (self, outer):
            return BLOCKED
        return Behaviour(
            _stricter(self.mapping, outer.mapping),
            _stricter(self.filtering, outer.filtering),
            self.translated or outer.translated,
            outer.hairpin if outer.translated else self.hairpin,
        )

    def __str__(self) -> str:
        if self.mapping is None:
            return "no UDP comes through"
        address = "another address" if self.translated else "its own address"
        hairpin = ", hairpin" if self.hairpin else ""
        return f"{address}, {self.mapping} mapping, {self.filtering} filtering{hairpin}"


def _stricter(one: Dependence | None, other: Dependence | None) -> Dependence:
    return max((each for each in (one, other) if each), key=list(Dependence).index)


OPEN = Behaviour(Dependence.ENDPOINT_INDEPENDENT, Dependence.ENDPOINT_INDEPENDENT, translated=False)
STATEFUL = Behaviour(Dependence.ENDPOINT_INDEPENDENT, Dependence.ADDRESS_AND_PORT_DEPENDENT, translated=False)
BLOCKED = Behaviour(None, None, translated=False)


@dataclass(frozen=True)
class Nat:
    """An IPv4 translator. Raises `ValueError` for one that cannot be built."""

    mapping: Dependence
    filtering: Dependence
    hairpin: bool = False
    """A packet from inside to a mapped address is turned back, with the sender's mapped address (RFC 4787, 6)."""
    timeout: int = 300
    """Seconds after which a mapping without outbound traffic is forgotten (RFC 4787, 4.3)."""

    def __post_init__(self) -> None:
        if self.mapping is Dependence.ADDRESS_DEPENDENT:
            raise ValueError("a mapping that depends on the address alone is not built")
        if self.timeout < 1:
            raise ValueError(f"a mapping cannot time out after {self.timeout} s")

    @property
    def behaviour(self) -> Behaviour:
        return Behaviour(self.mapping, self.filtering, hairpin=self.hairpin)


def sysctls(nat: Nat) -> dict[str, int]:
    """The kernel's own time-outs must agree with those of the rules."""
    return {
        "net/netfilter/nf_conntrack_udp_timeout": nat.timeout,
        "net/netfilter/nf_conntrack_udp_timeout_stream": nat.timeout,
    }


def render(nat: Nat, address: str) -> str:
    """The ruleset, for a router that has none. `address`: what the router is known by on the outside.

    `learn` runs after source translation: headers show the outer port, `ct original` the inside endpoint, so nothing
    is assumed about ports being kept. In the direction of an answer the inside endpoint is the source that
    `ct reply` names.
    """
    return f"""\
table ip {TABLE} {{
    map inside_to_outside {{
        type ipv4_addr . inet_service : ipv4_addr . inet_service
        flags dynamic,timeout
        timeout {nat.timeout}s
        size {MOST_MAPPINGS}
    }}
    map outside_to_inside {{
        type inet_service : ipv4_addr . inet_service
        flags dynamic,timeout
        timeout {nat.timeout}s
        size {MOST_MAPPINGS}
    }}
    set contacted {{
        type inet_service . ipv4_addr
        flags dynamic,timeout
        timeout {nat.timeout}s
        size {MOST_MAPPINGS}
    }}
    set taken {{
        type inet_service
        flags dynamic,timeout
        timeout {nat.timeout}s
        size {MOST_MAPPINGS}
    }}
    chain inbound {{
        type nat hook prerouting priority dstnat
{_rules(_inbound(nat, address))}
    }}
    chain outbound {{
        type nat hook postrouting priority srcnat
{_rules(_outbound(nat, address))}
    }}
    chain learn {{
        type filter hook postrouting priority 110
{_rules(_learn(nat))}
    }}
    chain to_the_router {{
        type filter hook input priority filter
        iifname "{INNER_END}" ct state established,related accept
        iifname "{INNER_END}" drop
    }}
}}
"""


def _rules(rules: list[str]) -> str:
    return "\n".join(f"        {rule}" for rule in rules)


def _inbound(nat: Nat, address: str) -> list[str]:
    to_the_inside = "dnat ip to udp dport map @outside_to_inside"
    rules = []
    if nat.filtering is Dependence.ENDPOINT_INDEPENDENT:
        rules.append(f'iifname "{INNER_END}" meta l4proto udp {to_the_inside}')
    elif nat.filtering is Dependence.ADDRESS_DEPENDENT:
        rules.append(f'iifname "{INNER_END}" udp dport . ip saddr @contacted {to_the_inside}')
    # Else the kernel's connection tracking is the filter.
    if nat.hairpin:
        rules.append(f'iifname != "{INNER_END}" ip daddr {address} meta l4proto udp {to_the_inside}')
    return rules


def _outbound(nat: Nat, address: str) -> list[str]:
    rules = []
    if nat.hairpin:
        turned_back = f'oifname != "{INNER_END}" ct status dnat'
        rules += [
            f"{turned_back} meta l4proto udp snat ip to ip saddr . udp sport map @inside_to_outside",
            f"{turned_back} snat ip to {address}",
        ]
    if nat.mapping is Dependence.ENDPOINT_INDEPENDENT:
        rules += [
            f'oifname "{INNER_END}" meta l4proto udp snat ip to ip saddr . udp sport map @inside_to_outside',
            f'oifname "{INNER_END}" udp sport @taken masquerade to :{OTHER_PORTS} fully-random',
            f'oifname "{INNER_END}" masquerade',
        ]
    else:
        rules.append(f'oifname "{INNER_END}" masquerade fully-random')
    return rules


def _learn(nat: Nat) -> list[str]:
    rules = []
    for direction in ("original", "reply"):
        outbound = f'oifname "{INNER_END}" meta l4proto udp ct direction {direction}'
        inside = f"ct {direction} ip saddr . ct {direction} proto-src"
        if nat.mapping is Dependence.ENDPOINT_INDEPENDENT:
            rules.append(f"{outbound} update @inside_to_outside {{ {inside} : ip saddr . udp sport }}")
        rules.append(f"{outbound} update @outside_to_inside {{ udp sport : {inside} }}")
    rules += [
        f'oifname "{INNER_END}" update @contacted {{ udp sport . ip daddr }}',
        f'oifname "{INNER_END}" update @taken {{ udp sport }}',
    ]
    return rules
