"""Declaration of a fault of a deployment, directly above what it changes; it is found by its name.

    @fault(
        "a firewall in front of the server drops UDP to the ports of relayed addresses",
        cause="turn.relay_ports_closed",
        red={"turn_from_outside.relayed_address_answers_a_plain_peer": "open them"},
        on=(REFERENCE, COTURN, MADMAIL),
    )
    def relay_ports_closed(site: Site) -> None:
        site.drop("udp dport 49152-65535")

The function arranges the fault at a site whose server has not been started. The declaration comes before the run: the
doctor must name the cause and no other, and each check must fail with words that contain its phrase, and name the cause
as well.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .site import Site

__all__ = [
    "CHATMAIL",
    "COTURN",
    "EVERY_LAYOUT",
    "HEALTHY",
    "MADMAIL",
    "REFERENCE",
    "Fault",
    "all_faults",
    "fault",
    "green_on",
]

REFERENCE = "reference"
"""Our server, which is mail, TURN and the iroh relay."""
COTURN = "coturn"
"""Mail of ours, with Debian's coturn, and a real iroh-relay where a binary of it is known; else our relay."""
MADMAIL = "madmail"
"""A real madmail, which is mail and TURN, and starts a real iroh-relay."""
CHATMAIL = "chatmail"
"""As `COTURN`, with the relay behind Debian's nginx on port 443, as chatmail's relays have it."""
EVERY_LAYOUT = (REFERENCE, COTURN, MADMAIL, CHATMAIL)
ROOMS = ("firewalls", "turn", "iroh_relay", "proxies", "names", "mail")

Arrange = Callable[["Site"], None]


def _nothing(_site: Site) -> None:
    """Leave the site as it is."""


@dataclass(frozen=True)
class Fault:
    """One way in which a deployment is wrong."""

    name: str
    wrong: str
    """A sentence for people, without a capital and a full stop."""
    causes: tuple[str, ...]
    """By the names of `harness.causes`. More than one where nobody outside the server can tell them apart."""
    red: Mapping[str, str]
    """The checks that must fail, and words that the reason of each must contain."""
    on: tuple[str, ...]
    """Layouts that it can exist on."""
    must: frozenset[str] = frozenset({"turn", "iroh_relay"})
    """Capabilities that the server is meant to have."""
    swarm: bool = False
    """The doctor lets nodes talk through the iroh relay as well, as `--with-calls` does: without, nothing shows it."""
    arrange: Arrange = field(default=_nothing, repr=False)


RED_BY_ITSELF = {MADMAIL: frozenset({"turn.turn_refuses_wrong_credentials"})}
"""Checks that fail on a layout with nothing wrong about it: madmail answers 400 for 401, unsigned."""

HEALTHY = Fault("healthy", "nothing is wrong", (), {}, EVERY_LAYOUT)
"""The undisturbed deployments, at which no cause may be named."""

_declared: dict[str, Fault] = {}


def fault(
    wrong: str,
    *,
    cause: str | tuple[str, ...] = (),
    red: Mapping[str, str] | None = None,
    on: tuple[str, ...],
    swarm: bool = False,
) -> Callable[[Arrange], Arrange]:
    """Declare the function as a fault of its name. The parameters are the fields of `Fault`."""

    def declare(arrange: Arrange) -> Arrange:
        causes = (cause,) if isinstance(cause, str) else cause
        name = arrange.__name__
        _declared[name] = Fault(name, wrong, causes, red or {}, on, swarm=swarm, arrange=arrange)
        return arrange

    return declare


def all_faults() -> Mapping[str, Fault]:
    """`HEALTHY` and every fault, by name."""
    for room in ROOMS:
        importlib.import_module(f".{room}", __package__)
    return {HEALTHY.name: HEALTHY, **_declared}


def green_on(fault: Fault, layout: str) -> tuple[str, ...]:
    """Where nothing is wrong, none of the checks may fail that find a fault of this layout."""
    if fault.causes:
        return ()
    found = {check for each in all_faults().values() if layout in each.on for check in each.red}
    return tuple(sorted(found - RED_BY_ITSELF.get(layout, frozenset())))
