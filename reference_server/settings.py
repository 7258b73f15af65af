"""What one server is told: by its command line, and by maddy.conf and iroh-relay.toml.

The files come first; the command line and its defaults fill what the files leave open. A file's address that means
every address (0.0.0.0, [::]) is the server's own: listening on all of them takes `--host 0.0.0.0 --public`.
"""

from __future__ import annotations

import argparse
import logging
import socket
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from .addresses import (
    DEFAULT_PORTS,
    STANDARD_PORTS,
    STUN_PORT,
    TURNS_PORT,
    Ports,
    claim_address,
    claim_any_address,
    free_ports,
    is_unspecified,
)
from .service import ConfigurationError, check_bind_address

if TYPE_CHECKING:
    from .config.maddy import MaddyConfig
    from .config.relay import RelayFile

__all__ = ["ServerSettings", "TurnOffer", "TurnServer", "choose"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TurnServer:
    """The TURN service of a server."""

    listeners: tuple[str, ...]
    """As `udp://127.0.0.1:3478`."""
    realm: str
    relay_ip: str | None = None
    """Where clients are told that relays are; None: at the listener's address."""
    certificate: tuple[Path, Path] | None = None
    """As that of the server; None: that of mail."""
    options: tuple[str, ...] = ()
    """Further words of the service's command line."""

    def answers_stun_on(self, host: str) -> bool:
        """Whether it takes UDP 3478, where iroh asks the relay for STUN."""
        return f"udp://{_bracketed(host)}:{STUN_PORT}" in self.listeners


@dataclass(frozen=True)
class TurnOffer:
    """What METADATA says about TURN: `HOST:PORT` of a server over UDP, and over TLS where there is one."""

    turn: str
    turns: str | None
    ttl: int
    """Seconds that the credentials are valid."""


@dataclass(frozen=True)
class ServerSettings:
    """One server: where it lives and what it says."""

    state: Path
    host: str
    ports: Ports
    iroh_relay_url: str | None
    """What METADATA says; None when there is no relay."""
    relay_config: str
    """The text of the relay's own configuration file: the same one that a stand-alone relay reads."""
    certificate: tuple[Path, Path] | None = None
    """PEM files of the chain and the key; None: the server makes them."""
    domain: str = "chatmail.test"
    dialect: str = "chatmail"
    ledger: bool = False
    public: bool = False
    hash_cost: str = "low"
    turn: TurnServer | None = None
    turn_offer: TurnOffer | None = None
    """There may be one without the other: a TURN server that nobody is told of, or one of somebody else."""
    turn_secret: str | None = field(default=None, repr=False)
    """None: a new one for each run."""
    compress: bool = False
    messages_per_minute: int | None = None
    """Per sender; None: as the mail service has it."""


def choose(arguments: argparse.Namespace, state: Path) -> tuple[ServerSettings, socket.socket | None]:
    """Read the files, choose address and ports, and claim UDP 3478 if TURN or the relay is to answer there.

    Otherwise there is no claim: the port is left to a TURN service of somebody else, which may be there before us or
    come later, and nothing else of the server needs an address of its own.
    """
    claim = None
    host: str | None = arguments.host
    if host is None and arguments.ephemeral_ports:
        host, claim = claim_any_address()
    maddy, relay = _read(arguments.config, host) if arguments.config else (None, None)
    host = host or (maddy.public_ip if maddy else "127.0.0.1")
    check_bind_address(host, public=arguments.public)
    turn, turn_offer = _turn(arguments, host, maddy)
    turn_has_stun = turn is not None and turn.answers_stun_on(host)
    if turn_has_stun or relay is None or relay.answers_stun_on(host):
        claim = claim or claim_address(host)
    elif claim is not None:
        claim.close()
        claim = None
    ports = _ports(arguments, host, maddy)
    if relay is not None and arguments.relay_ping_interval is not None:
        raise ConfigurationError(f"--relay-ping-interval: set ping_interval in {relay.file} instead")
    certificates = maddy.mail_certificates if maddy else ()
    settings = ServerSettings(
        state=state,
        host=host,
        ports=ports,
        iroh_relay_url=arguments.advertise_relay or _relay_url(host, ports, maddy, relay),
        relay_config=relay.text_for(host)
        if relay
        else _relay_config(host, ports, arguments.relay_ping_interval, stun=not turn_has_stun),
        certificate=(certificates[0].certificate, certificates[0].key) if certificates else None,
        domain=arguments.domain or (maddy and maddy.domain) or ServerSettings.domain,
        dialect=arguments.dialect or ("madmail" if maddy else ServerSettings.dialect),
        ledger=arguments.ledger,
        public=arguments.public,
        turn=turn,
        turn_offer=_readdressed(turn_offer, arguments),
        turn_secret=_turn_secret(maddy),
        compress=arguments.compress,
        messages_per_minute=arguments.messages_per_minute,
    )
    return settings, claim


def _read(paths: list[Path], host: str | None) -> tuple[MaddyConfig | None, RelayFile | None]:
    """Errors end the start; warnings go to the log."""
    from .config import files, findings  # noqa: PLC0415 - lark is slow to load, and most servers have no files

    read = files.load(paths, public_ip=host)
    found = read.findings()
    findings.raise_errors(found)
    for finding in found:
        log.warning("%s", finding)
    return read.maddy, read.relay


def _turn(
    arguments: argparse.Namespace, host: str, maddy: MaddyConfig | None
) -> tuple[TurnServer | None, TurnOffer | None]:
    """With files TURN is what maddy.conf says, and nothing without one."""
    if not arguments.turn:
        return None, None
    options = _turn_options(arguments)
    if arguments.config:
        return _turn_endpoint(host, maddy, options), _turn_offer(arguments, maddy)
    if ":" in host or is_unspecified(host):
        log.warning("no TURN: METADATA cannot name a TURN server at the address %s", host)
        return None, None
    listeners = (f"udp://{host}:{STUN_PORT}", f"tcp://{host}:{STUN_PORT}", f"tls://{host}:{TURNS_PORT}")
    realm = arguments.domain or ServerSettings.domain
    offer = TurnOffer(f"{host}:{STUN_PORT}", f"{host}:{TURNS_PORT}", arguments.turn_ttl)
    return TurnServer(listeners, realm, options=options), offer


def _turn_options(arguments: argparse.Namespace) -> tuple[str, ...]:
    """What the command line says about the service and no file can."""
    lifetimes = {
        name: getattr(arguments, f"turn_{name}_lifetime")
        for name in ("default", "max", "permission", "channel")
    }
    options = [f"--{name}-lifetime={value}" for name, value in lifetimes.items() if value is not None]
    return (*options, *(["--strict-permissions"] if arguments.turn_strict_permissions else []))


def _turn_endpoint(host: str, maddy: MaddyConfig | None, options: tuple[str, ...]) -> TurnServer | None:
    if maddy is None or maddy.turn is None:
        return None
    turn = maddy.turn
    return TurnServer(
        tuple(
            str(replace(each, host=host if is_unspecified(each.host) else each.host))
            for each in turn.listeners
        ),
        turn.realm or "",
        relay_ip=turn.relay_ip,
        certificate=(turn.tls.certificate, turn.tls.key) if turn.tls else None,
        options=options,
    )


def _turn_offer(arguments: argparse.Namespace, maddy: MaddyConfig | None) -> TurnOffer | None:
    if maddy is None or maddy.imap is None or not maddy.imap.turn.enabled:
        return None
    offer = maddy.imap.turn
    port, tls_port = offer.ports(maddy.turn)
    turns = f"{offer.server}:{tls_port}" if tls_port else None
    return TurnOffer(f"{offer.server}:{port}", turns, offer.ttl or arguments.turn_ttl)


def _readdressed(offer: TurnOffer | None, arguments: argparse.Namespace) -> TurnOffer | None:
    """As the command line says that clients reach it: through a NAT, say, or by a name."""
    if offer is None:
        return None
    turn, turns = arguments.advertise_turn or offer.turn, arguments.advertise_turns or offer.turns
    return replace(offer, turn=turn, turns=turns)


def _turn_secret(maddy: MaddyConfig | None) -> str | None:
    """The same in both places: `config.check` sees to it."""
    places = (maddy.turn, maddy.imap and maddy.imap.turn) if maddy else ()
    return next((place.secret for place in places if place and place.secret), None)


def _ports(arguments: argparse.Namespace, host: str, maddy: MaddyConfig | None) -> Ports:
    if arguments.ephemeral_ports:
        ports = free_ports(host)
    else:
        ports = STANDARD_PORTS if arguments.standard_ports else DEFAULT_PORTS
    if maddy is None:
        return ports
    imap, submission, web = maddy.imap, maddy.submission, maddy.web
    url = urlsplit(imap.iroh_relay_url or "") if imap else None
    stated = {
        "imaps": imap and imap.port("tls"),
        "imap": imap and imap.port("tcp"),
        "submissions": submission and submission.port("tls"),
        "submission": submission and submission.port("tcp"),
        "https": web and web.port("tls"),
        "iroh_relay": url and url.hostname == host and (url.port or 80),
    }
    return replace(ports, **{name: port for name, port in stated.items() if port})


def _relay_url(host: str, ports: Ports, maddy: MaddyConfig | None, relay: RelayFile | None) -> str | None:
    if maddy and maddy.imap and maddy.imap.iroh_relay_url:
        return maddy.imap.iroh_relay_url
    if relay is None:
        return f"http://{_bracketed(host)}:{ports.iroh_relay}"
    url = relay.url(host)
    if url is not None and urlsplit(url).port == 0:
        raise ConfigurationError(f"{relay.file}: a relay on port 0 cannot be advertised: name a port")
    return url


def _relay_config(host: str, ports: Ports, ping_interval: float | None, *, stun: bool) -> str:
    return (
        "enable_relay = true\n"
        f'http_bind_addr = "{_bracketed(host)}:{ports.iroh_relay}"\n'
        f"enable_stun = {'true' if stun else 'false'}\n"
        f'stun_bind_addr = "{_bracketed(host)}:{STUN_PORT}"\n'
        "enable_metrics = false\n"
        'access = "everyone"\n'
    ) + _ping_interval(ping_interval)


def _ping_interval(seconds: float | None) -> str:
    """The relay's table of our own, if there is something to set; the jitter stays a third of the interval."""
    if seconds is None:
        return ""
    return f"[reference_server]\nping_interval = {seconds!r}\nping_jitter = {seconds / 3!r}\n"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
