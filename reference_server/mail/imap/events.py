"""What an IMAP session asks of the world. Each is answered by the method of `ImapSession` that it names."""

from __future__ import annotations

from dataclasses import dataclass

from reference_server.mail.mailbox import FlagChange, Part

__all__ = [
    "ChangeFlags",
    "Event",
    "Expunge",
    "FetchMessages",
    "GetMetadata",
    "GetQuota",
    "GetStatus",
    "LogIn",
    "OpenMailbox",
    "Refresh",
    "StartTls",
]


@dataclass(frozen=True)
class StartTls:
    """Send what is written so far, wrap the connection in TLS. Answer: `tls_started`."""


@dataclass(frozen=True)
class LogIn:
    """Answer: `logged_in` or `login_refused`."""

    user: str
    password: str


@dataclass(frozen=True)
class OpenMailbox:
    """Report changes of this mailbox through `mailbox_changed` from now on. Answer: `opened`."""

    name: str


@dataclass(frozen=True)
class GetStatus:
    """Answer: `status`."""

    name: str


@dataclass(frozen=True)
class Refresh:
    """What is in the mailbox now? Answer: `refreshed`."""

    mailbox: int


@dataclass(frozen=True)
class FetchMessages:
    """Answer: `fetched` with each message that still exists, then `fetch_done`.

    With `mark_seen` the messages get `\\Seen` before they are read.
    """

    mailbox: int
    uids: tuple[int, ...]
    part: Part
    mark_seen: bool


@dataclass(frozen=True)
class ChangeFlags:
    """Answer: `flags_changed` with the new flags of each message that still exists."""

    mailbox: int
    uids: tuple[int, ...]
    change: FlagChange
    flags: frozenset[str]


@dataclass(frozen=True)
class Expunge:
    """Remove every message that has `\\Deleted`. Answer: `expunged` with their UIDs."""

    mailbox: int


@dataclass(frozen=True)
class GetQuota:
    """Of the user, whatever mailbox was named. Answer: `quota`."""

    mailbox: str


@dataclass(frozen=True)
class GetMetadata:
    """Entries of the server (`mailbox` is empty) or of a mailbox; keys in lower case. Answer: `metadata`."""

    mailbox: str
    keys: tuple[str, ...]


Event = (
    StartTls
    | LogIn
    | OpenMailbox
    | GetStatus
    | Refresh
    | FetchMessages
    | ChangeFlags
    | Expunge
    | GetQuota
    | GetMetadata
)
