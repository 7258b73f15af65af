"""Events: questions of an IMAP session to the world. Each is answered once, by `ImapSession.answer` with a value of
the type that stands in its brackets, or by `ImapSession.refuse`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from reference_server.mail.mailbox import (
    Added,
    Copied,
    FlagChange,
    Folder,
    Mailbox,
    MailboxStatus,
    Message,
    MessageFlags,
    Part,
)

__all__ = [
    "Append",
    "ChangeFlags",
    "Copy",
    "CreateMailbox",
    "DeleteMailbox",
    "Event",
    "Expunge",
    "FetchMessages",
    "FindMailbox",
    "GetMetadata",
    "GetQuota",
    "GetStatus",
    "ListMailboxes",
    "LogIn",
    "Move",
    "OpenMailbox",
    "Refresh",
    "RenameMailbox",
    "ReserveMemory",
    "SetDeviceToken",
    "StartTls",
    "Subscribe",
]

T_co = TypeVar("T_co", covariant=True)


class Event(Generic[T_co]):
    """Mailboxes are named as the client names them, and once found by their IDs."""


@dataclass(frozen=True)
class StartTls(Event[None]):
    """Send what is written so far, wrap the connection in TLS."""


@dataclass(frozen=True)
class LogIn(Event[bool]):
    """Are they right?"""

    user: str
    password: str


@dataclass(frozen=True)
class ReserveMemory(Event[bool]):
    """May this client send so many bytes now, more than commands usually have? They are given back with its end,
    or when 0 are asked for."""

    size: int


@dataclass(frozen=True)
class FindMailbox(Event[int]):
    """With `watch`, report its changes, and no other's, through `mailbox_changed` from now on."""

    name: str
    watch: bool = False


@dataclass(frozen=True)
class OpenMailbox(Event[Mailbox]):
    """With `claim`, what is recent is so for this session and for no later one."""

    mailbox: int
    claim: bool


@dataclass(frozen=True)
class ListMailboxes(Event[Sequence[Folder]]):
    pass


@dataclass(frozen=True)
class CreateMailbox(Event[None]):
    name: str


@dataclass(frozen=True)
class DeleteMailbox(Event[None]):
    name: str


@dataclass(frozen=True)
class RenameMailbox(Event[None]):
    old: str
    new: str


@dataclass(frozen=True)
class Subscribe(Event[None]):
    name: str
    subscribed: bool


@dataclass(frozen=True)
class GetStatus(Event[MailboxStatus]):
    mailbox: int


@dataclass(frozen=True)
class Refresh(Event[Sequence[MessageFlags]]):
    """Everything that is in the mailbox now, by UID; `claim` is that of `OpenMailbox`."""

    mailbox: int
    claim: bool


@dataclass(frozen=True)
class FetchMessages(Event[Sequence[Message]]):
    """Those that still exist. With `mark_seen` they get `\\Seen` before they are read."""

    mailbox: int
    uids: tuple[int, ...]
    part: Part
    mark_seen: bool


@dataclass(frozen=True)
class ChangeFlags(Event[Sequence[MessageFlags]]):
    """The new flags of each message that still exists."""

    mailbox: int
    uids: tuple[int, ...]
    change: FlagChange
    flags: frozenset[str]


@dataclass(frozen=True)
class Append(Event[Added]):
    mailbox: int
    content: bytes
    flags: frozenset[str]
    received: int | None
    """Unix seconds; None is now."""


@dataclass(frozen=True)
class Copy(Event[Copied]):
    mailbox: int
    uids: tuple[int, ...]
    target: int


@dataclass(frozen=True)
class Move(Event[Copied]):
    mailbox: int
    uids: tuple[int, ...]
    target: int


@dataclass(frozen=True)
class Expunge(Event[Sequence[int]]):
    """Remove the messages that have `\\Deleted`, all or those `among` these: their UIDs."""

    mailbox: int
    among: tuple[int, ...] | None = None


@dataclass(frozen=True)
class GetQuota(Event[tuple[int, int]]):
    """Bytes of the user's messages in all mailboxes, and how many they may be."""


@dataclass(frozen=True)
class GetMetadata(Event[Mapping[str, str | None]]):
    """Entries of the server (`mailbox` is empty) or of a mailbox: those of the keys, in lower case, that exist, and
    those so many levels below them (None: all); a value of None is written as NIL."""

    mailbox: str
    keys: tuple[str, ...]
    depth: int | None = 0


@dataclass(frozen=True)
class SetDeviceToken(Event[None]):
    """One more; None removes all."""

    token: str | None
