"""A way out of a lab: devices behind emulated NATs reach a server that somebody else runs, and nothing but that server.

    lab internet -- edge of the lab -- "this machine" -- ... -- the server

The lab's internet translates like a provider's full cone with hairpin, to the address that the server sees this
machine at: so two devices find each other by what the server tells them, and each network stays of its kind (RFC 4787).
The edge lets packets out to the server's addresses alone, in its own name, over IPv4.
"""

from __future__ import annotations

import ipaddress
import os
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT, Popen
from typing import ParamSpec, TypeVar

from ..closing import Closing
from ..hosts import Host, LocalHost, MissingCapability
from ..waiting import wait_until
from . import nat
from .links import INNER_END, connect
from .namespace import Namespace, program
from .netlink import NetlinkFailed
from .preflight import preflight
from .ranges import EDGES

__all__ = ["ThisMachine", "Uplink", "WayOut", "real_uplink"]

P = ParamSpec("P")
T = TypeVar("T")

NUMBERS = (30000, 60000)
"""Of links at this machine: above those of a lab, and drawn, so that several labs can have an uplink at once."""
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
CARRIER_NAT = nat.Nat(nat.Dependence.ENDPOINT_INDEPENDENT, nat.Dependence.ENDPOINT_INDEPENDENT, hairpin=True)
"""Whatever is behind it stays the kind of NAT that it is."""
RULES_WITHIN = 10.0


@dataclass(frozen=True)
class Uplink:
    """This machine, or a namespace that stands for it."""

    host: Host
    """As programs on it see the network; names are looked up here."""
    network: Namespace
    """It forwards, and its way to the server is its own affair."""


@dataclass(frozen=True)
class WayOut:
    """An uplink, and what one lab may do with it.

    Raises `ValueError` for servers that a lab cannot tell from its own.
    """

    uplink: Uplink
    servers: frozenset[str]
    """IPv4 addresses that can be reached; every other packet ends at the edge of the lab."""
    seen_as: str
    """The address that the servers see this machine at."""

    def __post_init__(self) -> None:
        if not self.servers:
            raise ValueError("the server has no IPv4 address, and an uplink carries no other")
        for each in sorted(self.servers):
            if each == self.seen_as:
                raise ValueError(f"{each} is this machine itself: a lab reaches other machines alone")
            if any(ipaddress.ip_address(each) in network for network in TAKEN):
                raise ValueError(f"the server's address {each} is one that labs have inside")

    def open(self, edge: Namespace, internet: Namespace, number: int) -> Closing:
        """Link the lab's internet to this machine through `edge`; what comes back ends that.

        `number`: of the link between internet and edge. Raises `MissingCapability`.
        """
        preflight().require("nft")
        outside = self.uplink.network
        if outside.call(FORWARDING.read_text).strip() == "0":
            raise MissingCapability(
                "uplink",
                "this machine does not forward packets",
                heal="sudo sysctl -w net.ipv4.ip_forward=1",
            )
        address = str(EDGES[secrets.randbelow(EDGES.num_addresses)])
        at_machine = NUMBERS[0] + secrets.randbelow(NUMBERS[1] - NUMBERS[0])
        try:
            link = connect(outside, edge, at_machine, [address])
        except (NetlinkFailed, PermissionError) as error:
            raise MissingCapability(
                "uplink",
                f"this user may not link a network to this machine's ({error.strerror})",
                heal="run it as root, or inside of `pasta --config-net`",
            ) from error
        edge.nft(_edge_rules(address, self.servers))
        connect(edge, internet, number, [self.seen_as])
        internet.sysctl(nat.sysctls(CARRIER_NAT))
        internet.nft(nat.render(CARRIER_NAT, self.seen_as))
        return _Masquerade(self.uplink.host, outside, link.outer, address)


TAKEN = tuple(
    map(
        ipaddress.ip_network,
        ("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "198.18.0.0/15"),
    )
)
"""Addresses of devices, carriers, links and the lab's internet."""


class ThisMachine(Namespace):
    """The network that this process is in: it was there before, and nothing in it ends with us."""

    def __init__(self) -> None:
        self.name = "this machine"
        self.fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def call(self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return function(*args, **kwargs)

    def close(self) -> None:
        os.close(self.fd)


def real_uplink() -> Uplink:
    """The network of this machine, and what is behind it."""
    return Uplink(LocalHost(), ThisMachine())


class _Masquerade(Closing):
    """Rules of this machine, in a table that ends with the program that owns it: also when we are killed."""

    def __init__(self, host: Host, network: Namespace, interface: str, address: str) -> None:
        table = f"dc_harness_{interface}"
        self._nft = host.start_program([program("nft"), "-i"], stdin=PIPE, stdout=DEVNULL, stderr=DEVNULL)
        assert self._nft.stdin is not None
        try:
            self._nft.stdin.write(_masquerade_rules(table, interface, address).encode())
            self._nft.stdin.flush()
            wait_until(lambda: _is_whole(network, table), "this machine to masquerade", within=RULES_WITHIN)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """A second call does nothing."""
        assert self._nft.stdin is not None
        self._nft.stdin.close()
        self._nft.wait()


def _is_whole(network: Namespace, table: str) -> bool:
    return "masquerade" in network.call(_listed, table)


def _listed(table: str) -> str:
    with Popen([program("nft"), "list", "table", "ip", table], stdout=PIPE, stderr=STDOUT, text=True) as done:
        return str(done.communicate()[0])


def _masquerade_rules(table: str, interface: str, address: str) -> str:
    return f"""\
add table ip {table} {{ flags owner; }}
add chain ip {table} out {{ type nat hook postrouting priority srcnat; }}
add rule ip {table} out ip saddr {address} oifname != "{interface}" masquerade
"""


def _edge_rules(address: str, servers: Collection[str]) -> str:
    """Translation, and two guards: only the servers are reached, and nothing leaves that bears another address."""
    return f"""\
table ip lab_edge {{
    chain passing {{
        type filter hook forward priority filter
        oifname "{INNER_END}" ip daddr != {{ {", ".join(sorted(servers))} }} drop
        iifname "{INNER_END}" ct state != {{ established, related }} drop
    }}
    chain outbound {{
        type nat hook postrouting priority srcnat
        oifname "{INNER_END}" masquerade
    }}
}}
table netdev lab_edge {{
    chain leaving {{
        type filter hook egress device "{INNER_END}" priority 300
        meta protocol ip ip saddr {address} accept
        meta protocol arp accept
        drop
    }}
}}
"""
