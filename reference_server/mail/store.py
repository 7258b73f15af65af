"""Accounts and mail in one SQLite file. What a method has returned from is on the disk (WAL, synchronous=FULL), but
for who was told of new mail first.

UIDs and UIDVALIDITY never go back (RFC 3501 section 2.3.1.1): a mailbox counts its UIDs up for ever, and every
mailbox that gets a name, new or renamed, gets a UIDVALIDITY above all that its account has had.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .keywords import Keywords
from .mailbox import (
    FLAGS,
    HIERARCHY,
    INBOX,
    Added,
    Copied,
    FlagChange,
    Folder,
    Mailbox,
    MailboxStatus,
    Message,
    MessageFlags,
    Part,
    Purged,
    Refused,
    above,
)
from .outgoing import AtOneServer, OutgoingMail, OutgoingTable, Settlement
from .schema import create_tables

__all__ = ["Account", "NewMessage", "Store"]

BUSY_TIMEOUT = 1.0
"""Seconds to wait for another program that has locked the file."""
REMEMBERED = 7 * 86400
"""Seconds for which mail of other servers is known again: longer than any of them tries."""
_COLUMNS = {Part.NOTHING: "x'', x''", Part.HEADER: "c.header, x''", Part.ALL: "c.header, c.text"}
_SEEN = 1 << FLAGS.index("\\Seen")
_DELETED = 1 << FLAGS.index("\\Deleted")


@dataclass(frozen=True)
class Account:
    id: int
    address: str
    inbox: int
    """The mailbox that its mail goes to."""
    password_hash: str


@dataclass(frozen=True)
class NewMessage:
    """Bytes exactly as received; `mailboxes` are distinct."""

    mailboxes: tuple[int, ...]
    content: bytes
    received: int
    digest: bytes | None = None
    """Of a mail that another server may send again, not knowing that it was taken (RFC 1047): with the same one it is
    put into a mailbox once."""
    outgoing: OutgoingMail | None = None
    """The same mail for recipients elsewhere."""


class Store:
    """One connection to the file, made where it does not exist.

    Raises `sqlite3.Error`, after which nothing was changed, and `Refused` where it says so.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA secure_delete = ON")
        with self._transaction():
            create_tables(self._db)
        self._keywords = Keywords(self._db)
        self.outgoing = OutgoingTable(self._db)

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
            "SELECT a.id, a.address, m.id, a.password_hash FROM accounts a JOIN mailboxes m ON m.account = a.id"
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
            assert created.lastrowid is not None
            self._create(created.lastrowid, INBOX)
            self._subscribe(created.lastrowid, INBOX, True)
            return True

    def addresses(self) -> list[str]:
        """Every account's."""
        return [address for (address,) in self._db.execute("SELECT address FROM accounts ORDER BY address")]

    def delete_account(self, address: str) -> Purged | None:
        """With its mail. None: there is no such account."""
        if self.account(address) is None:
            return None
        purged = self.purge(address)
        with self._transaction():
            for table in ("mailboxes", "keywords", "device_tokens"):
                self._db.execute(
                    f"DELETE FROM {table} WHERE account = (SELECT id FROM accounts WHERE address = ?)",  # noqa: S608
                    (address,),
                )
            self._db.execute("DELETE FROM accounts WHERE address = ?", (address,))
        self._forget()
        return purged

    def purge(self, address: str | None = None, *, only_seen: bool = False) -> Purged:
        """Remove all mail of one account, or of everybody, and every byte of it from the file."""
        rows = self._db.execute(
            "SELECT m.mailbox, m.uid FROM messages m JOIN mailboxes b ON b.id = m.mailbox"
            " JOIN accounts a ON a.id = b.account WHERE (? OR a.address = ?) AND (? OR m.flags & ?)",
            (address is None, address, not only_seen, _SEEN),
        ).fetchall()
        with self._transaction():
            for mailbox, uid in rows:
                self._remove(mailbox, [uid])
        self._forget()
        return Purged(len(rows), tuple({mailbox for mailbox, _uid in rows}))

    def _forget(self) -> None:
        """Take what was removed out of the write-ahead log as well."""
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def used_bytes(self, account: int | None = None) -> int:
        """None: by all."""
        own = "" if account is None else " WHERE mailbox IN (SELECT id FROM mailboxes WHERE account = ?)"
        (used,) = self._db.execute(
            f"SELECT coalesce(sum(size), 0) FROM messages{own}",  # noqa: S608 - a text of ours
            () if account is None else (account,),
        ).fetchone()
        return int(used)

    def add_device_token(self, account: int, token: str, *, now: float, lifetime: float, limit: int) -> None:
        """A token that is there already lives on; of too many the oldest goes."""
        with self._transaction():
            self._db.execute("DELETE FROM device_tokens WHERE expires <= ?", (int(now),))
            self._db.execute(
                "INSERT OR REPLACE INTO device_tokens (account, token, expires) VALUES (?, ?, ?)",
                (account, token, int(now + lifetime)),
            )
            self._db.execute(
                "DELETE FROM device_tokens WHERE account = ? AND id NOT IN"
                " (SELECT id FROM device_tokens WHERE account = ? ORDER BY id DESC LIMIT ?)",
                (account, account, limit),
            )

    def remove_device_tokens(self, account: int) -> None:
        self._db.execute("DELETE FROM device_tokens WHERE account = ?", (account,))

    def device_tokens(self, account: int, *, now: float) -> list[str]:
        rows = self._db.execute(
            "SELECT token FROM device_tokens WHERE account = ? AND expires > ? ORDER BY id",
            (account, int(now)),
        )
        return [token for (token,) in rows]

    # Mailboxes

    def find_mailbox(self, account: int, name: str) -> int:
        """Its ID. Raises `Refused`."""
        row = self._db.execute(
            "SELECT id FROM mailboxes WHERE account = ? AND name = ?", (account, name)
        ).fetchone()
        if row is None:
            raise Refused("NONEXISTENT", "There is no such mailbox")
        return int(row[0])

    def folders(self, account: int) -> list[Folder]:
        """Every mailbox of the account, by name."""
        rows = self._db.execute(
            "SELECT name, subscribed FROM mailboxes WHERE account = ? ORDER BY name", (account,)
        )
        return [Folder(name, bool(subscribed)) for name, subscribed in rows]

    def create_mailbox(self, account: int, name: str, *, limit: int) -> None:
        """With those above it (RFC 3501 section 6.3.3). Raises `Refused`."""
        names = {folder.name for folder in self.folders(account)}
        if name in names:
            raise Refused("ALREADYEXISTS", "There is such a mailbox")
        new = [each for each in (*above(name), name) if each not in names]
        if len(names) + len(new) > limit:
            raise Refused("LIMIT", f"An account may have {limit} mailboxes")
        with self._transaction():
            for each in new:
                self._create(account, each)

    def delete_mailbox(self, account: int, name: str) -> None:
        """With its messages. Raises `Refused`."""
        mailbox = self.find_mailbox(account, name)
        if name == INBOX:
            raise Refused("CANNOT", "INBOX stays")
        if any(folder.name.startswith(name + HIERARCHY) for folder in self.folders(account)):
            raise Refused("CANNOT", "There are mailboxes below it: delete those first")
        with self._transaction():
            self._remove(mailbox, self._uids(mailbox))
            self._db.execute("DELETE FROM mailboxes WHERE id = ?", (mailbox,))

    def rename_mailbox(self, account: int, old: str, new: str, *, limit: int) -> None:
        """With those below it; of INBOX the messages go to the new name and INBOX stays (RFC 3501 section 6.3.5).

        Raises `Refused`.
        """
        mailbox = self.find_mailbox(account, old)
        names = {folder.name for folder in self.folders(account)}
        if new in names:
            raise Refused("ALREADYEXISTS", "There is such a mailbox")
        if new.startswith(old + HIERARCHY):
            raise Refused("CANNOT", "A mailbox cannot go below itself")
        if old == INBOX:
            self.create_mailbox(account, new, limit=limit)
            self.move(mailbox, self._uids(mailbox), self.find_mailbox(account, new))
            return
        missing = [each for each in above(new) if each not in names]
        if len(names) + len(missing) > limit:
            raise Refused("LIMIT", f"An account may have {limit} mailboxes")
        moving = [name for name in sorted(names) if name == old or name.startswith(old + HIERARCHY)]
        with self._transaction():
            for each in missing:
                self._create(account, each)
            for name in moving:
                self._db.execute(
                    "UPDATE mailboxes SET name = ?, uid_validity = ? WHERE account = ? AND name = ?",
                    (new + name.removeprefix(old), self._new_uid_validity(account), account, name),
                )

    def subscribe(self, account: int, name: str, subscribed: bool) -> None:
        """Raises `Refused`."""
        self.find_mailbox(account, name)
        self._subscribe(account, name, subscribed)

    def open_mailbox(self, mailbox: int, *, claim: bool = False) -> Mailbox:
        """With `claim` as in `flags`. Raises `Refused`."""
        row = self._db.execute(
            "SELECT account, uid_validity, uid_next FROM mailboxes WHERE id = ?", (mailbox,)
        ).fetchone()
        if row is None:
            raise Refused("NONEXISTENT", "There is no such mailbox")
        account, uid_validity, uid_next = row
        keywords = self._keywords.of(account)
        return Mailbox(
            mailbox,
            uid_validity,
            uid_next,
            tuple(self.flags(mailbox, claim=claim)),
            tuple(keywords),
            self._keywords.have_room(account),
        )

    def status(self, mailbox: int) -> MailboxStatus:
        """Raises `Refused`."""
        opened = self.open_mailbox(mailbox)
        unseen = sum("\\Seen" not in message.flags for message in opened.messages)
        recent = sum(message.recent for message in opened.messages)
        return MailboxStatus(len(opened.messages), recent, unseen, opened.uid_next, opened.uid_validity)

    def _create(self, account: int, name: str) -> None:
        self._db.execute(
            "INSERT INTO mailboxes (account, name, uid_validity) VALUES (?, ?, ?)",
            (account, name, self._new_uid_validity(account)),
        )

    def _subscribe(self, account: int, name: str, subscribed: bool) -> None:
        self._db.execute(
            "UPDATE mailboxes SET subscribed = ? WHERE account = ? AND name = ?", (subscribed, account, name)
        )

    def _new_uid_validity(self, account: int) -> int:
        """The clock, as the RFC proposes, but never what was given before: clocks are set back."""
        (value,) = self._db.execute(
            "UPDATE accounts SET last_uid_validity = max(last_uid_validity + 1, ?) WHERE id = ?"
            " RETURNING last_uid_validity",
            (int(time.time()), account),
        ).fetchone()
        return int(value)

    def _account_of(self, mailbox: int) -> int:
        """Raises `Refused` when the mailbox was deleted meanwhile."""
        row = self._db.execute("SELECT account FROM mailboxes WHERE id = ?", (mailbox,)).fetchone()
        if row is None:
            raise Refused("NONEXISTENT", "The mailbox was deleted")
        return int(row[0])

    # Messages

    def deliver(self, messages: Sequence[NewMessage]) -> None:
        """All of them, to all of their mailboxes, or none."""
        with self._transaction():
            for message in messages:
                if mailboxes := [each for each in message.mailboxes if self._is_new(each, message)]:
                    content = self._keep(message.content)
                    for mailbox in mailboxes:
                        self._add(mailbox, content, 0, message.received, len(message.content))
                if message.outgoing is not None:
                    self.outgoing.add(message.outgoing, time.time())

    def settle(self, sent: AtOneServer, became: Settlement) -> int | None:
        """Keep what became of mail for another server, with the report of it; the mailbox that this is in."""
        with self._transaction():
            self.outgoing.remove(sent.mail, became.over)
            self.outgoing.postpone(sent.mail, became.later, became.next_try)
            sender = self.account(sent.sender)
            if became.report is None or sender is None:
                return None
            self._add(sender.inbox, self._keep(became.report), 0, int(time.time()), len(became.report))
            return sender.inbox

    def _is_new(self, mailbox: int, message: NewMessage) -> bool:
        """False when it is in this mailbox already, or was."""
        if message.digest is None:
            return True
        self._db.execute("DELETE FROM came_in WHERE received < ?", (message.received - REMEMBERED,))
        came = self._db.execute(
            "INSERT OR IGNORE INTO came_in (mailbox, digest, received) VALUES (?, ?, ?)",
            (mailbox, message.digest, message.received),
        )
        return came.rowcount == 1

    def append(
        self, mailbox: int, content: bytes, flags: frozenset[str], received: int, *, quota: int
    ) -> Added:
        """Raises `Refused`."""
        account = self._account_of(mailbox)
        self._check_quota(account, len(content), quota)
        with self._transaction():
            bits = self._keywords.bits(account, flags, create=True)
            uid = self._add(mailbox, self._keep(content), bits, received, len(content))
            return Added(self._uid_validity(mailbox), uid)

    def copy(self, mailbox: int, uids: Sequence[int], target: int, *, quota: int) -> Copied:
        """Those that still exist, all or none. Raises `Refused`."""
        rows = self._rows(mailbox, uids)
        self._check_quota(self._account_of(target), sum(row[4] for row in rows), quota)
        with self._transaction():
            new = [self._add(target, *row[1:]) for row in rows]
            return Copied(self._uid_validity(target), tuple(row[0] for row in rows), tuple(new))

    def move(self, mailbox: int, uids: Sequence[int], target: int) -> Copied:
        """Those that still exist, all or none (RFC 6851). Raises `Refused`."""
        self._account_of(target)
        rows = self._rows(mailbox, uids)
        with self._transaction():
            new = [self._add(target, *row[1:]) for row in rows]
            self._remove(mailbox, [row[0] for row in rows])
            return Copied(self._uid_validity(target), tuple(row[0] for row in rows), tuple(new))

    def flags(self, mailbox: int, *, claim: bool = False) -> list[MessageFlags]:
        """Every message of the mailbox, by UID; none when it was deleted. With `claim` its news is told to somebody
        now, and is not recent to those who ask after that."""
        rows = self._db.execute(
            "SELECT uid, flags FROM messages WHERE mailbox = ? ORDER BY uid", (mailbox,)
        ).fetchall()
        if not rows:
            return []
        read = self._keywords.reader(self._account_of(mailbox))
        (first_recent,) = self._db.execute(
            "SELECT first_recent FROM mailboxes WHERE id = ?", (mailbox,)
        ).fetchone()
        if claim and rows[-1][0] >= first_recent:
            self._claim(mailbox, rows[-1][0])
        return [MessageFlags(uid, read(bits), uid >= first_recent) for uid, bits in rows]

    def _claim(self, mailbox: int, newest: int) -> None:
        """Not worth a wait for the disk: it gets there with the next commit."""
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute("UPDATE mailboxes SET first_recent = ? WHERE id = ?", (newest + 1, mailbox))
        self._db.execute("PRAGMA synchronous = FULL")

    def fetch(self, mailbox: int, uids: Sequence[int], part: Part, *, mark_seen: bool) -> list[Message]:
        """Those of the messages that still exist, in the order of `uids`. Raises `Refused`."""
        read = self._keywords.reader(self._account_of(mailbox))
        if mark_seen:
            self.change_flags(mailbox, uids, FlagChange.ADD, frozenset({"\\Seen"}))
        query = (
            f"SELECT m.uid, m.flags, m.received, m.size, {_COLUMNS[part]}"  # noqa: S608 - from a fixed table
            " FROM messages m JOIN contents c ON c.id = m.content WHERE m.mailbox = ? AND m.uid = ?"
        )
        rows = (self._db.execute(query, (mailbox, uid)).fetchone() for uid in uids)
        return [Message(row[0], read(row[1]), *row[2:]) for row in rows if row is not None]

    def change_flags(
        self, mailbox: int, uids: Sequence[int], change: FlagChange, flags: frozenset[str]
    ) -> list[MessageFlags]:
        """The new flags of those messages that still exist. Raises `Refused`."""
        account = self._account_of(mailbox)
        changed = []
        with self._transaction():
            wanted = self._keywords.bits(account, flags, create=change is not FlagChange.REMOVE)
            read = self._keywords.reader(account)
            for uid, _content, old, *_rest in self._rows(mailbox, uids):
                new = change.apply(old, wanted)
                changed.append(MessageFlags(uid, read(new)))
                if new != old:
                    self._db.execute(
                        "UPDATE messages SET flags = ? WHERE mailbox = ? AND uid = ?", (new, mailbox, uid)
                    )
        return changed

    def expunge(self, mailbox: int, among: Sequence[int] | None) -> list[int]:
        """Remove the messages with `\\Deleted`, all or those `among` these UIDs, and return their UIDs."""
        rows = self._db.execute(
            "SELECT uid FROM messages WHERE mailbox = ? AND flags & ? ORDER BY uid", (mailbox, _DELETED)
        )
        chosen = None if among is None else set(among)
        doomed = [uid for (uid,) in rows if chosen is None or uid in chosen]
        with self._transaction():
            self._remove(mailbox, doomed)
        return doomed

    def _check_quota(self, account: int, size: int, quota: int) -> None:
        if self.used_bytes(account) + size > quota:
            raise Refused("OVERQUOTA", "The account is full")

    def _uid_validity(self, mailbox: int) -> int:
        (value,) = self._db.execute("SELECT uid_validity FROM mailboxes WHERE id = ?", (mailbox,)).fetchone()
        return int(value)

    def _uids(self, mailbox: int) -> list[int]:
        return [uid for (uid,) in self._db.execute("SELECT uid FROM messages WHERE mailbox = ?", (mailbox,))]

    def _rows(self, mailbox: int, uids: Sequence[int]) -> list[tuple[int, int, int, int, int]]:
        """UID, content, flags, time and size of those that exist, in the order of `uids`."""
        query = "SELECT uid, content, flags, received, size FROM messages WHERE mailbox = ? AND uid = ?"
        rows = (self._db.execute(query, (mailbox, uid)).fetchone() for uid in uids)
        return [row for row in rows if row is not None]

    def _keep(self, content: bytes) -> int:
        end = content.find(b"\r\n\r\n") + 4
        header, text = (content, b"") if end == 3 else (content[:end], content[end:])
        kept = self._db.execute(
            "INSERT INTO contents (header, text) VALUES (?, zeroblob(?))", (header, len(text))
        )
        assert kept.lastrowid is not None
        if text:  # given to the statement itself, SQLite would keep a copy of it until the next mail
            with self._db.blobopen("contents", "text", kept.lastrowid) as blob:
                blob.write(text)
        return kept.lastrowid

    def _add(self, mailbox: int, content: int, flags: int, received: int, size: int) -> int:
        """Its UID. A mailbox that was deleted meanwhile is left out (0)."""
        row = self._db.execute(
            "UPDATE mailboxes SET uid_next = uid_next + 1 WHERE id = ? RETURNING uid_next - 1", (mailbox,)
        ).fetchone()
        if row is None:
            return 0
        self._db.execute(
            "INSERT INTO messages (mailbox, uid, content, flags, received, size) VALUES (?, ?, ?, ?, ?, ?)",
            (mailbox, row[0], content, flags, received, size),
        )
        return int(row[0])

    def _remove(self, mailbox: int, uids: Sequence[int]) -> None:
        contents = [content for _uid, content, *_rest in self._rows(mailbox, uids)]
        self._db.executemany(
            "DELETE FROM messages WHERE mailbox = ? AND uid = ?", [(mailbox, uid) for uid in uids]
        )
        self._db.executemany(
            "DELETE FROM contents WHERE id = ? AND NOT EXISTS (SELECT 1 FROM messages WHERE content = ?)",
            [(content, content) for content in contents],
        )
