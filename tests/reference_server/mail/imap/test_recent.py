r"""`\Recent` and what a session is told of it (RFC 3501 sections 2.3.2, 6.4.4 and 7.3.2), as scripts."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from reference_server.mail.store import Store
from tests.reference_server.mail.imap.dialogue import World, logged_in, selected


def test_mail_is_recent_to_the_first_session_that_hears_of_it(world: World) -> None:
    world.deliver()
    world.deliver()
    logged_in(world).run(r"""
        C: a STATUS INBOX (MESSAGES RECENT)
        S: * STATUS INBOX (MESSAGES 2 RECENT 2)
        S: a OK ...
        C: b EXAMINE INBOX
        S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft)
        S: * OK [PERMANENTFLAGS ()] ...
        S: * 2 EXISTS
        S: * 2 RECENT
        S: * OK ...
        S: * OK ...
        S: * OK ...
        S: b OK [READ-ONLY] ...
        C: c SEARCH RECENT
        S: * SEARCH 1 2
        S: c OK ...
        C: d SELECT INBOX
        S: * FLAGS ...
        S: * OK [PERMANENTFLAGS ...
        S: * 2 EXISTS
        S: * 2 RECENT
        S: * OK ...
        S: * OK ...
        S: * OK ...
        S: d OK [READ-WRITE] ...
        C: e FETCH 1:* FLAGS
        S: * 1 FETCH (FLAGS (\Recent))
        S: * 2 FETCH (FLAGS (\Recent))
        S: e OK ...
        C: f STATUS INBOX (RECENT)
        S: * STATUS INBOX (RECENT 0)
        S: f OK ...
        MAIL
        C: g NOOP
        S: * 3 EXISTS
        S: * 3 RECENT
        S: g OK ...
    """)
    logged_in(world).run(r"""
        C: a SELECT INBOX
        S: * FLAGS ...
        S: * OK [PERMANENTFLAGS ...
        S: * 3 EXISTS
        S: * 0 RECENT
        S: * OK ...
        S: * OK ...
        S: * OK ...
        S: a OK ...
        MAIL
        C: b NOOP
        S: * 4 EXISTS
        S: * 1 RECENT
        S: b OK ...
        C: c SEARCH OLD
        S: * SEARCH 1 2 3
        S: c OK ...
    """)


def test_searching_for_what_is_new(world: World) -> None:
    world.deliver()
    selected(world)
    world.deliver()
    world.deliver()
    selected(world).run(r"""
        C: a STORE 2 +FLAGS (\Seen)
        S: * 2 FETCH (UID 2 FLAGS (\Seen \Recent))
        S: a OK ...
        C: b SEARCH RECENT
        S: * SEARCH 2 3
        S: b OK ...
        C: c SEARCH NEW
        S: * SEARCH 3
        S: c OK ...
        C: d SEARCH OLD
        S: * SEARCH 1
        S: d OK ...
        C: e SEARCH NOT NEW
        S: * SEARCH 1 2
        S: e OK ...
        C: f UID SEARCH RECENT SUBJECT hello
        S: * SEARCH 2 3
        S: f OK ...
    """)


def test_of_two_sessions_one_has_it(world: World) -> None:
    first, second = selected(world), selected(world)
    world.deliver()
    first.run("""
        C: a NOOP
        S: * 1 EXISTS
        S: * 1 RECENT
        S: a OK ...
    """)
    second.run("""
        C: a NOOP
        S: * 1 EXISTS
        S: * 0 RECENT
        S: a OK ...
    """)


def test_what_is_expunged_is_not_recent_any_more(world: World) -> None:
    world.deliver()
    world.deliver()
    selected(world).run(r"""
        C: a STORE 1 +FLAGS.SILENT (\Deleted)
        S: a OK ...
        C: b EXPUNGE
        S: * 1 EXPUNGE
        S: b OK ...
        C: c SEARCH RECENT
        S: * SEARCH 1
        S: c OK ...
        MAIL
        C: d NOOP
        S: * 2 EXISTS
        S: * 2 RECENT
        S: d OK ...
    """)


def test_a_copy_is_recent_where_it_went(world: World) -> None:
    world.deliver()
    selected(world).run(r"""
        C: a CREATE Saved
        S: a OK ...
        C: b COPY 1 Saved
        S: b OK ...
        C: c STATUS Saved (RECENT UNSEEN)
        S: * STATUS Saved (RECENT 1 UNSEEN 1)
        S: c OK ...
    """)


def test_nobody_sets_it(world: World) -> None:
    world.deliver()
    selected(world)
    selected(world).run(r"""
        C: a STORE 1 +FLAGS (\Recent)
        S: * 1 FETCH (UID 1 FLAGS ())
        S: a OK ...
        C: b SEARCH RECENT
        S: * SEARCH
        S: b OK ...
    """)


def test_a_restart_makes_nothing_recent(world: World) -> None:
    world.deliver()
    selected(world)
    world.restart()
    world.deliver()
    logged_in(world).run("""
        C: a STATUS INBOX (MESSAGES RECENT)
        S: * STATUS INBOX (MESSAGES 2 RECENT 1)
        S: a OK ...
    """)


def test_a_database_from_before_has_it_too(tmp_path: Path) -> None:
    """Schema 2 did not know of it."""
    file = tmp_path / "mail.sqlite"
    store = Store(file)
    store.create_account("alice@chatmail.test", "hash", limit=1)
    store.close()
    database = sqlite3.connect(file)
    database.execute("ALTER TABLE mailboxes DROP COLUMN first_recent")
    for table in ("outgoing", "outgoing_mails", "came_in"):
        database.execute(f"DROP TABLE {table}")
    database.execute("PRAGMA user_version = 2")
    database.commit()
    database.close()
    store = Store(file)
    account = store.account("alice@chatmail.test")
    assert account is not None
    assert store.status(account.inbox).recent == 0
    store.close()
