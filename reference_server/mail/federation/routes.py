"""Hosts that take the mail of a domain: its MX, or its addresses, or the address that it is (RFC 5321 section 5)."""

from __future__ import annotations

import ipaddress
import random
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

__all__ = [
    "Lookup",
    "LookupFailed",
    "NameNotFound",
    "NoRoute",
    "OwnPlace",
    "Route",
    "address_in",
    "find_routes",
    "is_domain",
]

MOST_HOSTS = 10
"""Of a domain, the first by preference; each with as many addresses."""
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
IPV6_TAG = "ipv6:"


class NameNotFound(Exception):
    """There is no such name (NXDOMAIN)."""


class LookupFailed(Exception):
    """The name server gave no answer: it may later."""


class Lookup(Protocol):
    """Questions to a name server. Each raises `NameNotFound` or `LookupFailed`, and may have an empty answer."""

    async def mx(self, name: str) -> Sequence[tuple[int, str]]:
        """Preferences and hosts. A host `` (the root) says that no mail is taken (RFC 7505)."""

    async def addresses(self, name: str) -> Sequence[str]:
        """IPv4 and IPv6."""

    async def txt(self, name: str) -> Sequence[bytes]:
        """Each record in one piece."""


class NoRoute(Exception):
    """Nobody to hand the mail to. `is_final`: and that will not change."""

    def __init__(self, text: str, *, is_final: bool) -> None:
        super().__init__(text)
        self.is_final = is_final


@dataclass(frozen=True)
class OwnPlace:
    """Where this server is itself, so that mail for others does not come back to it."""

    names: frozenset[str]
    addresses: frozenset[str]

    @property
    def is_loopback(self) -> bool:
        """Only a server on the loopback has neighbours there."""
        return all(ipaddress.ip_address(each).is_loopback for each in self.addresses)

    def forbids(self, address: str) -> bool:
        parsed = ipaddress.ip_address(address)
        if address in self.addresses or parsed.is_unspecified or parsed.is_multicast:
            return True
        return parsed.is_loopback and not self.is_loopback


@dataclass(frozen=True)
class Route:
    """One host that may take the mail."""

    host: str
    """A name, or an address."""
    addresses: tuple[str, ...]


def address_in(domain: str) -> str | None:
    """The address of `[192.0.2.1]` or `[IPv6:2001:db8::1]` (RFC 5321 section 4.1.3), in its shortest form."""
    if not (domain.startswith("[") and domain.endswith("]")):
        return None
    inside = domain[1:-1].lower()
    try:
        return str(ipaddress.ip_address(inside.removeprefix(IPV6_TAG)))
    except ValueError:
        return None


def is_domain(domain: str) -> bool:
    """True for what can stand behind the @ of an address that mail is sent to."""
    if domain.startswith("["):
        return address_in(domain) is not None
    labels = domain.split(".")
    return len(domain) <= 253 and all(map(_LABEL.fullmatch, labels)) and not labels[-1].isdecimal()


async def find_routes(domain: str, lookup: Lookup, own: OwnPlace) -> list[Route]:
    """In the order in which they are to be tried; hosts of the same preference in any order. Raises `NoRoute`."""
    address = address_in(domain)
    if address is not None:
        hosts = [address]
    else:
        hosts = await _hosts(domain, lookup, own.names)
    routes, problem = [], ""
    for host in hosts[:MOST_HOSTS]:
        try:
            found = [address] if address else await lookup.addresses(host)
        except (NameNotFound, LookupFailed) as error:
            problem = str(error)
            continue
        allowed = [each for each in found if not own.forbids(each)]
        if len(allowed) < len(found):
            problem = f"{host} leads back to this server, or to the loopback"
            if any(each in own.addresses for each in found):
                break  # this server is one of the domain's, and those behind it would send the mail here (section 5.1)
        if allowed:
            routes.append(Route(host, tuple(allowed[:MOST_HOSTS])))
    if routes:
        return routes
    leads_back = "leads back" in problem
    raise NoRoute(problem or f"no host of {domain} has an address", is_final=leads_back)


async def _hosts(domain: str, lookup: Lookup, own_names: Collection[str]) -> list[str]:
    try:
        records = list(await lookup.mx(domain))
    except NameNotFound as error:
        raise NoRoute(str(error), is_final=True) from error
    except LookupFailed as error:
        raise NoRoute(str(error), is_final=False) from error
    if not records:
        return [domain]
    if any(host == "" for _preference, host in records):
        raise NoRoute(f"{domain} takes no mail", is_final=True)
    random.shuffle(records)
    hosts = []
    for _preference, host in sorted(records, key=lambda record: record[0]):
        if host in own_names:
            break
        hosts.append(host)
    if not hosts:
        raise NoRoute(f"the mail of {domain} leads back to this server", is_final=True)
    return hosts
