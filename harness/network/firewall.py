"""Traffic that a router lets through, as data, and the rules for it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from .links import INNER_END

__all__ = ["REMOVE", "Block", "Firewall", "render", "render_blocks", "render_cuts"]

TABLE = "lab_firewall"
BLOCKS_TABLE = "lab_blocks"
CUTS_TABLE = "lab_cuts"
DNS = 53


def _instead_of(table: str) -> str:
    return f"table inet {table}\ndelete table inet {table}\n"


REMOVE = _instead_of(TABLE)
"""Takes away what `render` made, or nothing, in the transaction of the rules behind it."""


@dataclass(frozen=True)
class Firewall:
    """Rules for what crosses the outer interface; what stays in the network behind it is free.

    DNS always passes: a network without names is a fault of another kind.
    """

    udp: bool = True
    tcp_ports: frozenset[int] | None = None
    """Those that may be connected to; None: all."""
    refuses: bool = False
    """True if what is not allowed is refused (RST, ICMP) and not swallowed: clients behave differently."""
    unsolicited: bool = True
    """Outsiders may begin. False is what home routers do to IPv6."""

    @property
    def by_routing(self) -> bool:
        """Rules of routing can do the same, without `nft`: it swallows UDP, or nothing."""
        return self.tcp_ports is None and self.unsolicited and (self.udp or not self.refuses)


@dataclass(frozen=True)
class Block:
    """Something that stops passing while a lab runs. Silently, as a failing network does."""

    protocol: str
    """`udp` or `tcp`."""
    port: int | None = None
    """On the far side; None: all of them."""


def render(firewall: Firewall) -> str:
    """The ruleset, for a router that has none."""
    return _table(TABLE, _rules(firewall))


def render_blocks(blocks: Collection[Block]) -> str:
    """The ruleset that replaces the one before; it applies to flows that exist, too."""
    rules = []
    for block in sorted(blocks, key=str):
        if block.port is None:
            rules.append(f"meta l4proto {block.protocol} drop")
        else:
            rules.append(f'oifname "{INNER_END}" {block.protocol} dport {block.port} drop')
            rules.append(f'iifname "{INNER_END}" {block.protocol} sport {block.port} drop')
    return _instead_of(BLOCKS_TABLE) + _table(BLOCKS_TABLE, rules)


def render_cuts(cuts: Iterable[tuple[Collection[str], Collection[str]]]) -> str:
    """Likewise: nothing passes between the addresses of one side and those of the other, of each pair."""
    rules = []
    for one, other in cuts:
        for source, destination in ((one, other), (other, one)):
            for family, mark in (("ip", "."), ("ip6", ":")):
                pair = [", ".join(each for each in side if mark in each) for side in (source, destination)]
                if all(pair):
                    rules.append(f"{family} saddr {{ {pair[0]} }} {family} daddr {{ {pair[1]} }} drop")
    return _instead_of(CUTS_TABLE) + _table(CUTS_TABLE, rules)


def _rules(firewall: Firewall) -> list[str]:
    out, back = f'oifname "{INNER_END}"', f'iifname "{INNER_END}"'
    rules = ["ct state established,related accept"]
    if not firewall.unsolicited:
        rules.append(f"{back} drop")
    rules.append(f"{out} meta l4proto {{ tcp, udp }} th dport {DNS} accept")
    if not firewall.udp:
        rules += [*_deny(f"{out} meta l4proto udp", firewall), f"{back} meta l4proto udp drop"]
    if firewall.tcp_ports is not None:
        ports = ", ".join(str(port) for port in sorted(firewall.tcp_ports))
        rules.append(f"{out} tcp dport {{ {ports} }} accept")
        rules += _deny(f"{out} meta l4proto tcp", firewall)
    return rules


def _deny(what: str, firewall: Firewall) -> list[str]:
    if not firewall.refuses:
        return [f"{what} drop"]
    if what.endswith("tcp"):
        return [f"{what} reject with tcp reset"]
    return [f"{what} reject with icmpx admin-prohibited"]


def _table(name: str, rules: list[str]) -> str:
    lines = "\n".join(f"        {rule}" for rule in rules)
    return f"""\
table inet {name} {{
    chain passing {{
        type filter hook forward priority filter
{lines}
    }}
}}
"""
