"""From what a whole server is told to the settings of each of its services.

The files come first; the command line and its defaults fill what the files leave open. A file's address that means
every address (0.0.0.0, [::]) is the server's own: listening on all of them takes `--host 0.0.0.0 --public`.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from .addresses import (
    DEFAULT_PORTS,
    STANDARD_PORTS,
    STUN_PORT,
    TURNS_PORT,
    Claim,
    Ports,
    bracketed,
    check_bind_address,
    claim_address,
    claim_any_address,
    free_ports,
    is_unspecified,
)
from .certificates import DevelopmentCertificate
from .errors import ConfigurationError
from .iroh_relay.settings import RelaySettings
from .mail.settings import Dialect, MailSettings, PasswordHashCost
from .service_settings import ServiceSettings
from .settings import ServerSettings
from .turn.settings import Listen, PortRange, Transport, TurnSettings
from .turn.stun import Address, AddressFamily
from .turn_secret import read_secret

if TYPE_CHECKING:
    from .config.maddy import MaddyConfig
    from .config.relay import RelayFile

__all__ = ["Plan", "plan"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """One server: its services with their settings, and what they need before they start."""

    services: Mapping[str, ServiceSettings]
    """By name, in the order in which one end point of several is the one that counts: the first."""
    claim: Claim | None
    """The server's address; UDP 3478 of it is open where a service has its number."""
    certificate: DevelopmentCertificate | None
    """To be issued for `names`; None: there is one of the operator, or no service needs one."""
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Sources:
    """Everything that is said about one server."""

    settings: ServerSettings
    of_mail: Mapping[str, Any]
    """Options of mail that the command line has, by field of its settings."""
    of_turn: Mapping[str, Any]
    state: Path
    runtime: Path
    """Directory of what the services of one run are given: sockets, the relay's file, the secret of TURN."""
    host: str
    ports: Ports
    maddy: MaddyConfig | None
    relay: RelayFile | None

    @property
    def domain(self) -> str:
        stated = self.maddy.domain if self.maddy else None
        return self.of_mail.get("domain") or stated or MailSettings.domain

    @property
    def own_certificate(self) -> DevelopmentCertificate:
        return DevelopmentCertificate.of(self.state / "tls")

    @property
    def certificate(self) -> tuple[Path, Path]:
        """Chain and key for mail and TURN, one for both: so one CA is enough for clients."""
        if self.has_certificate:
            assert self.maddy is not None
            stated = self.maddy.mail_certificates[0]
            return stated.certificate, stated.key
        return self.own_certificate.certificate_file, self.own_certificate.key_file

    @property
    def has_certificate(self) -> bool:
        """The operator's own is named in maddy.conf."""
        return self.maddy is not None and bool(self.maddy.mail_certificates)

    def of_service(self, name: str) -> dict[str, Any]:
        """The options that all services have."""
        settings = self.settings
        control = self.runtime / f"{name}.sock"
        return {"control": control, "ledger": settings.ledger, "public": settings.public}


@dataclass(frozen=True)
class _TurnOffer:
    """A TURN server in METADATA: `HOST:PORT` over UDP, and over TLS where there is one."""

    turn: str | None
    turns: str | None
    secret_file: Path = field(repr=False)
    ttl: int | None = None
    """Seconds that the credentials are valid; None: as the command line says."""


def plan(
    settings: ServerSettings,
    of_mail: Mapping[str, Any],
    of_turn: Mapping[str, Any],
    *,
    state: Path,
    runtime: Path,
) -> Plan:
    """Read the files, choose address and ports, and claim what nobody else may have meanwhile.

    UDP 3478 is claimed where TURN or the relay answers there. Otherwise it is left to a TURN server of somebody else,
    which may be there before us or come later. Raises `ConfigurationError`.
    """
    host, claim = settings.host, None
    if host is None and settings.ephemeral_ports:
        host, claim = claim_any_address()
    maddy, relay_file = _read(settings.config, host) if settings.config else (None, None)
    host = host or (maddy.public_ip if maddy else "127.0.0.1")
    check_bind_address(host, public=settings.public)
    ports = _ports(settings, host, maddy)
    sources = _Sources(settings, of_mail, of_turn, state, runtime, host, ports, maddy, relay_file)
    _refuse_contradictions(sources)

    turn = _turn_service(sources)
    offer = _turn_offer(sources, turn)
    turn_has_stun = turn is not None and Listen(Transport.UDP, Address(host, STUN_PORT)) in turn.listeners
    relay_has_stun = _relay_has_stun(sources) and not turn_has_stun
    stun: int | None = None
    if turn_has_stun or relay_has_stun:
        claim = claim or claim_address(host)
        stun = claim.stun.fileno()
    elif claim is not None:
        claim.leave_stun()

    services: dict[str, ServiceSettings] = {}
    if settings.starts("iroh_relay"):
        services["iroh_relay"] = _relay_service(sources, stun if relay_has_stun else None)
    if settings.starts("mail"):
        services["mail"] = _mail_service(sources, offer)
    if turn is not None:
        services["turn"] = replace(turn, udp_fd=stun if turn_has_stun else None)
    if not services:
        raise ConfigurationError("there is no service to start")
    issue = not sources.has_certificate and bool({"mail", "turn"} & services.keys())
    return Plan(
        services,
        claim,
        sources.own_certificate if issue else None,
        _certificate_names(sources, offer if turn is not None else None),
    )


def _read(paths: tuple[Path, ...], host: str | None) -> tuple[MaddyConfig | None, RelayFile | None]:
    """Errors end the start; warnings go to the log."""
    from .config import files, findings  # noqa: PLC0415 - lark is slow to load, and most servers have no files

    read = files.load(paths, public_ip=host)
    found = read.findings()
    findings.raise_errors(found)
    for finding in found:
        log.warning("%s", finding)
    return read.maddy, read.relay


def _refuse_contradictions(sources: _Sources) -> None:
    settings, relay = sources.settings, sources.relay
    if relay is not None:
        if not settings.starts("iroh_relay"):
            raise ConfigurationError(f"{relay.file} is for an iroh relay, and none is to be started")
        for option, key, value in _relay_limits(settings):
            if value is not None:
                raise ConfigurationError(f"{option}: set {key} in {relay.file} instead")
        if not settings.stun:
            raise ConfigurationError(f"--no-stun: set enable_stun = false in {relay.file} instead")
    if settings.offers_turn_of_another and settings.turn_secret_file is None:
        raise ConfigurationError(
            "--advertise-turn names a TURN server of somebody else: name its secret, too, with --turn-secret-file"
        )
    if settings.turn_secret_file and not (settings.starts("turn") or settings.offers_turn_of_another):
        raise ConfigurationError("--turn-secret-file: there is no TURN server that it could be for")


def _ports(settings: ServerSettings, host: str, maddy: MaddyConfig | None) -> Ports:
    if settings.ephemeral_ports:
        ports = free_ports(host)
    else:
        ports = STANDARD_PORTS if settings.standard_ports else DEFAULT_PORTS
    if maddy is None:
        return ports
    imap, submission, smtp, web = maddy.imap, maddy.submission, maddy.smtp, maddy.web
    url = urlsplit(imap.iroh_relay_url or "") if imap else None
    stated = {
        "imaps": imap and imap.port("tls"),
        "imap": imap and imap.port("tcp"),
        "submissions": submission and submission.port("tls"),
        "submission": submission and submission.port("tcp"),
        "smtp": smtp and next((each.port for each in smtp.listeners), None),
        "https": web and web.port("tls"),
        "iroh_relay": url and url.hostname == host and (url.port or 80),
    }
    return replace(ports, **{name: port for name, port in stated.items() if port})


# TURN


def _turn_service(sources: _Sources) -> TurnSettings | None:
    """With files TURN is what maddy.conf says, and nothing without one."""
    settings, host = sources.settings, sources.host
    if not settings.starts("turn"):
        return None
    if settings.config:
        return _turn_of_maddy(sources)
    if ":" in host or is_unspecified(host):
        log.warning("no TURN: METADATA cannot name a TURN server at the address %s", host)
        return None
    if not settings.stun:
        raise ConfigurationError(
            f"--no-stun leaves UDP port {STUN_PORT} to another program, but our own TURN is there: add --no-turn"
        )
    certificate, key = sources.certificate
    return TurnSettings(
        **sources.of_service("turn"),
        **sources.of_turn,
        listeners=(
            Listen(Transport.UDP, Address(host, STUN_PORT)),
            Listen(Transport.TCP, Address(host, STUN_PORT)),
            Listen(Transport.TLS, Address(host, TURNS_PORT)),
        ),
        realm=sources.of_mail.get("domain") or MailSettings.domain,
        secret_files=(_turn_secret_file(sources),),
        cert=certificate,
        key=key,
    )


def _turn_of_maddy(sources: _Sources) -> TurnSettings | None:
    maddy = sources.maddy
    if maddy is None or maddy.turn is None or maddy.turn_secret is None:
        return None
    stated = maddy.turn
    hosts = [sources.host if is_unspecified(each.host) else each.host for each in stated.listeners]
    listeners = [replace(each, host=host) for each, host in zip(stated.listeners, hosts, strict=True)]
    certificate, key = (stated.tls.certificate, stated.tls.key) if stated.tls else sources.certificate
    told = stated.relay_ip
    return TurnSettings(
        **sources.of_service("turn"),
        **sources.of_turn,
        listeners=tuple(Listen.parse(str(each)) for each in listeners),
        realm=maddy.turn_realm,
        secret_files=(_turn_secret_file(sources),),
        relay_ips={} if told is None else {AddressFamily.of(told): told},
        relay_ports=PortRange(*stated.relay_ports or ()),
        cert=certificate,
        key=key,
    )


def _turn_offer(sources: _Sources, turn: TurnSettings | None) -> _TurnOffer | None:
    """The value of METADATA: our own server or that of maddy.conf, where the command line says that clients reach it;
    or one of somebody else, of which the command line says everything."""
    settings, maddy = sources.settings, sources.maddy
    if settings.offers_turn_of_another:
        return _TurnOffer(settings.advertise_turn, settings.advertise_turns, _turn_secret_file(sources))
    ttl = None
    if not settings.starts("turn"):
        return None
    if not settings.config:
        if turn is None:
            return None
        known: tuple[str, str | None] = (f"{sources.host}:{STUN_PORT}", f"{sources.host}:{TURNS_PORT}")
    else:
        if maddy is None or maddy.imap is None or not maddy.offers_turn:
            return None
        stated = maddy.imap.turn
        port, tls_port = stated.ports(maddy.turn)
        known = (f"{maddy.turn_server}:{port}", f"{maddy.turn_server}:{tls_port}" if tls_port else None)
        ttl = stated.ttl
    return _TurnOffer(
        settings.advertise_turn or known[0],
        settings.advertise_turns or known[1],
        _turn_secret_file(sources),
        ttl,
    )


def _turn_secret_file(sources: _Sources) -> Path:
    """The file of what mail and TURN share; one of ours can be read by nobody else."""
    given = sources.settings.turn_secret_file
    stated = sources.maddy.turn_secret if sources.maddy else None
    if given is not None:
        if stated is not None and sources.settings.starts("turn"):
            raise ConfigurationError(f"--turn-secret-file: {sources.settings.config[0]} has a secret already")
        read_secret(given)
        return given
    file = sources.runtime / "turn-secret"
    if not file.exists():
        file.touch(mode=0o600)
        file.write_bytes((stated or secrets.token_urlsafe(32)).encode() + b"\n")
    return file


# The iroh relay


def _relay_has_stun(sources: _Sources) -> bool:
    if not sources.settings.starts("iroh_relay"):
        return False
    return sources.relay.answers_stun_on(sources.host) if sources.relay else sources.settings.stun


def _relay_service(sources: _Sources, stun: int | None) -> RelaySettings:
    """The relay reads a file like any other that stands alone."""
    file = sources.runtime / "iroh-relay.toml"
    text = sources.relay.text_for(sources.host) if sources.relay else _relay_config(sources, stun is not None)
    file.write_text(f"# written at each start of the server\n{text}")
    return RelaySettings(**sources.of_service("iroh_relay"), config_path=file, stun_fd=stun)


def _relay_config(sources: _Sources, stun: bool) -> str:
    host = bracketed(sources.host)
    return (
        "enable_relay = true\n"
        f'http_bind_addr = "{host}:{sources.ports.iroh_relay}"\n'
        f"enable_stun = {'true' if stun else 'false'}\n"
        f'stun_bind_addr = "{host}:{STUN_PORT}"\n'
        "enable_metrics = false\n"
        'access = "everyone"\n'
    ) + _own_table(sources.settings)


def _relay_limits(settings: ServerSettings) -> list[tuple[str, str, float | None]]:
    """Option, key in the relay's table of our own, and value where there is one."""
    return [
        ("--relay-ping-interval", "ping_interval", settings.relay_ping_interval),
        ("--relay-connections", "max_connections", settings.relay_connections),
        (
            "--relay-connections-per-source",
            "max_connections_per_address",
            settings.relay_connections_per_source,
        ),
    ]


def _own_table(settings: ServerSettings) -> str:
    """The relay's table of our own, if there is something to set; the jitter stays a third of the interval."""
    values = {key: value for _, key, value in _relay_limits(settings) if value is not None}
    if not values:
        return ""
    if settings.relay_ping_interval is not None:
        values["ping_jitter"] = settings.relay_ping_interval / 3
    return "".join(["[reference_server]\n", *(f"{key} = {value!r}\n" for key, value in values.items())])


def _relay_url(sources: _Sources) -> str | None:
    """The value of METADATA: as the command line has it, or maddy.conf, or our own relay."""
    settings, maddy, relay = sources.settings, sources.maddy, sources.relay
    if settings.advertise_relay:
        return settings.advertise_relay
    if maddy and maddy.imap and maddy.imap.iroh_relay_url:
        return maddy.imap.iroh_relay_url
    if not settings.starts("iroh_relay"):
        return None
    if relay is None:
        return f"http://{bracketed(sources.host)}:{sources.ports.iroh_relay}"
    url = relay.url(sources.host)
    if url is not None and urlsplit(url).port == 0:
        raise ConfigurationError(f"{relay.file}: a relay on port 0 cannot be advertised: name a port")
    return url


def _relay_behind_https(sources: _Sources) -> tuple[str, int] | None:
    """Address of our own relay, where it speaks without TLS and its port is known."""
    if not sources.settings.starts("iroh_relay"):
        return None
    if sources.relay is None:
        return sources.host, sources.ports.iroh_relay
    url = urlsplit(sources.relay.url(sources.host) or "")
    return (url.hostname, url.port) if url.scheme == "http" and url.hostname and url.port else None


# Mail


def _mail_service(sources: _Sources, offer: _TurnOffer | None) -> MailSettings:
    certificate, key = sources.certificate
    stated = dict(sources.of_mail)
    stated.setdefault("dialect", Dialect.MADMAIL if sources.maddy else MailSettings.dialect)
    stated.setdefault(
        "password_hash_cost", PasswordHashCost.NORMAL if sources.settings.public else PasswordHashCost.LOW
    )
    stated["domain"] = sources.domain.lower()
    if sources.maddy is not None and sources.maddy.smtp is not None and "dovecot" not in stated:
        stated["federation"] = True
    if offer is not None:
        stated |= {
            "turn_address": offer.turn,
            "turns_address": offer.turns,
            "turn_secret_file": offer.secret_file,
        }
        if offer.ttl is not None:
            stated["turn_ttl"] = offer.ttl
    if stated["dialect"] is Dialect.CHATMAIL:
        stated["relay_address"] = _relay_behind_https(sources)
    ports = sources.ports
    return MailSettings(
        **sources.of_service("mail"),
        **stated,
        state=sources.state / "mail",
        host=sources.host,
        imaps_port=ports.imaps,
        imap_port=ports.imap,
        submissions_port=ports.submissions,
        submission_port=ports.submission,
        https_port=ports.https,
        smtp_port=ports.smtp,
        iroh_relay_url=_relay_url(sources),
        tls_cert=certificate,
        tls_key=key,
        tls_ca=None if sources.has_certificate else sources.own_certificate.ca_file,
    )


def _certificate_names(sources: _Sources, offer: _TurnOffer | None) -> tuple[str, ...]:
    """Every host that clients are sent to with TLS; the one of our own `turns` can have another name."""
    names = [sources.host, sources.domain]
    if offer is not None and offer.turns is not None:
        names.append(offer.turns.rpartition(":")[0].strip("[]"))
    return tuple(dict.fromkeys(names))
