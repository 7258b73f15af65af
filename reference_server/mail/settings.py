"""What a mail service is told at start, and its numbers for "too much"."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

__all__ = ["Dialect", "Limits", "MailSettings", "PasswordHashCost"]


class Dialect(StrEnum):
    """Whose habits the server has where right servers differ."""

    CHATMAIL = "chatmail"
    MADMAIL = "madmail"


class PasswordHashCost(StrEnum):
    """How expensive a guess is. `LOW` is for tests: it protects nothing."""

    LOW = "low"
    NORMAL = "normal"


@dataclass(frozen=True)
class Limits:
    """Sizes are in bytes, times in seconds."""

    connections: int = 1000
    connections_per_source: int = 500
    tls_handshake: float = 30.0
    before_login: float = 60.0
    """From the start of a connection to a successful login."""
    idle: float = 30 * 60.0
    """Without a byte from the client (RFC 3501 section 5.4 asks for at least 30 minutes)."""
    smtp_idle: float = 300.0
    transfer: float = 1800.0
    """For one message to come in, over SMTP or IMAP."""
    stalled_write: float = 120.0
    """How long a client may leave what was sent to it unread."""
    idle_keepalive: float = 120.0
    """Between two `* OK Still here` inside IDLE; core leaves IDLE after five minutes of silence."""
    imap_line: int = 8192
    imap_literal_before_login: int = 1024
    imap_literal: int = 65536
    """Of every command but APPEND, which may carry a whole message."""
    imap_bad_commands: int = 10
    login_failures: int = 3
    """Per connection, IMAP and SMTP alike."""
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
    http_head: int = 16384
    http_body: int = 65536
    http_connection: float = 30.0


@dataclass(frozen=True)
class MailSettings:
    """One mail service. Port 0 lets the system choose; `MailService.start` tells which it was."""

    database: Path
    certificate_file: Path
    key_file: Path
    ca_file: Path | None = None
    """Told to clients in the ready line, where the certificate is one of ours."""
    host: str = "127.0.0.1"
    imaps_port: int = 2993
    imap_port: int = 2143
    submissions_port: int = 2465
    submission_port: int = 2587
    https_port: int = 2443
    domain: str = "chatmail.test"
    dialect: Dialect = Dialect.CHATMAIL
    compress: bool = False
    """Whether IMAP offers COMPRESS (RFC 4978); servers in production do not."""
    messages_per_minute: int = 0
    """Per sender, after a burst of 10; 0 is no limit. Servers in production allow 60."""
    password_hash_cost: PasswordHashCost = PasswordHashCost.NORMAL
    local_part_min: int = 9
    local_part_max: int = 9
    password_min: int = 9
    passthrough_senders: frozenset[str] = frozenset()
    """May send unencrypted mail."""
    passthrough_recipients: frozenset[str] = frozenset()
    """May be sent unencrypted mail. An entry `@domain` stands for everybody there."""
    comment: str | None = None
    admin: str | None = None
    """A `mailto:` URI."""
    iroh_relay_url: str | None = None
    turn: Callable[[], str] | None = None
    """Gives a fresh `host:port:username:password` line; None leaves the METADATA key out."""
    turns: Callable[[], str] | None = None
    limits: Limits = field(default_factory=Limits)
