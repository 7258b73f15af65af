"""A target: where a chatmail server listens and what it can do. Nothing about how it is built."""

from __future__ import annotations

import secrets
import ssl
import string
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlencode

from ..clients.control import ControlClient

__all__ = ["Credentials", "Target"]

LOCALPART_CHARACTERS = string.ascii_lowercase + string.digits
LOCALPART_LENGTH = 9
"""Chatmail servers accept exactly nine characters by default."""


@dataclass(frozen=True)
class Credentials:
    """A mail address and its password. Whoever prints it sees no password."""

    address: str
    password: str = field(repr=False)

    def dclogin(self, target: Target) -> str:
        """The login code that Delta Chat core configures an account from. It contains the password.

        `ic=3` lets core accept any certificate. That is no choice of ours: core trusts the public roots only
        and has no setting for a private CA, so it can use a test server in no other way. The harness's own
        clients do verify.
        """
        settings = {
            "p": self.password,
            "v": "1",
            "ih": target.host,
            "ip": target.imaps,
            "is": "ssl",
            "sh": target.host,
            "sp": target.submissions,
            "ss": "ssl",
            "ic": "3",
        }
        return f"dclogin:{quote(self.address, safe='@')}?{urlencode(settings, quote_via=quote)}"


@dataclass(frozen=True)
class Target:
    """One server under test: its endpoints as a client knows them, and its capabilities."""

    name: str
    host: str
    """Address or DNS name of every service."""
    domain: str
    """What stands behind the @ of its mail addresses."""
    imaps: int
    imap: int
    submissions: int
    submission: int
    https: int
    ca_file: Path | None
    """The CA that signed its certificates; None: one that this machine trusts."""
    dialect: str
    """How METADATA values are written: `chatmail` (literals, as dovecot) or `madmail` (quoted strings)."""
    capabilities: frozenset[str] = frozenset()
    """What a check may require: `iroh_relay`, `relay_v1`, `ledger`, `logs`, `faults`, `turn`, ..."""
    relay_ping_interval: float = 15.0
    """Seconds of silence after which its relay pings a client; upstream's default."""
    control: ControlClient | None = field(default=None, repr=False, compare=False)
    """The server's own account of a run, where it has one."""

    on_secret: Callable[[str], object] = field(default=str, repr=False, compare=False)
    """Told each password that is made up for this target, so that a run can keep it out of its files."""

    def new_account(self) -> Credentials:
        """Credentials that nobody has used yet. The server creates the account at the first login."""
        localpart = "".join(secrets.choice(LOCALPART_CHARACTERS) for _ in range(LOCALPART_LENGTH))
        password = secrets.token_urlsafe(24)
        self.on_secret(password)
        return Credentials(f"{localpart}@{self.domain}", password)

    def ssl_context(self) -> ssl.SSLContext:
        """TLS settings that verify this target's certificate and name."""
        return ssl.create_default_context(cafile=self.ca_file)
