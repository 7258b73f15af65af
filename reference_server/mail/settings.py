"""Settings of the mail service, which are its command line, and its numbers for "too much"."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from reference_server.addresses import check_bind_address
from reference_server.errors import ConfigurationError
from reference_server.options import flag, option, options_of, positive_number, positive_seconds
from reference_server.service_settings import ServiceSettings

__all__ = [
    "Dialect",
    "DkimRule",
    "Limits",
    "MailSettings",
    "OutgoingTls",
    "PasswordHashCost",
    "host_and_port",
]


class Dialect(StrEnum):
    """The server whose habits this one has where right servers differ."""

    CHATMAIL = "chatmail"
    MADMAIL = "madmail"


class PasswordHashCost(StrEnum):
    """The price of a guess. `LOW` is for tests: it protects nothing."""

    LOW = "low"
    NORMAL = "normal"


class OutgoingTls(StrEnum):
    """TLS with other servers."""

    NEVER = "never"
    MAY = "may"
    """Where the server has it, whoever it is."""
    ENCRYPT = "encrypt"
    """Nothing is sent without; whoever it is."""
    VERIFY = "verify"
    """Nothing is sent to a server whose certificate is not trusted for its name."""

    @property
    def is_required(self) -> bool:
        return self in (OutgoingTls.ENCRYPT, OutgoingTls.VERIFY)


class DkimRule(StrEnum):
    """Mail of others that has no right signature of the domain of its From (RFC 6376)."""

    REQUIRED = "required"
    """... is refused."""
    IGNORED = "ignored"
    """... is accepted."""


@dataclass(frozen=True)
class Limits:
    """Sizes are in bytes, times in seconds."""

    connections: int = option(
        "connections at the same time (default: 1000)",
        default=1000,
        metavar="NUMBER",
        read=positive_number,
        server="--mail-connections",
    )
    connections_per_source: int = option(
        "connections of one source (default: 500)",
        default=500,
        metavar="NUMBER",
        read=positive_number,
        server="--mail-connections-per-source",
    )
    tls_handshake: float = 30.0
    before_login: float = 60.0
    """From the start of a connection to a successful login."""
    idle: float = 30 * 60.0
    """Without a byte from the client (RFC 3501 section 5.4 asks for at least 30 minutes)."""
    smtp_idle: float = 300.0
    transfer: float = 1800.0
    """For one message to come in, over SMTP or IMAP."""
    stalled_write: float = 120.0
    """Seconds for which a client may leave what was sent to it unread."""
    idle_keepalive: float = 120.0
    """Between two `* OK Still here` inside IDLE; core leaves IDLE after five minutes of silence."""
    imap_line: int = 65536
    """Of a command without its literals; an ID of 30 values in quotes may come near (RFC 2971 section 3.3)."""
    imap_literal_before_login: int = 32768
    imap_literal: int = 65536
    """Of every command but APPEND, which may carry a whole message."""
    imap_bad_commands: int = 10
    login_failures: int = 3
    """Per connection: with the last of them IMAP ends it, while SMTP answers each further one later, ..."""
    login_failure_delay: float = 1.0
    """... by so many seconds more."""
    source_login_failures: int = 50
    """Per source address, over all its connections; after that it is not listened to for a while, ..."""
    source_login_failure_forgotten: float = 6.0
    """... and one of them is forgotten each time this has passed."""
    password: int = 1024
    message: int = 31457280
    messages_in_memory: int = 8 * 31457280
    """Of all connections together, for messages that are on their way in."""
    recipients: int = 1000
    quota: int = 500 * 1024 * 1024
    accounts: int = 100_000
    mailboxes: int = 100
    """Per account."""
    device_tokens: int = 10
    """Per account; the oldest gives way."""
    device_token: int = 1024
    device_token_lifetime: float = 90 * 86400.0
    queue: int = 100_000
    """Recipients at other servers who are still to get their mail."""
    connections_to_others: int = 20
    """At the same time, and to one domain ..."""
    connections_to_one: int = 4
    peer_connect: float = 30.0
    peer_reply: float = 300.0
    """For another server to answer a command, or to take the next piece of a mail (RFC 5321 section 4.5.3.2), ..."""
    peer_message_end: float = 600.0
    """... and to say that it has one."""
    longest_retry: float = 3600.0
    http_head: int = 16384
    http_body: int = 65536
    http_connection: float = 30.0


def _port(service: str, default: int) -> int:
    number: int = option(f"of {service} ({default}; 0 for any free one)", default=default, metavar="PORT")
    return number


def host_and_port(text: str) -> str:
    """`HOST:PORT`, as METADATA can carry it. Raises `ValueError` with what is expected."""
    if text.count(":") != 1 or not text.isprintable():
        raise ValueError("HOST:PORT; METADATA cannot carry an IPv6 address")
    return text


def _read_address(text: str) -> tuple[str, int]:
    """`ADDRESS:PORT`, one of IPv6 in brackets. Raises `ValueError` with what is expected."""
    host, _, port = text.rpartition(":")
    try:
        if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError
        return str(ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))), int(port)
    except ValueError:
        raise ValueError("an IP address and a port") from None


def read_name_server(text: str) -> tuple[str, int]:
    """An address and the port of DNS there. Raises `ValueError` with what is expected."""
    address, port = text, "53"
    if text.startswith("[") or text.count(":") == 1:
        address, _, port = text.rpartition(":") if not text.endswith("]") else (text, "", "53")
    try:
        number = int(port)
        if not 0 < number < 65536:
            raise ValueError
        return str(ipaddress.ip_address(address.strip("[]"))), number
    except ValueError:
        raise ValueError("the address of a name server, with :PORT if that is not 53") from None


def read_app_versions(file: str) -> str:
    """The JSON in a file, on one line. Raises `ValueError` with what is expected."""
    try:
        return json.dumps(json.loads(Path(file).read_bytes()), separators=(",", ":"))
    except (OSError, ValueError, RecursionError) as error:
        raise ValueError(f"a file with JSON ({error})") from None


@dataclass(frozen=True, kw_only=True)
class MailSettings(ServiceSettings):
    """One mail service. Port 0 lets the system choose; `MailService.start` tells which it was."""

    state: Path = option("where the mail is kept", metavar="DIR")
    host: str = option("IP address to listen on", default="127.0.0.1", metavar="ADDRESS")
    imaps_port: int = _port("IMAP with TLS", 2993)
    imap_port: int = _port("IMAP with STARTTLS", 2143)
    submissions_port: int = _port("submission with TLS", 2465)
    submission_port: int = _port("submission with STARTTLS", 2587)
    https_port: int = _port("HTTPS", 2443)
    domain: str = option(
        "mail domain (default: chatmail.test)", default="chatmail.test", read=str.lower, server="--domain"
    )
    dialect: Dialect = option(
        "whose habits (default: chatmail; with maddy.conf: madmail)",
        default=Dialect.CHATMAIL,
        server="--dialect",
    )
    compress: bool = option(
        "offer COMPRESS=DEFLATE over IMAP (RFC 4978); servers in production do not",
        default=False,
        server="--compress",
    )
    messages_per_minute: int = option(
        "that a sender may submit, after 10 at once; 0 is no limit, the default. Servers in production allow 60",
        default=0,
        metavar="N",
        server="--messages-per-minute",
    )
    new_accounts_per_minute: int = option(
        "that one source may create, after 5000 at once; 0 is no limit (default: 120)",
        default=120,
        metavar="N",
        server="--new-accounts-per-minute",
    )
    first_login: bool = option(
        "a first log-in makes an account (default: yes)", default=True, server="--first-login"
    )
    admin_token_file: Path | None = option(
        "serve madmail's admin API at POST /api/admin for whoever knows the first line of this file",
        default=None,
        metavar="FILE",
        server="--admin-token-file",
    )
    password_hash_cost: PasswordHashCost = option(
        "low protects nothing and is for tests (default of the whole server: low, with --public normal)",
        default=PasswordHashCost.NORMAL,
        server="--password-hash-cost",
    )
    iroh_relay_url: str | None = option("advertised in METADATA", default=None, metavar="URL")
    relay_address: tuple[str, int] | None = option(
        "of the iroh relay that HTTPS passes /relay, /ping and /generate_204 on to, as chatmail's nginx does "
        "(default: there is no such path)",
        default=None,
        metavar="ADDRESS:PORT",
        read=_read_address,
    )
    turn_address: str | None = option(
        "TURN server, advertised in METADATA", default=None, metavar="HOST:PORT"
    )
    turns_address: str | None = option("the same over TLS", default=None, metavar="HOST:PORT")
    turn_secret_file: Path | None = option(
        "its shared secret; the first line counts", default=None, metavar="FILE"
    )
    turn_ttl: int = option(
        "how long its credentials are valid (default: 86400)",
        default=86400,
        metavar="SECONDS",
        server="--turn-ttl",
    )
    comment: str | None = option("advertised in METADATA", default=None, metavar="TEXT")
    admin: str | None = option(
        "advertised in METADATA, e.g. mailto:root@chatmail.test",
        default=None,
        metavar="URI",
    )
    app_versions: str | None = option(
        "JSON of the newest apps, advertised in METADATA in the dialect chatmail",
        default=None,
        metavar="FILE",
        read=read_app_versions,
        server="--app-versions",
    )
    turn_test_relay_only: bool = option(
        "advertise that calls go by TURN only, in METADATA in the dialect madmail",
        default=False,
        server="--turn-test-relay-only",
    )
    dovecot: Path | None = option(
        "directory of the sockets by which dovecot is IMAP at our ports in our place (docs/servers.md)",
        default=None,
        metavar="DIR",
        server="--dovecot",
    )
    federation: bool = option(
        "exchange mail with other servers: SMTP at port 25, and /mxdeliv in the dialect madmail",
        default=False,
        server="--federation",
    )
    smtp_port: int = _port("SMTP with other servers", 2025)
    peer_port: int = option(
        "at which other servers take mail (25); another one is for tests",
        default=25,
        metavar="PORT",
        server="--peer-port",
    )
    name_server: tuple[str, int] | None = option(
        "asked for where other servers are (default: as the system has it)",
        default=None,
        metavar="ADDRESS[:PORT]",
        read=read_name_server,
        server="--name-server",
    )
    outgoing_tls: OutgoingTls | None = option(
        "TLS with other servers (default: in the dialect chatmail verify, but encrypt for addresses and names "
        "that begin with _; in madmail may)",
        default=None,
        server="--outgoing-tls",
    )
    outgoing_ca: Path | None = option(
        "PEM of a CA that is believed of other servers, besides the system's",
        default=None,
        metavar="FILE",
        server="--outgoing-ca",
    )
    dkim: DkimRule | None = option(
        "a signature on mail of other servers (default: required in the dialect chatmail, ignored in madmail)",
        default=None,
        server="--dkim",
    )
    retry_after: float = option(
        "until mail that another server did not take is tried again, twice as long after each try, an hour at most "
        "(default: 10)",
        default=10.0,
        metavar="SECONDS",
        read=positive_seconds,
        server="--retry-after",
    )
    queue_lifetime: float = option(
        "after which mail that was not taken is returned to its sender (default: 432000)",
        default=432000.0,
        metavar="SECONDS",
        read=positive_seconds,
        server="--queue-lifetime",
    )
    tls_cert: Path | None = option("PEM chain; without it one is issued", default=None, metavar="FILE")
    tls_key: Path | None = option("PEM key", default=None, metavar="FILE")
    tls_ca: Path | None = option(
        "told to clients in the ready line, where the certificate is one of ours",
        default=None,
        metavar="FILE",
    )
    local_part_min: int | None = None
    """None, here and below: as the dialect has it."""
    local_part_max: int | None = None
    password_min: int | None = None
    passthrough_senders: frozenset[str] = frozenset()
    """May send unencrypted mail."""
    passthrough_recipients: frozenset[str] = frozenset()
    """May be sent unencrypted mail. An entry `@domain` stands for everybody there."""
    limits: Limits = options_of(Limits)

    def __post_init__(self) -> None:
        check_bind_address(self.host, public=self.public)
        for name in ("iroh_relay_url", "comment", "admin"):
            if not (getattr(self, name) or "").isprintable():
                raise ConfigurationError(f"{flag(name)} has characters that METADATA cannot carry")
        for name in ("turn_address", "turns_address"):
            if (address := getattr(self, name)) is not None:
                try:
                    host_and_port(address)
                except ValueError as error:
                    raise ConfigurationError(f"{flag(name)} {address}: expected {error}") from None
        has_turn = self.turn_address is not None or self.turns_address is not None
        if has_turn != (self.turn_secret_file is not None):
            raise ConfigurationError(
                "--turn-address or --turns-address, and --turn-secret-file, belong together"
            )
        if self.dovecot is not None and self.federation:
            raise ConfigurationError(
                "--federation: mail that dovecot keeps is not sent on; leave --dovecot out"
            )
        if self.dovecot is not None and 0 in (self.imaps_port, self.imap_port):
            raise ConfigurationError("--dovecot: name the ports of IMAP, at which it listens")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ConfigurationError("--tls-cert and --tls-key belong together")

    @property
    def database(self) -> Path:
        return self.state / "mail.sqlite"
