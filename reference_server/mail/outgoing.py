"""Mail for other servers, as the store keeps it until they have it: one row for each recipient that is left.

It is on the disk in the same transaction as what is delivered here, so that an answer of 250 stands for all of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable
from dataclasses import dataclass

__all__ = ["AtOneServer", "OutgoingMail", "OutgoingTable", "Settlement"]

AT_ONCE = 100
"""Recipients of one transaction: every server has to take as many (RFC 5321 section 4.5.3.1.8)."""


@dataclass(frozen=True)
class OutgoingMail:
    """Mail to addresses of other servers, in lower case. `content` is sent as it is."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


@dataclass(frozen=True)
class AtOneServer:
    """Recipients of one mail whose addresses have one domain, and who are still to get it."""

    mail: int
    domain: str
    sender: str
    recipients: tuple[str, ...]
    accepted: float
    """Unix seconds at which this server took the mail, ..."""
    attempts: int
    """... and how often it has been tried for these since."""


@dataclass(frozen=True)
class Settlement:
    """What became of mail for the recipients at one server."""

    over: tuple[str, ...] = ()
    """Have it, or never will."""
    later: tuple[str, ...] = ()
    next_try: float = 0.0
    """Unix seconds, for those."""
    report: bytes | None = None
    """A mail to the sender about those who never will."""


class OutgoingTable:
    """Part of the store; every method is to be called in a transaction of the caller, or reads only."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database

    def add(self, mail: OutgoingMail, now: float) -> None:
        added = self._db.execute(
            "INSERT INTO outgoing_mails (sender, content, accepted) VALUES (?, ?, ?)",
            (mail.sender, mail.content, now),
        )
        self._db.executemany(
            "INSERT OR IGNORE INTO outgoing (mail, domain, recipient, next_try) VALUES (?, ?, ?, ?)",
            [(added.lastrowid, each.rpartition("@")[2], each, now) for each in mail.recipients],
        )

    def recipients_left(self) -> int:
        (number,) = self._db.execute("SELECT count(*) FROM outgoing").fetchone()
        return int(number)

    def due(self, now: float, apart_from: Collection[tuple[int, str]] = ()) -> list[AtOneServer]:
        """Those to be tried by now, the oldest mail first, without these pairs of mail and domain."""
        rows = self._db.execute(
            "SELECT o.mail, o.domain, m.sender, m.accepted, max(o.attempts) FROM outgoing o"
            " JOIN outgoing_mails m ON m.id = o.mail WHERE o.next_try <= ? GROUP BY o.mail, o.domain ORDER BY o.mail",
            (now,),
        ).fetchall()
        return [
            AtOneServer(mail, domain, sender, self._recipients(mail, domain, now), accepted, attempts)
            for mail, domain, sender, accepted, attempts in rows
            if (mail, domain) not in apart_from
        ]

    def next_try(self, after: float) -> float | None:
        """The first one that is later than this; None: there is none."""
        (at,) = self._db.execute("SELECT min(next_try) FROM outgoing WHERE next_try > ?", (after,)).fetchone()
        return None if at is None else float(at)

    def content(self, mail: int) -> bytes:
        (content,) = self._db.execute("SELECT content FROM outgoing_mails WHERE id = ?", (mail,)).fetchone()
        return bytes(content)

    def remove(self, mail: int, recipients: Iterable[str]) -> None:
        """They have it, or never will; with the last one the mail goes."""
        self._db.executemany(
            "DELETE FROM outgoing WHERE mail = ? AND recipient = ?", [(mail, each) for each in recipients]
        )
        self._db.execute(
            "DELETE FROM outgoing_mails WHERE id = ? AND NOT EXISTS (SELECT 1 FROM outgoing WHERE mail = ?)",
            (mail, mail),
        )

    def postpone(self, mail: int, recipients: Iterable[str], until: float) -> None:
        self._db.executemany(
            "UPDATE outgoing SET attempts = attempts + 1, next_try = ? WHERE mail = ? AND recipient = ?",
            [(until, mail, each) for each in recipients],
        )

    def _recipients(self, mail: int, domain: str, now: float) -> tuple[str, ...]:
        rows = self._db.execute(
            "SELECT recipient FROM outgoing WHERE mail = ? AND domain = ? AND next_try <= ? ORDER BY rowid LIMIT ?",
            (mail, domain, now, AT_ONCE),
        )
        return tuple(recipient for (recipient,) in rows)
