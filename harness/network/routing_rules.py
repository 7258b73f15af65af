"""UDP held back by rules of policy routing, in a router that has no `nft`: `ip rule ... ipproto udp blackhole`.

Such rules keep no state. DNS passes by its port alone, in both directions; a host outside that sends from port 53 would
get in, and none in a lab does.
"""

from __future__ import annotations

import errno
import itertools
import socket
from collections.abc import Sequence
from typing import Any

from .links import INNER_END
from .namespace import Namespace
from .netlink import NetlinkFailed, open_netlink

__all__ = ["hold_udp_back", "let_udp_pass"]

DNS = "53:53"
"""A range of ports."""
MAIN_TABLE = 254
FIRST_PRIORITY = 1000
"""Behind the table of local addresses, and before the main one."""
SILENTLY = {"action": "blackhole"}
ORDINARILY = {"table": MAIN_TABLE}


def hold_udp_back(router: Namespace, inside: Sequence[str]) -> None:
    """Swallow UDP that crosses the outer interface, but for DNS. `inside`: the prefixes behind the router.

    What stays behind the router is free.
    """
    for family in (socket.AF_INET, socket.AF_INET6):
        prefixes = [each for each in inside if (":" in each) == (family == socket.AF_INET6)]
        router.call(_add, family, _rules(prefixes))


def let_udp_pass(router: Namespace) -> None:
    """The end of `hold_udp_back`; without one, nothing."""
    for family in (socket.AF_INET, socket.AF_INET6):
        router.call(_remove, family)


def _rules(inside: Sequence[str]) -> list[dict[str, Any]]:
    """In order: the first that fits decides."""
    return [
        {"dport_range": DNS, **ORDINARILY},
        {"sport_range": DNS, "iifname": INNER_END, **ORDINARILY},
        {"iifname": INNER_END, **SILENTLY},
        *(_to(prefix) | ORDINARILY for prefix in inside),
        SILENTLY,
    ]


def _to(prefix: str) -> dict[str, Any]:
    address, _, length = prefix.partition("/")
    return {"dst": address, "dst_len": int(length)}


def _add(family: socket.AddressFamily, rules: Sequence[dict[str, Any]]) -> None:
    with open_netlink() as netlink:
        for priority, rule in enumerate(rules, FIRST_PRIORITY):
            netlink.rule("add", family=family, priority=priority, ip_proto=socket.IPPROTO_UDP, **rule)


def _remove(family: socket.AddressFamily) -> None:
    """A priority at a time, until one is not there."""
    try:
        with open_netlink() as netlink:
            for priority in itertools.count(FIRST_PRIORITY):
                netlink.rule("del", family=family, priority=priority)
    except NetlinkFailed as error:
        if error.errno != errno.ENOENT:
            raise
