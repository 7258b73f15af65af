"""Layouts: which programs make up the server of a site, and how its clients are told of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.hosts import Host, MissingCapability
from harness.network.lab import Lab
from harness.network.namespace import program
from harness.servers.compose import compose
from harness.servers.coturn import Coturn
from harness.servers.iroh_relay import BINARY_VARIABLE as RELAY_VARIABLE
from harness.servers.iroh_relay import IrohRelay
from harness.servers.madmail import BINARY_VARIABLE as MADMAIL_VARIABLE
from harness.servers.madmail import Madmail
from harness.servers.reference import COMMAND, Reference
from harness.servers.server import Place, Ports, Running, RunningServer, Server, Wants
from harness.target import Service

from .certificates import Authority
from .declaration import CHATMAIL, COTURN, MADMAIL, REFERENCE
from .nginx import PROBES, RELAY, Front
from .programs import Changes
from .site import NAME, RELAY_PORT, TURN_NAME, Site

__all__ = ["running", "site_of"]

HTTPS = 443
ELSE_MAIL = "location / { proxy_pass https://MAIL; proxy_ssl_verify off; }\n"
WITHIN = 60.0
"""Seconds for a program to become ready; the clocks of some are off."""


@dataclass(frozen=True)
class ToldOtherwise:
    """A program that was told something else than the rest of its server."""

    server: Server
    otherwise: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.server.name

    @property
    def services(self) -> frozenset[Service]:
        return self.server.services

    @property
    def translates(self) -> frozenset[str]:
        return self.server.translates

    def start(self, host: Host, place: Place, wants: Wants) -> Running:
        return self.server.start(host, place, replace(wants, **self.otherwise))


@contextmanager
def site_of(layout: str, directory: Path) -> Iterator[Site]:
    """A site of that layout, with nothing wrong about it. Raises `MissingCapability` for what is not installed."""
    directory.mkdir(parents=True, exist_ok=True)
    with Lab() as lab, ExitStack() as stack:
        machine, stranger = lab.server("chatmail", addresses=2), lab.server("stranger")
        lab.names.set(NAME, machine.address)
        site = Site(
            lab,
            machine,
            stranger,
            layout,
            directory,
            logs=directory / "logs",
            authority=Authority("a CA that everybody knows", directory),
            private=Authority("a CA that nobody knows", directory),
            open=stack,
            command=(*COMMAND, "--domain", NAME),
        )
        if layout == CHATMAIL:
            site.relay_front = Front(RELAY + PROBES + ELSE_MAIL, site.authority.issue(NAME))
            site.offer_relay(f"https://{NAME}")
        yield site


@contextmanager
def running(site: Site) -> Iterator[RunningServer]:
    """The site's server, and what stands in front of it."""
    address = site.inner_address or site.own
    state = site.directory / "state"
    place = Place(address, state, site.logs, Ports(), name=NAME, certified=(TURN_NAME,), within=WITHIN)
    place.state.mkdir(mode=0o700)
    with _PROGRAMS[site.layout](site).start(site.machine, place, site.wants) as server:
        assert isinstance(server, RunningServer), "every layout begins with mail"
        if site.relay_front is not None:
            port = HTTPS if site.layout == CHATMAIL else RELAY_PORT
            front = replace(
                site.relay_front,
                locations=site.relay_front.locations.replace("MAIL", f"{address}:{HTTPS}"),
            )
            site.put_nginx(port, front, f"{address}:{RELAY_PORT}")
        for step in site.steps_afterwards:
            step(server)
        yield server


def _reference(site: Site) -> Server:
    return Reference((*site.changes.get("reference", Changes()).prefix, *site.command))


def _coturn(site: Site) -> Server:
    turn: Server = Coturn(_changed(site, "coturn", Path(program("turnserver"))))
    parts = [_reference(site), ToldOtherwise(turn, site.turn_wants) if site.turn_wants else turn]
    if (relay := site.relay_binary or _known(RELAY_VARIABLE)) is not None:
        parts.append(IrohRelay(_changed(site, "iroh-relay", relay)))
    return compose(parts)


def _madmail(site: Site) -> Server:
    for variable, name in ((MADMAIL_VARIABLE, "madmail"), (RELAY_VARIABLE, "iroh-relay")):
        if _known(variable) is None:
            raise MissingCapability(
                name,
                "no binary of it is known, and no package has it",
                heal=f"{variable}=PATH in the environment",
            )
    binary = _known(MADMAIL_VARIABLE)
    assert binary is not None
    return Madmail(_changed(site, "madmail", binary))


def _changed(site: Site, name: str, binary: Path) -> Path:
    return site.changes.get(name, Changes()).applied_to(binary, site.directory)


def _known(variable: str) -> Path | None:
    """The binary of a program of which no package exists, from the environment."""
    path = os.environ.get(variable)
    return Path(path).absolute() if path else None


_PROGRAMS: Mapping[str, Callable[[Site], Server]] = {
    REFERENCE: _reference,
    COTURN: _coturn,
    MADMAIL: _madmail,
    CHATMAIL: _coturn,
}
