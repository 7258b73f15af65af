"""What a mailbox is made of, as the store keeps it and IMAP shows it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntEnum

__all__ = ["FLAGS", "INBOX", "FlagChange", "Mailbox", "MailboxStatus", "Message", "MessageFlags", "Part"]

INBOX = "INBOX"

FLAGS = ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")
"""Those that are kept (RFC 3501 section 2.3.2). Keywords are not."""


@dataclass(frozen=True)
class MessageFlags:
    uid: int
    flags: frozenset[str]


@dataclass(frozen=True)
class Mailbox:
    """An opened mailbox; `messages` in the order of their UIDs, which is that of their sequence numbers."""

    id: int
    uid_validity: int
    uid_next: int
    messages: tuple[MessageFlags, ...]


@dataclass(frozen=True)
class MailboxStatus:
    messages: int
    unseen: int
    uid_next: int
    uid_validity: int


class Part(IntEnum):
    """How much of a message is wanted."""

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
    """STORE's `FLAGS`, `+FLAGS` and `-FLAGS`."""

    REPLACE = ""
    ADD = "+"
    REMOVE = "-"

    def apply(self, old: frozenset[str], flags: frozenset[str]) -> frozenset[str]:
        if self is FlagChange.ADD:
            return old | flags
        if self is FlagChange.REMOVE:
            return old - flags
        return flags
