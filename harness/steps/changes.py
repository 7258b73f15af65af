"""Changes of the network under one device, while it talks: for calls and realtime data alike."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

from ..clients.device import Device
from ..network import profiles
from ..network.lab import LabHost
from ..network.profiles import Profile
from ..stage.lab import People
from ..target import Service

__all__ = [
    "CHANGES",
    "NEW_NAT_MAPPING",
    "RELAY_RESTART",
    "WIFI_TO_MOBILE",
    "Change",
    "blocked",
    "moves_to",
    "new_nat_mapping",
    "outage",
    "restarts",
]

ALL = ("udp", "tcp")

Change = Callable[[People, Device], None]
"""Happens to one device of those that are online; returns when it has happened, an outage when it is over."""


@contextmanager
def blocked(*hosts: LabHost, protocols: Sequence[str] = ALL) -> Iterator[None]:
    """The router in front of each host swallows these protocols; addresses and NAT mappings stay."""
    with ExitStack() as undo:
        for router in (host.routers[0] for host in hosts):
            for protocol in protocols:
                router.block(protocol)
                undo.callback(router.unblock, protocol)
        yield


def outage(seconds: float, protocols: Sequence[str] = ALL) -> Change:
    """The device keeps its addresses and its link; its router passes nothing for so long."""

    def happens(people: People, device: Device) -> None:
        with blocked(people.host(device), protocols=protocols):
            threading.Event().wait(seconds)

    return happens


def new_nat_mapping(people: People, device: Device) -> None:
    """The NAT forgets its mappings: the next packet leaves from another port."""
    people.host(device).routers[0].forget_mappings()


def moves_to(profile: Profile) -> Change:
    """The device leaves its network for another, with another address."""

    def happens(people: People, device: Device) -> None:
        people.move(device, profile)

    return happens


def restarts(service: Service) -> Change:
    """The program behind a service of the lab's server is killed and started again."""

    def happens(people: People, _device: Device) -> None:
        people.lab.server.program(service).restart(kill=True)

    return happens


NEW_NAT_MAPPING = "new NAT mapping"
WIFI_TO_MOBILE = "wifi to mobile"
RELAY_RESTART = "relay restart"
CHANGES: Mapping[str, Change] = {
    **{f"outage of {seconds} s": outage(seconds) for seconds in (3, 5, 20)},
    NEW_NAT_MAPPING: new_nat_mapping,
    WIFI_TO_MOBILE: moves_to(profiles.MOBILE),
    RELAY_RESTART: restarts(Service.IROH_RELAY),
}
