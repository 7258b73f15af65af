"""Folders, as scripts: create, delete, rename, list, subscribe, append, quota, metadata."""

from __future__ import annotations

import re
import time

import pytest

from reference_server.mail.imap.arguments import ListPattern
from reference_server.mail.settings import Limits
from tests.reference_server.mail.imap.dialogue import Dialogue, World, logged_in, selected


def test_folders_come_and_go(world: World) -> None:
    logged_in(world).run(r"""
        C: a CREATE Archive/2026/May
        S: a OK CREATE completed
        C: b LIST "" *
        S: * LIST (\HasChildren) "/" Archive
        S: * LIST (\HasChildren) "/" "Archive/2026"
        S: * LIST (\HasNoChildren) "/" "Archive/2026/May"
        S: * LIST (\HasNoChildren) "/" INBOX
        S: b OK LIST completed
        C: c LIST "" %
        S: * LIST (\HasChildren) "/" Archive
        S: * LIST (\HasNoChildren) "/" INBOX
        S: c OK LIST completed
        C: d LIST Archive/ %
        S: * LIST (\HasChildren) "/" "Archive/2026"
        S: d OK LIST completed
        C: e DELETE Archive/2026
        S: e NO [CANNOT] ...
        C: f DELETE Archive/2026/May
        S: f OK DELETE completed
        C: g DELETE Archive/2026/May
        S: g NO [NONEXISTENT] ...
        C: h CREATE archive/2026
        S: h OK CREATE completed
        C: i CREATE inbox
        S: i NO [ALREADYEXISTS] ...
        C: j DELETE INBOX
        S: j NO [CANNOT] ...
        C: k LIST "" inb%
        S: * LIST (\HasNoChildren) "/" INBOX
        S: k OK LIST completed
    """)


def test_subscriptions(world: World) -> None:
    logged_in(world).run(r"""
        C: a CREATE Sent
        S: a OK CREATE completed
        C: b LSUB "" *
        S: * LSUB (\HasNoChildren) "/" INBOX
        S: b OK LSUB completed
        C: c SUBSCRIBE Sent
        S: c OK SUBSCRIBE completed
        C: d UNSUBSCRIBE INBOX
        S: d OK UNSUBSCRIBE completed
        C: e LSUB "" *
        S: * LSUB (\HasNoChildren) "/" Sent
        S: e OK LSUB completed
        C: f SUBSCRIBE Nowhere
        S: f NO [NONEXISTENT] ...
    """)


def test_rename_takes_along_what_is_below(world: World) -> None:
    logged_in(world).run(r"""
        C: a CREATE a/b
        S: a OK ...
        C: b APPEND a/b {10}
        S: + OK
        C: Subject: x
        S: b OK [APPENDUID ... 1] APPEND completed
        C: c RENAME a x/y
        S: c OK RENAME completed
        C: d LIST "" *
        S: * LIST (\HasNoChildren) "/" INBOX
        S: * LIST (\HasChildren) "/" x
        S: * LIST (\HasChildren) "/" "x/y"
        S: * LIST (\HasNoChildren) "/" "x/y/b"
        S: d OK LIST completed
        C: e STATUS x/y/b (MESSAGES UIDNEXT)
        S: * STATUS "x/y/b" (MESSAGES 1 UIDNEXT 2)
        S: e OK STATUS completed
        C: f RENAME x x/z
        S: f NO [CANNOT] ...
        C: g RENAME nothing z
        S: g NO [NONEXISTENT] ...
        C: h RENAME x/y INBOX
        S: h NO [ALREADYEXISTS] ...
    """)


def test_rename_of_the_inbox_moves_its_messages(world: World) -> None:
    world.deliver()
    selected(world).run(r"""
        C: a RENAME INBOX Old
        S: * 1 EXPUNGE
        S: a OK RENAME completed
        C: b STATUS INBOX (MESSAGES UIDNEXT)
        S: * STATUS INBOX (MESSAGES 0 UIDNEXT 2)
        S: b OK STATUS completed
        C: c STATUS Old (MESSAGES UIDNEXT)
        S: * STATUS Old (MESSAGES 1 UIDNEXT 2)
        S: c OK STATUS completed
    """)


@pytest.mark.parametrize(
    "name",
    [
        *("../../etc/passwd", "/etc/passwd", "a/../b", "a//b", "./a", "~root", "#news", "..", "a/."),
        *('"a*"', '"a%b"', '""', '"tö"', '"a\tb"', "a" * 256, "/".join("a" * 11)),
    ],
)
def test_paths_and_patterns_are_no_names(world: World, name: str) -> None:
    dialogue = logged_in(world)
    dialogue.run(f"""
        C: a CREATE {name}
        S: a NO [CANNOT] ...
        C: b RENAME INBOX {name}
        S: b NO [CANNOT] ...
    """)
    assert [folder.name for folder in world.store.folders(world.account.id)] == ["INBOX"]


def test_a_path_opens_nothing(world: World) -> None:
    dialogue = logged_in(world)
    for name in ("../INBOX", "bob@chatmail.test/INBOX", "user/bob", "INBOX/..", '"INBOX\\\\"'):
        dialogue.run(f"""
            C: a SELECT {name}
            S: a NO [NONEXISTENT] There is no such mailbox
        """)


def test_there_is_a_limit_to_mailboxes(world: World) -> None:
    logged_in(world, limits=Limits(mailboxes=3)).run("""
        C: a CREATE a/b/c
        S: a NO [LIMIT] ...
        C: b CREATE a/b
        S: b OK ...
        C: c CREATE c
        S: c NO [LIMIT] ...
        C: d RENAME INBOX c
        S: d NO [LIMIT] ...
    """)


def test_a_list_pattern_of_a_troublemaker_costs_little() -> None:
    started = time.monotonic()
    assert not ListPattern("*a" * 127).matches("a" * 126 + "b")
    assert ListPattern("*%" * 127).matches("a/" * 127)
    assert time.monotonic() - started < 10


def test_append_with_flags_and_date(world: World) -> None:
    dialogue = logged_in(world)
    dialogue.receive(
        b'a APPEND INBOX (\\Seen $Work) "01-Feb-2026 12:30:00 +0130" {22+}\r\nSubject: kept\r\n\r\nbody.\r\n'
        b"b SELECT INBOX\r\nc FETCH 1 (FLAGS INTERNALDATE BODY.PEEK[])\r\n"
    )
    assert re.search(rb"a OK \[APPENDUID \d+ 1\] APPEND completed\r\n", dialogue.sent)
    assert (
        b'* 1 FETCH (FLAGS (\\Seen \\Recent $Work) INTERNALDATE "01-Feb-2026 11:00:00 +0000"'
        b" BODY[] {22}\r\nSubject: kept\r\n\r\nbody.)\r\n"
    ) in dialogue.sent


def test_the_year_of_a_mail_has_four_digits_in_utc_too(world: World) -> None:
    dialogue = logged_in(world)
    dialogue.receive(
        b'a APPEND INBOX "31-Dec-9999 23:59:59 -0900" {1+}\r\nx\r\nb SELECT INBOX\r\nc FETCH 1 INTERNALDATE\r\n'
    )
    assert b'(INTERNALDATE "31-Dec-9999 23:59:59 +0000")' in dialogue.sent


def test_append_that_cannot_be(world: World) -> None:
    logged_in(world, limits=Limits(quota=20)).run(r"""
        C: a APPEND Nowhere {3}
        S: + OK
        C: abc
        S: a NO [TRYCREATE] ...
        C: b APPEND INBOX {0}
        S: + OK
        C:
        S: b NO [CANNOT] ...
        C: c APPEND INBOX {21}
        S: + OK
        C: 123456789012345678901
        S: c NO [OVERQUOTA] ...
        C: d APPEND INBOX (\Seen) "31-Feb-2026 12:30:00 +0000" {1}
        S: + OK
        C: x
        S: d BAD ...
        C: e APPEND INBOX atom
        S: e BAD ...
        C: f STATUS INBOX (MESSAGES UIDNEXT)
        S: * STATUS INBOX (MESSAGES 0 UIDNEXT 1)
        S: f OK ...
    """)


def test_append_wakes_the_others(world: World) -> None:
    watching = selected(world)
    watching.receive(b"a IDLE\r\n")
    watching.sent = b""
    logged_in(world).receive(b"a APPEND INBOX {3+}\r\nabc\r\n")
    watching.work()
    assert watching.sent == b"* 1 EXISTS\r\n* 1 RECENT\r\n"


def test_a_deleted_mailbox_empties_under_its_readers(world: World) -> None:
    dialogue = logged_in(world)
    dialogue.receive(b"a CREATE Tmp\r\na APPEND Tmp {3+}\r\nabc\r\na SELECT Tmp\r\n")
    dialogue.sent = b""
    dialogue.run(r"""
        OTHER: DELETE Tmp
        OTHER: CREATE Other
        OTHER: APPEND Other "secret"
        C: b NOOP
        S: * 1 EXPUNGE
        S: b OK NOOP completed
        C: c UID FETCH 1:* BODY[]
        S: c OK UID FETCH completed
    """)


def test_namespace_and_quota(world: World) -> None:
    world.deliver()
    logged_in(world).run("""
        C: a NAMESPACE
        S: * NAMESPACE (("" "/")) NIL NIL
        S: a OK NAMESPACE completed
        C: b GETQUOTA "User quota"
        S: * QUOTA "User quota" (STORAGE 1 512000)
        S: b OK GETQUOTA completed
        C: c GETQUOTA "Other"
        S: c NO [NONEXISTENT] ...
    """)


def test_metadata_depth_and_size(world: World) -> None:
    logged_in(world).run("""
        C: a GETMETADATA (DEPTH infinity) "" /shared/vendor
        S: * METADATA "" (/shared/vendor/deltachat/irohrelay {21}
        S: http://127.0.0.1:3340 /shared/vendor/deltachat/maxsmtprecipients {4}
        S: 1000 /shared/vendor/deltachat/appversions {155}
        S: {...})
        S: a OK Getmetadata completed
        C: b GETMETADATA (DEPTH 1) "" /shared/vendor
        S: b OK Getmetadata completed
        C: c GETMETADATA "" (DEPTH 1 MAXSIZE 4) /shared/vendor/deltachat
        S: * METADATA "" (/shared/vendor/deltachat/maxsmtprecipients {4}
        S: 1000)
        S: c OK [METADATA LONGENTRIES 155] Getmetadata completed
        C: d GETMETADATA (DEPTH 2) "" /shared
        S: d BAD ...
        C: e GETMETADATA (MAXSIZE -1) "" /shared
        S: e BAD ...
        C: f GETMETADATA "Nowhere" /private/devicetoken
        S: f NO [NONEXISTENT] ...
    """)


def test_device_tokens_add_up(world: World) -> None:
    logged_in(world, limits=Limits(device_tokens=2, device_token=8)).run("""
        C: a GETMETADATA INBOX /private/devicetoken
        S: a OK Getmetadata completed
        C: b SETMETADATA "INBOX" (/private/devicetoken "one")
        S: b OK Setmetadata completed
        C: c SETMETADATA INBOX (/private/devicetoken "two")
        S: c OK Setmetadata completed
        C: d GETMETADATA "INBOX" /private/devicetoken
        S: * METADATA "INBOX" (/private/devicetoken {7}
        S: one two)
        S: d OK Getmetadata completed
        C: e SETMETADATA INBOX (/private/devicetoken "three")
        S: e OK Setmetadata completed
        C: f GETMETADATA "INBOX" /private/devicetoken
        S: * METADATA "INBOX" (/private/devicetoken {9}
        S: two three)
        S: f OK Getmetadata completed
        C: g SETMETADATA INBOX (/private/devicetoken "ninechars")
        S: g NO [METADATA MAXSIZE 8] ...
        C: h SETMETADATA INBOX (/private/comment "x")
        S: h NO [NOPERM] ...
        C: i SETMETADATA "" (/shared/comment "x")
        S: i NO [NOPERM] ...
        C: j SETMETADATA INBOX (/private/devicetoken NIL)
        S: j OK Setmetadata completed
        C: k GETMETADATA "INBOX" /private/devicetoken
        S: k OK Getmetadata completed
    """)


def test_device_tokens_expire(world: World) -> None:
    store, account = world.store, world.account.id
    store.add_device_token(account, "old", now=0, lifetime=100, limit=10)
    store.add_device_token(account, "new", now=50, lifetime=100, limit=10)
    assert store.device_tokens(account, now=99) == ["old", "new"]
    assert store.device_tokens(account, now=100) == ["new"]


def test_bad_arguments_change_nothing(world: World) -> None:
    for line in (
        "CREATE",
        "DELETE a b",
        "RENAME a",
        "LIST a",
        "SUBSCRIBE",
        "NAMESPACE (",
        "SETMETADATA INBOX",
    ):
        dialogue = Dialogue(world)
        dialogue.receive(b'0 LOGIN "alice@chatmail.test" "first password"\r\n')
        dialogue.sent = b""
        dialogue.receive(f"a {line}\r\n".encode())
        assert dialogue.sent.startswith(b"a BAD "), line
