"""NAT64 (RFC 6146): IPv4 servers for devices that have only IPv6, by the program `tayga` behind a TUN interface.

`tayga` translates one address to one address (RFC 7915); the router's own IPv4 translator comes after it.
"""

from __future__ import annotations

import ipaddress
import socket
import subprocess

from .namespace import Namespace, program
from .netlink import open_netlink

__all__ = ["nat64_address", "start"]

WELL_KNOWN = "64:ff9b::"
"""RFC 6052, 2.1. A DNS64 server makes its answers of it."""
POOL = "192.168.255.0/24"
OWN_ADDRESS = "192.168.255.1"
INTERFACE = "nat64"


def nat64_address(ipv4: str) -> str:
    """The IPv6 address that stands for an IPv4 address (RFC 6052, 2.2)."""
    return str(ipaddress.IPv6Address(WELL_KNOWN) + int(ipaddress.IPv4Address(ipv4)))


def start(router: Namespace, own_address6: str) -> subprocess.Popen[bytes]:
    """The program that translates in this router. `own_address6`: one that nobody else has.

    Raises `MissingCapability`.
    """
    tayga = program("tayga")
    config = f"""\
tun-device {INTERFACE}
ipv4-addr {OWN_ADDRESS}
ipv6-addr {own_address6}
prefix {WELL_KNOWN}/96
dynamic-pool {POOL}
""".encode()
    make = [tayga, "--mktun", "--config", "/dev/stdin"]
    router.call(subprocess.run, make, input=config, capture_output=True, check=True)
    router.call(_route)
    translate = [tayga, "--nodetach", "--config", "/dev/stdin"]
    process = router.popen(
        translate, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None
    process.stdin.write(config)
    process.stdin.close()
    return process


def _route() -> None:
    with open_netlink() as netlink:
        index = socket.if_nametoindex(INTERFACE)
        netlink.link("set", index=index, state="up")
        netlink.route("add", dst=POOL, oif=index)
        netlink.route("add", dst=f"{WELL_KNOWN}/96", oif=index)
