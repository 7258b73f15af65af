"""Accounts and mail in one SQLite file.

`Store` is plain and synchronous; `StoreThread` owns one and runs its methods in order on a thread of its own, so that
the event loop never waits for a disk. What a method has returned from is on the disk (WAL, synchronous=FULL).
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from .mailbox import FLAGS, INBOX, FlagChange, Mailbox, MailboxStatus, Message, MessageFlags, Part

__all__ = ["Account", "NewMessage", "Store", "StoreThread", "StoreUnavailable"]

BUSY_TIMEOUT = 1.0
"""Seconds to wait for another program that has locked the file."""
SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE accounts (
    id INTEGER PRIMARY KEY, address TEXT NOT NULL UNIQUE, password_hash TEXT NOT NULL);
CREATE TABLE mailboxes (
    id INTEGER PRIMARY KEY, account INTEGER NOT NULL REFERENCES accounts, name TEXT NOT NULL,
    uid_validity INTEGER NOT NULL, uid_next INTEGER NOT NULL DEFAULT 1, UNIQUE (account, name));
CREATE TABLE contents (
    id INTEGER PRIMARY KEY, header BLOB NOT NULL, text BLOB NOT NULL);
CREATE TABLE messages (
    mailbox INTEGER NOT NULL REFERENCES mailboxes, uid INTEGER NOT NULL,
    content INTEGER NOT NULL REFERENCES contents, flags INTEGER NOT NULL DEFAULT 0,
    received INTEGER NOT NULL, size INTEGER NOT NULL, PRIMARY KEY (mailbox, uid)) WITHOUT ROWID;
CREATE INDEX messages_by_content ON messages (content);
"""
_COLUMNS = {Part.NOTHING: "x'', x''", Part.HEADER: "c.header, x''", Part.ALL: "c.header, c.text"}
_DELETED = 1 << FLAGS.index("\\Deleted")

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")


class StoreUnavailable(Exception):
    """The disk is full, the file is locked, ...: nothing was changed, and it may work later."""


@dataclass(frozen=True)
class Account:
    id: int
    inbox: int
    """Which mailbox its mail goes to."""
    password_hash: str


@dataclass(frozen=True)
class NewMessage:
    """Bytes exactly as received; `mailboxes` are distinct."""

    mailboxes: tuple[int, ...]
    content: bytes
    received: int


class Store:
    """One connection to the file, made where it does not exist. Raises `sqlite3.Error`."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in SCHEMA.split(";"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
            elif version != SCHEMA_VERSION:
                raise sqlite3.DatabaseError(f"{path} has schema {version}, expected {SCHEMA_VERSION}")

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    # Accounts

    def account(self, address: str) -> Account | None:
        row = self._db.execute(
            "SELECT a.id, m.id, a.password_hash FROM accounts a JOIN mailboxes m ON m.account = a.id"
            " WHERE a.address = ? AND m.name = ?",
            (address, INBOX),
        ).fetchone()
        return None if row is None else Account(*row)

    def create_account(self, address: str, password_hash: str, *, limit: int) -> bool:
        """False: somebody was first, or there are `limit` accounts already."""
        with self._transaction():
            created = self._db.execute(
                "INSERT INTO accounts (address, password_hash) SELECT ?, ?"
                " WHERE (SELECT count(*) FROM accounts) < ? ON CONFLICT DO NOTHING",
                (address, password_hash, limit),
            )
            if created.rowcount == 0:
                return False
            self._db.execute(
                "INSERT INTO mailboxes (account, name, uid_validity) VALUES (?, ?, ?)",
                (created.lastrowid, INBOX, int(time.time())),
            )
            return True

    def used_bytes(self, account: int) -> int:
        (used,) = self._db.execute(
            "SELECT coalesce(sum(size), 0) FROM messages WHERE mailbox IN"
            " (SELECT id FROM mailboxes WHERE account = ?)",
            (account,),
        ).fetchone()
        return int(used)

    # Mail

    def deliver(self, messages: Sequence[NewMessage]) -> None:
        """All of them, to all of their mailboxes, or none."""
        with self._transaction():
            for message in messages:
                self._deliver(message)

    def _deliver(self, message: NewMessage) -> None:
        end = message.content.find(b"\r\n\r\n") + 4
        header, text = (message.content, b"") if end == 3 else (message.content[:end], message.content[end:])
        content = self._db.execute(
            "INSERT INTO contents (header, text) VALUES (?, ?)", (header, text)
        ).lastrowid
        for mailbox in message.mailboxes:
            self._db.execute(
                "INSERT INTO messages (mailbox, uid, content, received, size)"
                " SELECT id, uid_next, ?, ?, ? FROM mailboxes WHERE id = ?",
                (content, message.received, len(message.content), mailbox),
            )
            self._db.execute("UPDATE mailboxes SET uid_next = uid_next + 1 WHERE id = ?", (mailbox,))

    def open_mailbox(self, account: int, name: str) -> Mailbox | None:
        row = self._db.execute(
            "SELECT id, uid_validity, uid_next FROM mailboxes WHERE account = ? AND name = ?", (account, name)
        ).fetchone()
        if row is None:
            return None
        number, uid_validity, uid_next = row
        return Mailbox(number, uid_validity, uid_next, tuple(self.flags(number)))

    def status(self, account: int, name: str) -> MailboxStatus | None:
        mailbox = self.open_mailbox(account, name)
        if mailbox is None:
            return None
        unseen = sum("\\Seen" not in message.flags for message in mailbox.messages)
        return MailboxStatus(len(mailbox.messages), unseen, mailbox.uid_next, mailbox.uid_validity)

    def flags(self, mailbox: int) -> list[MessageFlags]:
        """Every message of the mailbox, by UID."""
        rows = self._db.execute("SELECT uid, flags FROM messages WHERE mailbox = ? ORDER BY uid", (mailbox,))
        return [MessageFlags(uid, _unpack(bits)) for uid, bits in rows]

    def fetch(self, mailbox: int, uids: Sequence[int], part: Part, *, mark_seen: bool) -> list[Message]:
        """Those of the messages that still exist, in the order of `uids`."""
        if mark_seen:
            self.change_flags(mailbox, uids, FlagChange.ADD, frozenset({"\\Seen"}))
        query = (
            f"SELECT m.uid, m.flags, m.received, m.size, {_COLUMNS[part]}"  # noqa: S608 - from a fixed table
            " FROM messages m JOIN contents c ON c.id = m.content WHERE m.mailbox = ? AND m.uid = ?"
        )
        rows = (self._db.execute(query, (mailbox, uid)).fetchone() for uid in uids)
        return [Message(row[0], _unpack(row[1]), *row[2:]) for row in rows if row is not None]

    def change_flags(
        self, mailbox: int, uids: Sequence[int], change: FlagChange, flags: frozenset[str]
    ) -> list[MessageFlags]:
        """The new flags of those messages that still exist."""
        changed = []
        with self._transaction():
            for uid in uids:
                row = self._db.execute(
                    "SELECT flags FROM messages WHERE mailbox = ? AND uid = ?", (mailbox, uid)
                ).fetchone()
                if row is None:
                    continue
                new = change.apply(_unpack(row[0]), flags)
                changed.append(MessageFlags(uid, new))
                if _pack(new) != row[0]:
                    self._db.execute(
                        "UPDATE messages SET flags = ? WHERE mailbox = ? AND uid = ?",
                        (_pack(new), mailbox, uid),
                    )
        return changed

    def expunge(self, mailbox: int) -> list[int]:
        """Remove the messages with `\\Deleted` and return their UIDs."""
        with self._transaction():
            doomed = (mailbox, _DELETED)
            rows = self._db.execute(
                "SELECT uid, content FROM messages WHERE mailbox = ? AND flags & ? ORDER BY uid", doomed
            ).fetchall()
            self._db.execute("DELETE FROM messages WHERE mailbox = ? AND flags & ?", doomed)
            self._db.executemany(
                "DELETE FROM contents WHERE id = ? AND NOT EXISTS (SELECT 1 FROM messages WHERE content = ?)",
                [(content, content) for _uid, content in rows],
            )
        return [uid for uid, _content in rows]


def _pack(flags: frozenset[str]) -> int:
    return sum(1 << number for number, flag in enumerate(FLAGS) if flag in flags)


def _unpack(bits: int) -> frozenset[str]:
    return frozenset(flag for number, flag in enumerate(FLAGS) if bits >> number & 1)


class StoreThread:
    """Runs the store's methods one after the other on one thread."""

    def __init__(self, path: Path) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        try:
            self._store = self._thread.submit(Store, path).result()
        except BaseException:
            self._thread.shutdown()
            raise

    async def run(self, method: Callable[Concatenate[Store, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Raises `StoreUnavailable`."""
        call = self._thread.submit(method, self._store, *args, **kwargs)
        try:
            return await asyncio.wrap_future(call)
        except sqlite3.Error as error:
            log.exception("the store failed")
            raise StoreUnavailable(str(error)) from error

    def close(self) -> None:
        """Finish what was begun, then close the file."""
        self._thread.submit(self._store.close)
        self._thread.shutdown()
