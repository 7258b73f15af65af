"""maddy.conf: what the directives of madmail mean to this server.

Served are discovery (`iroh_relay_url`), the addresses of IMAP, submission, SMTP and HTTPS, their certificate and the
mail domain, and TURN. All others are warnings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import ConfigurationError
from . import directives as read_as
from . import not_served
from .directives import Block, CertificateFiles, Listener, Scheme, certificate_files, listeners
from .findings import Finding, Place, error, warning
from .imports import with_imports
from .maddy_syntax import MAX_FILE, Directive, expand, parse

__all__ = [
    "DEFAULT_RELAY_PORTS",
    "TURN_PORT",
    "Endpoint",
    "Imap",
    "MaddyConfig",
    "Turn",
    "TurnOffer",
    "load",
    "read",
]

DEFAULT_PUBLIC_IP = "127.0.0.1"
DEFAULT_RELAY_PORTS = (49152, 65535)
TURN_PORT = 3478
"""Of the offer and of the endpoint, where they say no other (RFC 8656 section 3)."""
IMAP_PORTS: Mapping[Scheme, int | None] = {"tls": 993, "tcp": 143}
SUBMISSION_PORTS: Mapping[Scheme, int | None] = {"tls": 465, "tcp": 587}
SMTP_PORTS: Mapping[Scheme, int | None] = {"tls": 25, "tcp": 25}
"""Both begin without TLS, as in madmail: there is no port for SMTP in TLS (RFC 8314 section 3.3)."""
WEB_PORTS: Mapping[Scheme, int | None] = {"tls": 443, "tcp": 80}
METRICS_PORTS: Mapping[Scheme, int | None] = {"tcp": None}
TURN_PORTS: Mapping[Scheme, int | None] = {"udp": TURN_PORT, "tcp": None, "tls": 5349}


@dataclass(frozen=True)
class TurnOffer:
    """The TURN server that METADATA is to name. `ttl` is in seconds; None: as the command line says.

    `prefer_tls` is madmail's `turn_prefer_tls`; there its default is yes without effect, here it has to be said.
    """

    enabled: bool = False
    enabled_by_secret: bool = False
    """No `turn_enable` says so."""
    server: str | None = None
    port: int | None = None
    """None: that of the endpoint's first listener."""
    secret: str | None = field(default=None, repr=False)
    ttl: int | None = None
    prefer_tls: bool = False

    def ports(self, endpoint: Turn | None) -> tuple[int, int | None]:
        """Ports for the keys `turn` and `turns`. `turn` keeps a port that answers UDP: core reads nothing else.

        With `prefer_tls` the stated port is that of TLS, otherwise that of UDP; the other one is the listener's.
        """
        udp, tls = (endpoint.port("udp"), endpoint.port("tls")) if endpoint else (None, None)
        if self.prefer_tls:
            return udp or TURN_PORT, self.port or tls or TURN_PORT
        return self.port or udp or TURN_PORT, tls

    def stated_port(self, endpoint: Turn | None) -> int:
        """That of the two which `turn_port` says."""
        udp, tls = self.ports(endpoint)
        return (tls if self.prefer_tls else udp) or TURN_PORT


@dataclass(frozen=True)
class Endpoint:
    """Address at which one service listens. Mail without addresses listens where the command line says."""

    listeners: tuple[Listener, ...]
    tls: CertificateFiles | None
    place: Place
    places: Mapping[str, Place] = field(default_factory=dict, repr=False, compare=False)
    """Of the directives inside the block, by name."""

    def where(self, directive: str) -> Place:
        """The place of a directive, or of the block that lacks it."""
        return self.places.get(directive, self.place)

    def port(self, scheme: str) -> int | None:
        """That of the first listener with this scheme."""
        return next((each.port for each in self.listeners if each.scheme == scheme), None)


@dataclass(frozen=True)
class Imap(Endpoint):
    iroh_relay_url: str | None = None
    turn: TurnOffer = field(default_factory=TurnOffer)


@dataclass(frozen=True)
class Turn(Endpoint):
    """The TURN server itself. `relay_ip` is the address that clients are told; None: that of the listener."""

    realm: str | None = None
    secret: str | None = field(default=None, repr=False)
    relay_ip: str | None = None
    relay_ports: tuple[int, int] | None = None
    asks_for_tls: bool = False
    """There is a `tls` directive, whether usable or not."""


@dataclass(frozen=True)
class MaddyConfig:
    """One maddy.conf. `findings` are about single directives; `check.consistency` finds what does not fit together."""

    file: str
    public_ip: str
    domain: str | None = None
    """Of the mail addresses: `mail_domain` of the chatmail endpoint, or the macro `$(primary_domain)`."""
    hostname: str | None = None
    """The directive, or the macro `$(hostname)`."""
    tls: CertificateFiles | None = None
    imap: Imap | None = None
    submission: Endpoint | None = None
    smtp: Endpoint | None = None
    """Mail from and to other servers."""
    web: Endpoint | None = None
    """The endpoint `chatmail`: HTTPS."""
    turn: Turn | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def turn_server(self) -> str:
        """Host of the TURN server that METADATA names: where the file has none, its public address, as madmail does."""
        return (self.imap.turn.server if self.imap else None) or self.public_ip

    @property
    def turn_realm(self) -> str:
        """Realm of the TURN server: where the file has none, the server's name, as madmail does."""
        return (self.turn.realm if self.turn else None) or self.hostname or self.domain or self.public_ip

    @property
    def turn_secret(self) -> str | None:
        """That mail and TURN share; madmail has one for both, wherever it stands."""
        places = (self.turn, self.imap and self.imap.turn)
        return next((place.secret for place in places if place and place.secret), None)

    @property
    def offers_turn(self) -> bool:
        """METADATA names a TURN server: it is switched on, and there is a secret for its credentials."""
        return self.imap is not None and self.imap.turn.enabled and self.turn_secret is not None

    @property
    def mail_certificates(self) -> tuple[CertificateFiles, ...]:
        """The mail service has one certificate, the first of these."""
        endpoints = (self.imap, self.submission, self.smtp, self.web)
        stated = [endpoint.tls for endpoint in endpoints if endpoint is not None]
        return tuple(tls for tls in (*stated, self.tls) if tls is not None)


def load(path: Path, *, public_ip: str | None = None) -> MaddyConfig:
    """Read a file as UTF-8. Raises `ConfigurationError` as `read` does, and `OSError` when there is nothing to read."""
    with path.open("rb") as file:
        raw = file.read(4 * MAX_FILE + 1)
    try:
        return read(raw.decode(), str(path), public_ip=public_ip)
    except UnicodeDecodeError as wrong:
        place = Place(str(path), raw[: wrong.start].count(b"\n") + 1)
        raise ConfigurationError(str(error(place, "expected text in UTF-8"))) from None


def read(source: str, file: str, *, public_ip: str | None = None) -> MaddyConfig:
    """Read a text. Raises `ConfigurationError` with `file:line` where it is not in maddy's language.

    `public_ip` is `--host`: it is the macro `$(public_ip)`, whatever the file says. Without it the file's own
    definition stands, or 127.0.0.1.
    """
    findings: list[Finding] = []
    given = {} if public_ip is None else {"public_ip": public_ip}
    parsed = with_imports(parse(source, file, findings), findings)
    if public_ip is None and not any(directive.name == "$(public_ip)" for directive in parsed):
        given = {"public_ip": DEFAULT_PUBLIC_IP}
    expanded, macros = expand(parsed, given, findings)
    top = Block(expanded, findings, "maddy.conf")
    domain = macros.get("primary_domain", (None,))[0]
    web, mail_domain = _web(top.all("chatmail", "endpoint.chatmail", "http", "endpoint.http"), findings)
    turn = _turn(top.merged("turn", "endpoint.turn"), findings)
    imap = _imap(top.merged("imap", "endpoint.imap"), findings)
    for metrics in top.all("openmetrics", "endpoint.openmetrics"):
        listeners(metrics, METRICS_PORTS, findings)
        findings.append(warning(metrics.place, f"{metrics.name} is not served by this test server"))
    config = MaddyConfig(
        file,
        public_ip=macros["public_ip"][0],
        domain=mail_domain or domain,
        tls=certificate_files(top.one("tls"), findings),
        hostname=_first(top.value("hostname", read_as.text, None), macros.get("hostname")),
        imap=_offering(imap, turn),
        submission=_sending(top.merged("submission", "endpoint.submission"), SUBMISSION_PORTS, findings),
        smtp=_sending(top.merged("smtp", "endpoint.smtp"), SMTP_PORTS, findings),
        web=web,
        turn=turn,
    )
    top.finish(not_served.TOP, not_served.FAMILIES)
    ordered = sorted(dict.fromkeys(findings), key=lambda finding: finding.place)
    return replace(config, findings=tuple(ordered))


def _imap(directive: Directive | None, findings: list[Finding]) -> Imap | None:
    if directive is None:
        return None
    block = Block(directive.block or (), findings, directive.name)
    offer = TurnOffer(
        enabled=block.value("turn_enable", read_as.yes_or_no, False),
        server=block.value("turn_server", read_as.text, None),
        port=block.value("turn_port", read_as.number(1, 65535), None),
        secret=block.value("turn_secret", read_as.secret, None),
        ttl=block.value("turn_ttl", read_as.number(1, 2**31 - 1), None),
        prefer_tls=block.value("turn_prefer_tls", read_as.yes_or_no, False),
    )
    imap = Imap(
        listeners(directive, IMAP_PORTS, findings),
        certificate_files(block.one("tls"), findings),
        directive.place,
        _places(directive),
        iroh_relay_url=block.value("iroh_relay_url", read_as.url, None),
        turn=offer,
    )
    block.finish(not_served.IMAP)
    return imap


def _first(*values: object) -> str | None:
    """The first that there is, of a directive or a macro."""
    for value in values:
        words = value if isinstance(value, tuple) else (value,)
        if words and words[0]:
            return str(words[0])
    return None


def _offering(imap: Imap | None, turn: Turn | None) -> Imap | None:
    """TURN is offered where `turn_enable` says so. madmail offers it wherever `turn` has a secret, too; of the two the
    later line stands."""
    if imap is None or turn is None or turn.secret is None:
        return imap
    stated = imap.places.get("turn_enable")
    if stated is not None and (imap.turn.enabled or stated > turn.where("secret")):
        return imap
    return replace(imap, turn=replace(imap.turn, enabled=True, enabled_by_secret=True))


def _places(directive: Directive) -> Mapping[str, Place]:
    return {inner.name: inner.place for inner in directive.block or ()}


def _sending(
    directive: Directive | None, standard: Mapping[Scheme, int | None], findings: list[Finding]
) -> Endpoint | None:
    """The endpoint `submission` or `smtp`, which know the same words."""
    if directive is None:
        return None
    block = Block(directive.block or (), findings, directive.name)
    tls = certificate_files(block.one("tls"), findings)
    block.finish(not_served.SENDING)
    return Endpoint(listeners(directive, standard, findings), tls, directive.place)


def _web(directives: list[Directive], findings: list[Finding]) -> tuple[Endpoint | None, str | None]:
    """HTTPS and the mail domain. madmail has a second chatmail endpoint for plain HTTP, which is not served."""
    web, domain = None, None
    for directive in directives:
        block = Block(directive.block or (), findings, directive.name)
        tls = certificate_files(block.one("tls"), findings)
        domain = block.value("mail_domain", read_as.text, None) or domain
        block.finish(not_served.WEB)
        found = listeners(directive, WEB_PORTS, findings)
        secure = tuple(each for each in found if each.scheme == "tls")
        findings += [
            warning(each.place, f"{each}: plain HTTP is not served") for each in found if each not in secure
        ]
        if found and not secure:
            continue
        if web is not None:
            sentence = (
                f"a second {directive.name} with TLS is passed over; the first is in line {web.place.line}"
            )
            findings.append(warning(directive.place, sentence))
            continue
        web = Endpoint(secure, tls, directive.place)
    return web, domain


def _turn(directive: Directive | None, findings: list[Finding]) -> Turn | None:
    if directive is None:
        return None
    block = Block(directive.block or (), findings, directive.name)
    tls = block.one("tls")
    schemes: tuple[Scheme, Scheme] = ("udp", "tcp")
    standard = tuple(Listener(scheme, "", TURN_PORT, directive.place) for scheme in schemes)
    turn = Turn(
        listeners(directive, TURN_PORTS, findings) or standard,
        certificate_files(tls, findings),
        directive.place,
        _places(directive),
        realm=block.value("realm", read_as.text, None),
        secret=block.value("secret", read_as.secret, None),
        relay_ip=block.value("relay_ip", read_as.ip_address, None),
        relay_ports=_relay_ports(block),
        asks_for_tls=tls is not None,
    )
    block.finish(not_served.TURN)
    return turn


def _relay_ports(block: Block) -> tuple[int, int] | None:
    """`relay_port_min` and `relay_port_max`, of which one may be left out; None without both."""
    port = read_as.number(1, 65535)
    first, last = block.value("relay_port_min", port, None), block.value("relay_port_max", port, None)
    return (
        None
        if first is None and last is None
        else (first or DEFAULT_RELAY_PORTS[0], last or DEFAULT_RELAY_PORTS[1])
    )
