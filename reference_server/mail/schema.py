"""The tables of the mail database.

Row IDs are never used twice (AUTOINCREMENT): a session that still has a deleted mailbox open must not find itself
in the next one that somebody creates.
"""

from __future__ import annotations

import sqlite3

__all__ = ["create_tables"]

VERSION = 3
TABLES = """
CREATE TABLE accounts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, address TEXT NOT NULL UNIQUE, password_hash TEXT NOT NULL,
    last_uid_validity INTEGER NOT NULL DEFAULT 0);
CREATE TABLE mailboxes (
    id INTEGER PRIMARY KEY AUTOINCREMENT, account INTEGER NOT NULL REFERENCES accounts, name TEXT NOT NULL,
    uid_validity INTEGER NOT NULL, uid_next INTEGER NOT NULL DEFAULT 1, subscribed INTEGER NOT NULL DEFAULT 0,
    first_recent INTEGER NOT NULL DEFAULT 1, UNIQUE (account, name));
CREATE TABLE keywords (
    account INTEGER NOT NULL REFERENCES accounts, bit INTEGER NOT NULL, name TEXT NOT NULL COLLATE NOCASE,
    PRIMARY KEY (account, bit), UNIQUE (account, name)) WITHOUT ROWID;
CREATE TABLE contents (
    id INTEGER PRIMARY KEY, header BLOB NOT NULL, text BLOB NOT NULL);
CREATE TABLE messages (
    mailbox INTEGER NOT NULL REFERENCES mailboxes, uid INTEGER NOT NULL,
    content INTEGER NOT NULL REFERENCES contents, flags INTEGER NOT NULL DEFAULT 0,
    received INTEGER NOT NULL, size INTEGER NOT NULL, PRIMARY KEY (mailbox, uid)) WITHOUT ROWID;
CREATE INDEX messages_by_content ON messages (content);
CREATE TABLE device_tokens (
    id INTEGER PRIMARY KEY, account INTEGER NOT NULL REFERENCES accounts, token TEXT NOT NULL,
    expires INTEGER NOT NULL, UNIQUE (account, token));
"""


FROM_VERSION_2 = "ALTER TABLE mailboxes ADD COLUMN first_recent INTEGER NOT NULL DEFAULT 1"


def create_tables(database: sqlite3.Connection) -> None:
    """Create those that are not there yet, or bring them up to date, in the transaction of the caller."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version == 0:
        for statement in TABLES.split(";"):
            database.execute(statement)
    elif version == 2:
        database.execute(FROM_VERSION_2)
    elif version != VERSION:
        raise sqlite3.DatabaseError(f"it has schema {version}, this program knows {VERSION}")
    database.execute(f"PRAGMA user_version = {VERSION}")
