"""Values of the places in a user's templates, for one start of the server (`file_format`)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path

from ..hosts import Host
from .certificates import issue
from .file_format import STANDARD_PORTS, Description
from .process import free_port
from .server import Place, Ports, ServerError, Wants
from .templates import MissingValue, render

__all__ = ["Values"]

STANDARD = Ports()
LAST_PRIVILEGED = 1023


class Values:
    """Renders templates of a description. Every complaint is a `ServerError` that names file and key."""

    def __init__(self, said: Description, host: Host, place: Place, wants: Wants) -> None:
        """Takes free ports, and makes the state directory and the certificate."""
        self._said = said
        self.directory = place.directory(said.name)
        self.address = place.address
        self.found_at = place.name if wants.both_families and place.name else place.address
        self.ports = {name: _number(said, name, host, place) for name in said.ports}
        self._values = {
            "address": place.address,
            "host": self.found_at,
            "state": str(self.directory),
            "here": str(said.file.parent.absolute()),
            "turn_secret": wants.turn_secret or secrets.token_urlsafe(32),
            **({"address6": place.address6} if place.address6 else {}),
            **{f"ports.{name}": str(number) for name, number in self.ports.items()},
            **_wanted(said, wants),
            **self._advertised(wants),
            **self._certificate(place),
        }
        self.turn_secret = self._turn_secret()
        self.domain = self._domain(place, wants)
        self._values["domain"] = self.domain

    def text(self, key: str, template: str) -> str:
        """A template that stands at this key, rendered."""
        try:
            return render(template, self._values)
        except MissingValue as missing:
            raise ServerError(f"{self._said.file}: {key}: {missing}") from missing

    def texts(self, key: str, templates: Iterable[str]) -> list[str]:
        """A list of them."""
        return [self.text(key, each) for each in templates]

    def table(self, key: str, templates: Mapping[str, str]) -> dict[str, str]:
        """A table of them."""
        return {name: self.text(f"{key}.{name}", each) for name, each in templates.items()}

    def path(self, key: str, template: str) -> Path:
        """A file that must be there. One that is not absolute is below the state directory."""
        file = self.directory / self.text(key, template)
        if not file.is_file():
            raise ServerError(
                f"{self._said.file}: {key} names {file}, which {self._said.name} has not written"
            )
        return file

    def _advertised(self, wants: Wants) -> dict[str, str]:
        """Values for METADATA: services of others where they are wanted there, otherwise the server's own."""
        relay = self.ports.get("iroh_relay", STANDARD.iroh_relay)
        found = {"advertised_relay": wants.advertised_relay or f"http://{self.found_at}:{relay}"}
        for port, want in (("turn", wants.advertised_turn), ("turns", wants.advertised_turns)):
            text = want or f"{self.found_at}:{self.ports.get(port, getattr(STANDARD, port))}"
            host, _, number = text.rpartition(":")
            name = f"advertised_{port}"
            found |= {name: text, f"{name}.host": host.strip("[]"), f"{name}.port": number}
        return found

    def _certificate(self, place: Place) -> dict[str, str]:
        names = list(dict.fromkeys([place.address, *([place.name] if place.name else []), *place.certified]))
        found = {"names": " ".join(names)}
        if self._said.certified:
            made = issue(self.directory, names)
            found |= {"certificate": str(made.chain), "key": str(made.key), "ca": str(made.ca)}
        return found

    def _turn_secret(self) -> str | None:
        """Its own, or the one that it is told; None: neither is known."""
        if self._said.turn_secret is not None:
            self._values["turn_secret"] = self.text("turn_secret", self._said.turn_secret)
        elif "turn_secret" not in self._said.used:
            return None
        return self._values["turn_secret"]

    def _domain(self, place: Place, wants: Wants) -> str:
        """Of mail addresses; an address is in brackets there (RFC 5321, section 4.1.3)."""
        mail = self._said.mail
        if mail is not None and mail.domain is not None:
            return self.text("mail.domain", mail.domain)
        if place.name is not None and (self.found_at == place.name or wants.federation):
            return place.name
        return f"[{place.address}]"


def _number(said: Description, name: str, host: Host, place: Place) -> int:
    port = said.ports[name]
    if port.number is not None:
        return port.number
    if name not in STANDARD_PORTS:
        return free_port(host, place.address)
    if place.ports is not None:
        return int(getattr(place.ports, name))
    standard = int(getattr(STANDARD, name))
    return free_port(host, place.address, rather=standard if standard > LAST_PRIVILEGED else None)


def _wanted(said: Description, wants: Wants) -> dict[str, str]:
    """Values of `[wants]`: those that a check wants, or those that the file says."""
    numbers = {"turn_ttl": wants.turn_ttl, "relay_ping_interval": wants.relay_ping_interval}
    if wants.turn_lifetimes is not None:
        numbers |= {f"turn_lifetimes.{name}": value for name, value in vars(wants.turn_lifetimes).items()}
    asked = {name: f"{value:.10g}" for name, value in numbers.items() if value is not None}
    flags = {name: true if getattr(wants, name) else false for name, (false, true) in said.flags.items()}
    return {**said.defaults, **asked, **flags}
