"""The host that METADATA names as the TURN server, looked up as a device does."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Self

from ..calls.servers import TurnOffer
from ..hosts import Host
from ..report.observations import NameLookup
from ..stage import offers
from ..target import Target

__all__ = ["CORE_WAITS", "TurnHostLookup"]

CORE_WAITS = 5.0
"""Seconds after which core gives up on a name (measured: docs/network-lab.md)."""


@dataclass(frozen=True)
class TurnHostLookup:
    """Result of a lookup from one host."""

    host: str
    """A name or an address, as METADATA has it."""
    addresses: tuple[str, ...]
    seconds: float
    cause: str
    """Reason, for its operator, that calls do not find the target's TURN server, or not it alone; empty if they do."""

    @classmethod
    def of(cls, target: Target, offer: TurnOffer, host: Host) -> Self:
        """Look the offered host up. It may take 10 s."""
        started = time.monotonic()
        try:
            addresses = host.resolve(offer.host)
        except socket.gaierror as error:
            return cls(offer.host, (), time.monotonic() - started, _not_found(offer.host, error))
        addresses = tuple(dict.fromkeys(addresses))
        seconds = time.monotonic() - started
        cause = _foreign(target, offer.host, host, addresses) or _too_slow(offer.host, seconds)
        return cls(offer.host, addresses, seconds, cause)

    @property
    def is_needed(self) -> bool:
        """METADATA has a name, not an address."""
        try:
            ip_address(self.host)
        except ValueError:
            return True
        return False

    def observation(self, case: str = "") -> NameLookup:
        """For the record. `case`: the state of the name server, where that is a fault on purpose."""
        return NameLookup(self.host, case, self.addresses, round(self.seconds, 2), self.cause)


def _not_found(name: str, error: socket.gaierror) -> str:
    if error.errno == socket.EAI_AGAIN:
        return (
            f"METADATA names {name} as the TURN server, but no name server says where that is ({error.strerror}): "
            f"core waits for {CORE_WAITS:g} s at each call, and gets no TURN server"
        )
    return (
        f"METADATA names {name} as the TURN server, but that name leads nowhere ({error.strerror}): "
        "core gets no TURN server"
    )


def _foreign(target: Target, name: str, host: Host, addresses: tuple[str, ...]) -> str:
    """Core makes a server of each address of the name, and clients send their credentials to all of them."""
    own = offers.own_addresses(target, host)
    foreign = [each for each in addresses if each not in own]
    if not foreign:
        return ""
    found = ", ".join(addresses)
    where = f"METADATA names {name} as the TURN server, and that is at {found}, where {target.host} is not"
    if len(foreign) == len(addresses):
        return f"{where}: calls go to somebody else's server, or to none"
    return (
        f"{where} in each case: calls go to {', '.join(foreign)} as well, with their credentials, "
        "and that is somebody else's server, or none"
    )


def _too_slow(name: str, seconds: float) -> str:
    if seconds <= CORE_WAITS:
        return ""
    return (
        f"METADATA names {name} as the TURN server, but it takes {seconds:.1f} s to find it: "
        f"core gives up after {CORE_WAITS:g} s, and gets no TURN server"
    )
