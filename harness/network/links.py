"""Routed point-to-point links between namespaces: there is no flat bridge, so every packet crosses a hook that we own.

The upstream end owns a gateway address that is unique in its namespace. One shared by several links works for half a
minute and then dies: the upstream would have to resolve an address that it owns itself.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass

from pyroute2 import IPRoute

from .namespace import Namespace

__all__ = ["Link", "connect", "gateways", "prepare"]

INNER_END = "wan"
"""Name of the interface by which a host or router reaches its upstream."""
GATEWAY4 = "169.254.{}.{}"
GATEWAY6 = "fe80::{:x}"
NO_WAIT = (
    0x02  # IFA_F_NODAD: without it an IPv6 address cannot be bound for a moment, whatever the sysctls say
)


@dataclass(frozen=True)
class Link:
    """A pair of interfaces. The outer end, in the upstream's namespace, is where a host's traffic is counted."""

    upstream: Namespace
    outer: str
    downstream: Namespace
    addresses: tuple[str, ...]
    """IPv4 and IPv6, of the inner end."""
    number: int
    """Unique in the upstream."""
    inner: str = INNER_END


def prepare(namespace: Namespace, *, forwards: bool) -> None:
    """Bring up `lo` and set what must be set before links exist: forwarding, and no waiting for IPv6 addresses."""
    for scope in ("all", "default"):
        namespace.sysctl(f"net/ipv6/conf/{scope}/accept_dad", 0)
        namespace.sysctl(f"net/ipv6/conf/{scope}/dad_transmits", 0)
        if forwards:
            namespace.sysctl(f"net/ipv6/conf/{scope}/forwarding", 1)
    if forwards:
        namespace.sysctl("net/ipv4/ip_forward", 1)
    namespace.call(_bring_up, "lo")


def connect(
    upstream: Namespace,
    downstream: Namespace,
    number: int,
    addresses: Sequence[str],
    *,
    behind: Sequence[str] = (),
) -> Link:
    """Link `downstream` to `upstream` as its only way out.

    `number`: 1 to 65279, unique in the upstream. `addresses`: those of the downstream end, IPv4 and IPv6, without a
    prefix length. `behind`: prefixes that the upstream routes to it as well. A family without an address is not routed.
    """
    link = Link(upstream, f"d{number}", downstream, tuple(addresses), number)
    upstream.call(_make_outer_end, link)
    downstream.call(_make_inner_end, link)
    upstream.call(_route_to, link, tuple(behind))
    return link


def gateways(link: Link) -> dict[socket.AddressFamily, str]:
    """The upstream's addresses on this link."""
    high, low = divmod(link.number, 255)
    return {
        socket.AF_INET: GATEWAY4.format(high, low + 1),
        socket.AF_INET6: GATEWAY6.format(link.number),
    }


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _host_prefix(address: str) -> int:
    return 128 if ":" in address else 32


def _bring_up(interface: str) -> None:
    with IPRoute() as netlink:
        netlink.link("set", index=netlink.link_lookup(ifname=interface)[0], state="up")


def _make_outer_end(link: Link) -> None:
    with IPRoute() as netlink:
        netlink.link(
            "add",
            ifname=link.outer,
            kind="veth",
            peer={"ifname": link.inner, "net_ns_fd": link.downstream.fd},
        )
        index = netlink.link_lookup(ifname=link.outer)[0]
        for family, gateway in gateways(link).items():
            prefix = 64 if family == socket.AF_INET6 else 32
            netlink.addr("add", index=index, address=gateway, prefixlen=prefix, family=family, flags=NO_WAIT)
        netlink.link("set", index=index, state="up")


def _make_inner_end(link: Link) -> None:
    with IPRoute() as netlink:
        index = netlink.link_lookup(ifname=link.inner)[0]
        for address in link.addresses:
            netlink.addr("add", index=index, address=address, prefixlen=_host_prefix(address), flags=NO_WAIT)
        netlink.link("set", index=index, state="up")
        for family, gateway in gateways(link).items():
            if any(_family(address) == family for address in link.addresses):
                netlink.route(
                    "add", dst="default", gateway=gateway, oif=index, family=family, flags=["onlink"]
                )


def _route_to(link: Link, behind: Sequence[str]) -> None:
    with IPRoute() as netlink:
        index = netlink.link_lookup(ifname=link.outer)[0]
        for address in link.addresses:
            netlink.route("add", dst=f"{address}/{_host_prefix(address)}", oif=index, family=_family(address))
        for prefix in behind:
            via = next(each for each in link.addresses if _family(each) == _family(prefix))
            netlink.route("add", dst=prefix, gateway=via, oif=index, family=_family(prefix), flags=["onlink"])
