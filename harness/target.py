"""A target: where a chatmail server listens and what it can do. Nothing about how it is built, or who runs it."""

from __future__ import annotations

import enum
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .accounts import AccountSource, Credentials, FirstLogin
from .urls import RelayUrl, TurnUrl

__all__ = ["AdminAccess", "Impact", "Service", "Target"]


class Service(enum.StrEnum):
    """A part of a chatmail server that a program of its own can provide."""

    MAIL = "mail"
    """IMAP with METADATA, SMTP submission, accounts and their HTTPS."""
    TURN = "turn"
    IROH_RELAY = "iroh_relay"

    @property
    def display_name(self) -> str:
        """For people."""
        return {"mail": "mail", "turn": "TURN", "iroh_relay": "the iroh relay"}[self.value]


class Impact(enum.StrEnum):
    """Harm that a check does to a server that people use."""

    LIVE_SAFE = "live_safe"
    """Logs in to new accounts and sends a few small messages between them."""
    LEAVES_TRACES = "leaves_traces"
    """Looks like misuse in the server's logs (wrong passwords, say), and may get our address blocked there."""
    HARMFUL = "harmful"
    """Others would notice: services are restarted, or kept busy."""

    def within(self, limit: Impact) -> bool:
        """It does no more than `limit`."""
        order = list(Impact)
        return order.index(self) <= order.index(limit)


@dataclass(frozen=True)
class AdminAccess:
    """Whoever has the token may administer the server by madmail's admin API, over HTTPS."""

    token: str = field(repr=False)
    path: str = "/api/admin"


@dataclass(frozen=True)
class Target:
    """One server under test: its endpoints as a client knows them, and its capabilities."""

    name: str
    host: str
    """Address or DNS name of every service."""
    domain: str
    """Part behind the @ of its mail addresses."""
    imaps: int
    imap: int
    submissions: int
    submission: int
    https: int
    ca_file: Path | None
    """The CA that signed its certificates; None: one that this machine trusts."""
    dialect: str
    """Form of METADATA values: `chatmail` (literals, as dovecot) or `madmail` (quoted strings)."""
    imap_host: str | None = None
    """Host at which IMAP is, if not `host`; its port is `imaps`, and its certificate is that of `host`."""
    smtp_host: str | None = None
    """Likewise for submission, `submissions`."""
    smtp: int | None = None
    """Port at which other servers bring mail; None: not known, or it takes none."""
    other_addresses: frozenset[str] = frozenset()
    """Addresses of the server besides those of `host`."""
    capabilities: frozenset[str] = frozenset()
    """Capabilities that a check may require: `iroh_relay`, `relay_v035`, `relay_v1`, `turn`, `turns`, ...;
    stated by a server that we started, looked up on any other."""
    turn: tuple[TurnUrl, ...] = ()
    """URLs at which its TURN server listens, as far as they are known without METADATA."""
    iroh_relay: RelayUrl | None = None
    """URL at which its iroh relay listens, likewise."""
    admin: AdminAccess | None = field(default=None, repr=False)
    """None: it has no such API, or we have no token for it."""
    turn_permission_lifetime: float = 300.0
    """Seconds; the default of each is that of RFC 8656."""
    turn_channel_lifetime: float = 600.0
    relay_ping_interval: float = 15.0
    """Seconds of silence after which its relay pings a client; upstream's default."""
    pinned: Path | None = None
    """The certificates that it showed at first: nobody vouches for them, but the run accepts no others."""
    is_ours: bool = True
    """We started it and nobody else uses it, so nothing that is left on it matters."""
    impact: Impact = Impact.HARMFUL
    """The most that checks may do to it."""
    accounts: AccountSource = field(default_factory=FirstLogin, repr=False, compare=False)

    on_secret: Callable[[str], object] = field(default=str, repr=False, compare=False)
    """Told each password that is used with this target, so that a run can keep it out of its files."""

    def new_account(self) -> Credentials:
        """Credentials that no other part of the check uses. Raises `MissingCapability` when there are no more."""
        return self._told(self.accounts.new(self))

    def any_account(self) -> Credentials:
        """Credentials to read what every user may read; the account may be one that `new_account` gives as well."""
        return self._told(self.accounts.any(self))

    def _told(self, credentials: Credentials) -> Credentials:
        self.on_secret(credentials.password)
        return credentials

    def ssl_context(self) -> ssl.SSLContext:
        """TLS settings that verify this target's certificate and name, or that it is the pinned certificate."""
        if self.pinned is None:
            return self.strict_ssl_context()
        context = ssl.create_default_context(cafile=self.pinned)
        context.check_hostname = False  # the very certificate is known; a name in it adds nothing
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context

    def strict_ssl_context(self) -> ssl.SSLContext:
        """TLS settings that verify this target's certificate and name, whatever the run accepts."""
        return ssl.create_default_context(cafile=self.ca_file)
