"""A lab: an internet of our own, servers in it, and devices behind routers; each in a network namespace.

    with Lab() as lab:
        server = lab.server("chatmail")
        alice = lab.device("alice", profiles.HOME)

What `server` and `device` return are hosts like any other: programs and sockets are made on them.
"""

from __future__ import annotations

import ipaddress
import itertools
import socket
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..closing import Closing
from ..hosts import Host, Socket
from . import firewall, resolver
from .links import Link, bring_up, connect, disconnect, prepare, take_down
from .names import Names
from .nameserver import NameServer
from .namespace import Namespace
from .preflight import preflight
from .profiles import PUBLIC, Gateway, Profile
from .ranges import BENCHMARKING, ORDINARY
from .router import PREFIX6, Router
from .uplink import WayOut

__all__ = ["NAME_SERVERS", "Lab", "LabHost", "possible", "require_lab"]

NAME_SERVERS = (ORDINARY.name_server, f"{PREFIX6.format(1)}1")
"""Of a lab without an uplink."""


@dataclass(eq=False)
class LabHost(Host):
    """A machine in the lab. Where it is connected can change."""

    name: str
    address: str
    """Its IPv4 address, or the IPv6 address of a host that has no other."""
    namespace: Namespace
    link: Link
    """Its way out; whoever counts what it sends does so at the outer end."""
    addresses: tuple[str, ...] = ()
    """All of them."""
    profile: Profile = PUBLIC
    """What it says of the whole way to the internet."""
    routers: tuple[Router, ...] = ()
    """All that are between it and the internet, from the device outward."""

    def resolve(self, name: str) -> tuple[str, ...]:
        with suppress(ValueError):
            return (str(ipaddress.ip_address(name)),)
        from .lookup import resolve  # noqa: PLC0415 - slow to load

        return resolve(self.namespace, name)

    def popen(self, args: Sequence[str | Path], **kwargs: Any) -> subprocess.Popen[bytes]:
        return self.namespace.popen(args, **kwargs)

    start_program = popen  # whatever is started in a lab ends with it

    def socket(self, family: socket.AddressFamily, kind: socket.SocketKind) -> Socket:
        return self.namespace.socket(family, kind)

    def link_down(self) -> None:
        """Switch its interface off: what it sends fails at once."""
        take_down(self.link)

    def link_up(self) -> None:
        """Switch its interface on, with the addresses that it had."""
        bring_up(self.link)


@dataclass(frozen=True)
class _Place:
    """Where a device is connected."""

    link: Link
    profile: Profile
    """Of everything up to the internet."""
    routers: tuple[Router, ...]


class Lab(Closing):
    """The internet, and who is in it. Closing it ends every program that was started in it."""

    def __init__(self, way_out: WayOut | None = None) -> None:
        """`way_out`: to a server that is not in the lab. Raises `MissingCapability`; see `require_lab`."""
        require_lab()
        self.way_out = way_out
        self._ranges = BENCHMARKING if way_out else ORDINARY
        self.name_servers = (self._ranges.name_server, NAME_SERVERS[1])
        self._numbers = itertools.count(1)
        self._cuts: dict[frozenset[str], tuple[Sequence[str], Sequence[str]]] = {}
        self.server_addresses: set[str] = set()
        """Those of all machines that are servers."""
        self._routers: list[Router] = []
        """Kept with the programs in them, also when nobody else knows them any more."""
        self.names = Names()
        """The names that programs in the lab find. Whatever else they ask for is recorded, and does not exist; with a
        way out, it is looked up there."""
        self._open = ExitStack()
        try:
            self.internet = self._namespace("internet", forwards=True)
            outside = way_out.uplink.host if way_out else None
            name_server = NameServer(self.server("names"), self.name_servers, self.names, outside)
            self._open.enter_context(name_server)
            if way_out:
                edge = self._namespace("edge", forwards=True)
                self._open.enter_context(way_out.open(edge, self.internet, next(self._numbers)))
        except BaseException:
            self.close()
            raise

    def server(self, name: str, *, addresses: int = 1) -> LabHost:
        """A machine with public IPv4 addresses, and as many of IPv6."""
        numbers = [next(self._numbers) for _ in range(addresses)]
        namespace = self._namespace(name, forwards=False)
        namespace.sysctl({"net/ipv4/ip_unprivileged_port_start": 0})  # for servers that are not root
        public = [self._ranges.host(number) for number in numbers] + [_public6(number) for number in numbers]
        self.server_addresses |= set(public)
        link = connect(self.internet, namespace, numbers[0], public)
        self._tell_name_server(namespace, link)
        return LabHost(name, public[0], namespace, link, tuple(public))

    def device(self, name: str, profile: Profile | None = None, *, behind: Router | None = None) -> LabHost:
        """A person's machine, behind routers of its own as the profile says, and these behind `behind`.

        Without a profile it is a guest of `behind`, or has a public address. It has one address of each family.
        Raises `MissingCapability` for a profile that this machine cannot make; see `possible`.
        """
        preflight().require(*(profile or PUBLIC).needs)
        namespace = self._namespace(name, forwards=False)
        place = self._connect(name, namespace, profile, behind)
        addresses = place.link.addresses
        return LabHost(name, addresses[0], namespace, place.link, addresses, place.profile, place.routers)

    def move(self, device: LabHost, profile: Profile | None = None, *, behind: Router | None = None) -> None:
        """Take a device to another network, with another address: from wifi to mobile, for example.

        Its old routers stay. What was bound to the old address has lost its way out.
        """
        preflight().require(*(profile or PUBLIC).needs)
        disconnect(device.link)
        place = self._connect(device.name, device.namespace, profile, behind)
        device.link, device.profile, device.routers = place.link, place.profile, place.routers
        device.addresses = place.link.addresses
        device.address = device.addresses[0]

    def cut(self, one: LabHost, other: LabHost) -> None:
        """From now on nothing passes between these two on the internet; everybody else reaches both.

        By the addresses that they and their routers have now. Two behind one router still meet there.
        """
        preflight().require("nft")
        self._cuts[frozenset({one.name, other.name})] = (_all_addresses(one), _all_addresses(other))
        self._apply_cuts()

    def mend(self, one: LabHost, other: LabHost) -> None:
        """The end of a `cut`. Raises `KeyError` where there is none."""
        del self._cuts[frozenset({one.name, other.name})]
        self._apply_cuts()

    def public_address(self) -> str:
        """An IPv4 address that nobody has, for a router to be renumbered to."""
        return self._ranges.host(next(self._numbers))

    def close(self) -> None:
        """A second call does nothing."""
        self._open.close()

    def _connect(
        self, name: str, namespace: Namespace, profile: Profile | None, behind: Router | None
    ) -> _Place:
        whole = _whole(profile, behind)
        routers = (behind, *_outward(behind)) if behind else ()
        own = list(enumerate(profile.routers if profile else (), start=1))
        for number, gateway in reversed(own):
            router = self._router(f"{name}.router{number}", gateway, whole, routers[0] if routers else None)
            routers = (router, *routers)
        families = {"ipv4": whole.ipv4 is not None, "ipv6": whole.ipv6 is not None}
        link = self._link(namespace, routers[0] if routers else None, **families)
        self._tell_name_server(namespace, link)
        return _Place(link, whole, routers)

    def _router(self, name: str, gateway: Gateway, profile: Profile, upstream: Router | None) -> Router:
        namespace = self._namespace(name, forwards=True)
        ipv4 = gateway.nat is not None or gateway.routed
        link = self._link(namespace, upstream, ipv4=ipv4, ipv6=profile.ipv6 is not None)
        router = Router(name, gateway, namespace, link, upstream=upstream, ranges=self._ranges)
        self._routers.append(router)
        return router

    def _link(self, namespace: Namespace, upstream: Router | None, *, ipv4: bool, ipv6: bool) -> Link:
        """Numbers of links are unique in the lab, so that no router owns an address that it must look up."""
        number = next(self._numbers)
        if upstream is None:
            addresses = [self._ranges.host(number)] * ipv4 + [_public6(number)] * ipv6
            return connect(self.internet, namespace, number, addresses)
        return connect(upstream.namespace, namespace, number, upstream.next_addresses(ipv4=ipv4, ipv6=ipv6))

    def _tell_name_server(self, namespace: Namespace, link: Link) -> None:
        """The lab's, over the first family that the machine has an address of."""
        first = ":" in link.addresses[0]
        resolver.give_name_servers(namespace, [each for each in self.name_servers if (":" in each) == first])

    def _apply_cuts(self) -> None:
        self.internet.nft(firewall.render_cuts(self._cuts.values()))

    def _namespace(self, name: str, *, forwards: bool) -> Namespace:
        namespace = self._open.enter_context(Namespace(name))
        prepare(namespace, forwards=forwards)
        resolver.give_hosts(namespace, {})
        return namespace


def require_lab() -> None:
    """Raises `MissingCapability` where this user may not make networks, or not look on at what passes in them."""
    preflight().require("netns", "capture")


def possible(wanted: Sequence[Profile]) -> Profile:
    """The first of these that this machine can make.

    Raises `MissingCapability` with what the first one needs where it can make none.
    """
    for profile in wanted:
        if preflight().has(*profile.needs):
            return profile
    preflight().require("netns", *wanted[0].needs)
    raise ValueError("no profile was given")


def _public6(number: int) -> str:
    return f"{PREFIX6.format(number)}1"


def _all_addresses(host: LabHost) -> list[str]:
    return [*host.addresses, *(address for router in host.routers for address in router.link.addresses)]


def _outward(router: Router) -> tuple[Router, ...]:
    return (router.upstream, *_outward(router.upstream)) if router.upstream else ()


def _whole(profile: Profile | None, behind: Router | None) -> Profile:
    """What a device with routers as in `profile`, behind `behind`, lives in."""
    if behind is None:
        return profile or PUBLIC
    around = behind.as_profile()
    return profile.behind(around) if profile else around
