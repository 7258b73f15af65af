"""The tables of the mail database.

Row IDs are never used twice (AUTOINCREMENT): a session that still has a deleted mailbox open must not find itself
in the next one that somebody creates.
"""

from __future__ import annotations

import sqlite3

__all__ = ["create_tables"]

VERSION = 4
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
OF_FEDERATION = """
CREATE TABLE outgoing_mails (
    id INTEGER PRIMARY KEY AUTOINCREMENT, sender TEXT NOT NULL, content BLOB NOT NULL, accepted REAL NOT NULL);
CREATE TABLE outgoing (
    mail INTEGER NOT NULL REFERENCES outgoing_mails, domain TEXT NOT NULL, recipient TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, next_try REAL NOT NULL, UNIQUE (mail, recipient));
CREATE TABLE came_in (
    mailbox INTEGER NOT NULL, digest BLOB NOT NULL, received INTEGER NOT NULL,
    PRIMARY KEY (mailbox, digest)) WITHOUT ROWID;
CREATE INDEX came_in_by_time ON came_in (received);
"""


FROM_VERSION_2 = "ALTER TABLE mailboxes ADD COLUMN first_recent INTEGER NOT NULL DEFAULT 1"


def create_tables(database: sqlite3.Connection) -> None:
    """Create those that are not there yet, or bring them up to date, in the transaction of the caller."""
    (version,) = database.execute("PRAGMA user_version").fetchone()
    if version == 0:
        _execute(database, TABLES)
    elif version == 2:
        database.execute(FROM_VERSION_2)
    elif version not in (3, VERSION):
        raise sqlite3.DatabaseError(f"it has schema {version}, this program knows {VERSION}")
    if version != VERSION:
        _execute(database, OF_FEDERATION)
    database.execute(f"PRAGMA user_version = {VERSION}")


def _execute(database: sqlite3.Connection, statements: str) -> None:
    for statement in statements.split(";"):
        database.execute(statement)
