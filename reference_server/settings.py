"""Settings of a whole server, which are its command line. `plan` makes the settings of its services of them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from .errors import ConfigurationError
from .mail.settings import host_and_port
from .options import option, positive_number, positive_seconds

__all__ = ["SERVICES", "ServerSettings"]

SERVICES = ("iroh_relay", "mail", "turn")


def _services(text: str) -> tuple[str, ...]:
    names = tuple(text.split(","))
    if not set(names) <= set(SERVICES):
        raise ValueError(f"some of {', '.join(SERVICES)}, with commas between them")
    return names


@dataclass(frozen=True, kw_only=True)
class ServerSettings:
    """Options of `python -m reference_server`, beside those of services that it offers, too."""

    state: Path | None = option(
        "directory that keeps accounts and mail (default: forgotten)", default=None, metavar="DIR"
    )
    host: str | None = option(
        "address to listen on (default: 127.0.0.1, or a free 127.x.y.z)", default=None, metavar="ADDRESS"
    )
    ephemeral_ports: bool = option("free ports, on a free 127.x.y.z", default=False)
    standard_ports: bool = option("993, 143, 465, 587 and 443; needs root", default=False)
    config: tuple[Path, ...] = option(
        "maddy.conf or iroh-relay.toml (docs/configuration.md); may be given for each of them",
        default=(),
        metavar="FILE",
    )
    services: tuple[str, ...] = option(
        f"start these only (default: {','.join(SERVICES)})",
        default=SERVICES,
        metavar="LIST",
        read=_services,
        gather=lambda lists: tuple(chain(*lists)),
    )
    turn: bool = option(
        "a TURN server for calls (default: yes; with --config as maddy.conf says)", default=True
    )
    relay: bool = option("an iroh relay for realtime channels (default: yes)", default=True)
    stun: bool = option(
        "the relay answers STUN on UDP 3478 where TURN does not (default: yes); with --no-stun the port is left to "
        "a TURN server of somebody else",
        default=True,
    )
    turn_secret_file: Path | None = option(
        "one line: the secret of the TURN server that METADATA tells of (default: a new one for each run)",
        default=None,
        metavar="FILE",
    )
    advertise_relay: str | None = option(
        "the relay in METADATA, where clients reach it by another address, or where it is somebody else's",
        default=None,
        metavar="URL",
    )
    advertise_turn: str | None = option(
        "likewise the TURN server (UDP); the host may be a name",
        default=None,
        metavar="HOST:PORT",
        read=host_and_port,
    )
    advertise_turns: str | None = option(
        "likewise the TURN server over TLS", default=None, metavar="HOST:PORT", read=host_and_port
    )
    relay_ping_interval: float | None = option(
        "silence after which the relay pings a client (default: 15)",
        default=None,
        metavar="SECONDS",
        read=positive_seconds,
    )
    relay_connections: int | None = option(
        "connections of the relay at the same time (default: 4096)",
        default=None,
        metavar="NUMBER",
        read=positive_number,
    )
    relay_connections_per_source: int | None = option(
        "connections of the relay with one source (default: 1024)",
        default=None,
        metavar="NUMBER",
        read=positive_number,
    )
    ledger: bool = option("remember who connected and what was carried", default=False)
    public: bool = option("allow an address that others can reach", default=False)

    def __post_init__(self) -> None:
        if self.ephemeral_ports and self.standard_ports:
            raise ConfigurationError("--ephemeral-ports and --standard-ports exclude each other")
        if not any(self.starts(each) for each in SERVICES):
            raise ConfigurationError("there is no service to start")

    def starts(self, service: str) -> bool:
        """False for a service that the command line leaves out."""
        left_out = {"turn": not self.turn, "iroh_relay": not self.relay}
        return service in self.services and not left_out.get(service, False)

    @property
    def offers_turn_of_another(self) -> bool:
        """METADATA tells of a TURN server that is not started here."""
        return not self.starts("turn") and (self.advertise_turn or self.advertise_turns) is not None
