"""Parts of a mailbox, as the store keeps it and IMAP shows it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

__all__ = [
    "FLAGS",
    "HIERARCHY",
    "INBOX",
    "RECENT",
    "Added",
    "Copied",
    "FlagChange",
    "Folder",
    "Mailbox",
    "MailboxStatus",
    "Message",
    "MessageFlags",
    "Part",
    "Purged",
    "Refused",
    "above",
]

INBOX = "INBOX"
HIERARCHY = "/"

FLAGS = ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")
"""The system flags (RFC 3501 section 2.3.2) that clients set."""
RECENT = "\\Recent"
"""The one that no client sets: a session has it for those messages that it is the first to be told of."""


class Refused(Exception):
    """Something that cannot be done, said with a response code of RFC 5530 or 3501; nothing was changed."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"[{code}] {text}")
        self.code = code


@dataclass(frozen=True)
class MessageFlags:
    uid: int
    flags: frozenset[str]
    """Without `\\Recent`."""
    recent: bool = False
    """No session was told of it before."""


@dataclass(frozen=True)
class Mailbox:
    """An opened mailbox; `messages` in the order of their UIDs, which is that of their sequence numbers."""

    id: int
    uid_validity: int
    uid_next: int
    messages: tuple[MessageFlags, ...]
    keywords: tuple[str, ...] = ()
    """Flags that clients invented."""
    more_keywords: bool = True
    """True when there is room for another one."""


@dataclass(frozen=True)
class MailboxStatus:
    messages: int
    recent: int
    unseen: int
    uid_next: int
    uid_validity: int


@dataclass(frozen=True)
class Folder:
    """A mailbox as LIST shows it."""

    name: str
    subscribed: bool


@dataclass(frozen=True)
class Added:
    """Place that a message went to (RFC 4315 `APPENDUID`)."""

    uid_validity: int
    uid: int


@dataclass(frozen=True)
class Purged:
    """Messages that were removed, and the mailboxes that had them."""

    messages: int
    mailboxes: tuple[int, ...]


@dataclass(frozen=True)
class Copied:
    """The UIDs of copied messages, before and after (RFC 4315 `COPYUID`); the UIDs belong together pairwise."""

    uid_validity: int
    source: tuple[int, ...]
    target: tuple[int, ...]


class Part(IntEnum):
    """Part of a message that is wanted."""

    NOTHING = 0
    HEADER = 1
    ALL = 2


@dataclass(frozen=True)
class Message:
    """`header` ends with its empty line and `text` follows it; what was not asked for is empty."""

    uid: int
    flags: frozenset[str]
    received: int
    """Unix seconds."""
    size: int
    header: bytes = b""
    text: bytes = b""


class FlagChange(Enum):
    """STORE's `FLAGS`, `+FLAGS` and `-FLAGS`, on sets of flags as bits."""

    REPLACE = ""
    ADD = "+"
    REMOVE = "-"

    def apply(self, old: int, flags: int) -> int:
        if self is FlagChange.ADD:
            return old | flags
        if self is FlagChange.REMOVE:
            return old & ~flags
        return flags


def above(name: str) -> list[str]:
    """The parents of a mailbox: `a` and `a/b` of `a/b/c`."""
    parts = name.split(HIERARCHY)
    return [HIERARCHY.join(parts[:size]) for size in range(1, len(parts))]
