"""Routed point-to-point links between namespaces: there is no flat bridge, so every packet crosses a hook that we own.

The upstream end owns a gateway address that is unique in its namespace. One shared by several links works for half a
minute and then dies: the upstream would have to resolve an address that it owns itself.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..waiting import wait_until
from .namespace import Namespace
from .netlink import open_netlink

if TYPE_CHECKING:
    from pyroute2 import IPRoute

__all__ = [
    "INNER_END",
    "Link",
    "bring_up",
    "connect",
    "disconnect",
    "gateways",
    "prepare",
    "renumber",
    "route",
    "take_down",
]

INNER_END = "wan"
"""Name of the interface by which a host or router reaches its upstream."""
GATEWAY4 = "169.254.{}.{}"
GATEWAY6 = "fe80::{:x}"
FIRST_OUTER_INDEX = 1000
"""The two ends must not have the same index: the kernel would then notice after up to 1 s only that the link is up."""
NO_WAIT = 0x02  # IFA_F_NODAD: otherwise an IPv6 address cannot be bound for a moment, whatever sysctls say
ONE_BY_ONE = 1
"""Segments in a packet that crosses a link.

A sender may give its kernel many datagrams in one piece (UDP_SEGMENT, as TURN servers and QUIC do). Between namespaces
they would stay one packet, and witnesses would count fewer than were sent.
"""
LINK_WITHIN = 20.0
"""Seconds for the kernel to notice that both ends are up: milliseconds on a quiet machine."""


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
    per_interface = {"accept_dad": 0, "dad_transmits": 0} | ({"forwarding": 1} if forwards else {})
    values = {
        f"net/ipv6/conf/{scope}/{name}": value
        for scope in ("all", "default")
        for name, value in per_interface.items()
    }
    namespace.sysctl(values | ({"net/ipv4/ip_forward": 1} if forwards else {}))
    namespace.call(_set_state, "lo", "up")


def connect(
    upstream: Namespace,
    downstream: Namespace,
    number: int,
    addresses: Sequence[str],
) -> Link:
    """Link `downstream` to `upstream` as its only way out.

    `number`: 1 to 65279, unique in both. `addresses`: those of the downstream end, IPv4 and IPv6, without a prefix
    length. A family without an address is not routed.
    """
    link = Link(upstream, f"d{number}", downstream, tuple(addresses), number)
    upstream.call(_make_outer_end, link)
    bring_up(link)
    return link


def disconnect(link: Link) -> None:
    """Remove both ends. The downstream has no way out until it is connected again."""
    link.upstream.call(_remove, link.outer)


def take_down(link: Link) -> None:
    """The downstream's interface is switched off: what it sends fails at once, and what is sent to it is lost."""
    link.downstream.call(_set_state, link.inner, "down")


def bring_up(link: Link) -> None:
    """The downstream's interface is switched on, with its addresses and its way out."""
    link.downstream.call(_make_inner_end, link)
    link.upstream.call(_await_carrier, link.outer)


def route(link: Link, prefix: str) -> None:
    """Let the upstream send a prefix to the downstream, which has an address of the same family."""
    via = next(each for each in link.addresses if _family(each) == _family(prefix))
    link.upstream.call(_route, link, prefix, via)


def renumber(link: Link, address: str) -> Link:
    """The downstream's address of that family is another one from now on. Prefixes behind it are not routed anew."""
    old = next(each for each in link.addresses if _family(each) == _family(address))
    link.upstream.call(_route, link, f"{address}/{_host_prefix(address)}", None)
    link.downstream.call(_replace_address, link.inner, old, address)
    link.upstream.call(_unroute, link, f"{old}/{_host_prefix(old)}")
    return replace(link, addresses=tuple(address if each == old else each for each in link.addresses))


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


def _set_state(interface: str, state: str) -> None:
    with open_netlink() as netlink:
        netlink.link("set", index=socket.if_nametoindex(interface), state=state)


def _await_carrier(interface: str) -> None:
    with open_netlink() as netlink:
        _await_carrier_of(netlink, interface)


def _await_carrier_of(netlink: IPRoute, interface: str) -> None:
    """Until the kernel has noticed it drops what is sent, and who asks for a neighbour asks again a second later."""
    index = socket.if_nametoindex(interface)
    wait_until(
        lambda: netlink.link("get", index=index)[0].get("operstate") == "UP",
        f"interface {interface} to be up",
        within=LINK_WITHIN,
    )


def _remove(interface: str) -> None:
    with open_netlink() as netlink:
        netlink.link("del", index=socket.if_nametoindex(interface))


def _make_outer_end(link: Link) -> None:
    index = FIRST_OUTER_INDEX + link.number
    with open_netlink() as netlink:
        netlink.link(
            "add",
            ifname=link.outer,
            index=index,
            kind="veth",
            peer={"ifname": link.inner, "net_ns_fd": link.downstream.fd},
            gso_max_segs=ONE_BY_ONE,
        )
        for family, gateway in gateways(link).items():
            prefix = 64 if family == socket.AF_INET6 else 32
            netlink.addr("add", index=index, address=gateway, prefixlen=prefix, family=family, flags=NO_WAIT)
        netlink.link("set", index=index, state="up")
        for address in link.addresses:
            netlink.route("add", dst=f"{address}/{_host_prefix(address)}", oif=index, family=_family(address))


def _make_inner_end(link: Link) -> None:
    with open_netlink() as netlink:
        index = socket.if_nametoindex(link.inner)
        for address in link.addresses:
            netlink.addr(
                "replace",
                index=index,
                address=address,
                prefixlen=_host_prefix(address),
                flags=NO_WAIT,
            )
        netlink.link("set", index=index, state="up", gso_max_segs=ONE_BY_ONE)
        for family, gateway in gateways(link).items():
            if any(_family(address) == family for address in link.addresses):
                netlink.route(
                    "replace", dst="default", gateway=gateway, oif=index, family=family, flags=["onlink"]
                )
        _await_carrier_of(netlink, link.inner)


def _replace_address(interface: str, old: str, new: str) -> None:
    with open_netlink() as netlink:
        index = socket.if_nametoindex(interface)
        netlink.addr("add", index=index, address=new, prefixlen=_host_prefix(new), flags=NO_WAIT)
        netlink.addr("del", index=index, address=old, prefixlen=_host_prefix(old))


def _route(link: Link, prefix: str, via: str | None) -> None:
    with open_netlink() as netlink:
        how = {"oif": socket.if_nametoindex(link.outer), "family": _family(prefix)}
        if via is None:
            netlink.route("add", dst=prefix, **how)
        else:
            netlink.route("add", dst=prefix, gateway=via, flags=["onlink"], **how)


def _unroute(link: Link, prefix: str) -> None:
    with open_netlink() as netlink:
        netlink.route("del", dst=prefix, oif=socket.if_nametoindex(link.outer), family=_family(prefix))
