"""Messages, as scripts: every FETCH item, SEARCH key and way to move, mark and remove them."""

from __future__ import annotations

import email
import email.message
import email.policy
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_server.mail.imap.addresses import addresses
from reference_server.mail.imap.entities import MAX_ENTITIES, Entity, read_entity
from reference_server.mail.imap.structure import body_structure, envelope
from reference_server.mail.settings import Limits
from tests.reference_server.mail.imap.dialogue import World, logged_in, selected

NESTED = b"""\
Date: Mon, 7 Feb 2026 21:52:25 -0800\r
From: "Alice A." <alice@chatmail.test>\r
Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r
To: bob@chatmail.test, Carol <carol@example.org>\r
Cc: hidden-recipients: ;\r
Message-ID: <1@chatmail.test>\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary="b1"\r
\r
preamble\r
--b1\r
Content-Type: text/plain; charset=utf-8\r
Content-Transfer-Encoding: base64\r
\r
Z2VoZWltbmlz\r
--b1\r
Content-Type: message/rfc822\r
Content-Disposition: attachment; filename="in.eml"\r
\r
From: inner@example.org\r
Subject: inner\r
Content-Type: multipart/alternative; boundary=b2\r
\r
--b2\r
\r
plain inner\r
--b2\r
Content-Type: text/html\r
\r
<b>inner</b>\r
--b2--\r
\r
--b1--\r
"""


def fetched(world: World, item: str) -> bytes:
    """What `UID FETCH` answers for an item, without the shell around it."""
    dialogue = selected(world)
    dialogue.receive(f"a UID FETCH 1 ({item})\r\n".encode())
    answer, end, rest = dialogue.sent.rpartition(b")\r\na OK UID FETCH completed\r\n")
    assert end and not rest, dialogue.sent
    return answer.removeprefix(b"* 1 FETCH (UID 1 ")


def literal(data: bytes) -> bytes:
    return b"{%d}\r\n%b" % (len(data), data)


INNER = NESTED.split(b'filename="in.eml"\r\n\r\n')[1].split(b"\r\n--b1--")[0]


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("", NESTED),
        ("HEADER", NESTED[: NESTED.index(b"preamble")]),
        ("TEXT", NESTED[NESTED.index(b"preamble") :]),
        ("1", b"Z2VoZWltbmlz"),
        ("1.MIME", b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"),
        ("2", INNER),
        ("2.HEADER", INNER[: INNER.index(b"--b2")]),
        ("2.TEXT", INNER[INNER.index(b"--b2") :]),
        ("2.HEADER.FIELDS (SUBJECT)", b"Subject: inner\r\n\r\n"),
        ("2.HEADER.FIELDS.NOT (SUBJECT CONTENT-TYPE)", b"From: inner@example.org\r\n\r\n"),
        ("2.1", b"plain inner"),
        ("2.2", b"<b>inner</b>"),
        ("2.2.MIME", b"Content-Type: text/html\r\n\r\n"),
        (
            "HEADER.FIELDS (message-id DATE)",
            NESTED.split(b"\r\n")[0] + b"\r\nMessage-ID: <1@chatmail.test>\r\n\r\n",
        ),
    ],
)
def test_sections(world: World, section: str, expected: bytes) -> None:
    world.deliver(NESTED)
    assert fetched(world, f"BODY.PEEK[{section}]") == f"BODY[{section}] ".encode() + literal(expected)
    partial = fetched(world, f"BODY.PEEK[{section}]<3.5>")
    assert partial == f"BODY[{section}]<3> ".encode() + literal(expected[3:8])
    beyond = fetched(world, f"BODY.PEEK[{section}]<99999.5>")
    assert beyond == f"BODY[{section}]<99999> ".encode() + literal(b"")


@pytest.mark.parametrize("section", ["3", "1.1", "1.HEADER", "2.3", "2.2.1", "9999.1", "1.1.1.1.1.1.1.1.1.1"])
def test_a_part_that_is_not_there_is_nil(world: World, section: str) -> None:
    world.deliver(NESTED)
    assert fetched(world, f"BODY.PEEK[{section}]") == f"BODY[{section}] NIL".encode()


@pytest.mark.parametrize(
    "item",
    [
        *(
            "BODY[0]",
            "BODY[1.]",
            "BODY[.1]",
            "BODY[MIME]",
            "BODY[X]",
            "BODY[]<1>",
            "BODY[]<0.0>",
            "BODY[]<-1.5>",
        ),
        *("BODY[HEADER.FIELDS]", "BODY[HEADER.FIELDS ()]", "RFC822.NOTHING", '"FLAGS"', "()", "BODY.PEEK"),
        "BODY[1.1.1.1.1.1.1.1.1.1.1]",
    ],
)
def test_items_that_do_not_exist(world: World, item: str) -> None:
    world.deliver()
    selected(world).run(f"""
        C: a FETCH 1 {item}
        S: a BAD ...
    """)


def test_a_message_without_parts_is_its_own_first(world: World) -> None:
    world.deliver()
    assert fetched(world, "BODY.PEEK[1]") == b"BODY[1] {7}\r\nworld\r\n"
    assert fetched(world, "RFC822.TEXT") == b"RFC822.TEXT {7}\r\nworld\r\n FLAGS (\\Seen)"


def test_envelope(world: World) -> None:
    world.deliver(NESTED)
    alice = b'(("Alice A." NIL "alice" "chatmail.test"))'
    assert fetched(world, "ENVELOPE") == (
        b'ENVELOPE ("Mon, 7 Feb 2026 21:52:25 -0800" "=?utf-8?q?gr=C3=BC=C3=9Fe?="'
        b" %b %b %b "
        b'((NIL NIL "bob" "chatmail.test")("Carol" NIL "carol" "example.org"))'
        b' ((NIL NIL "hidden-recipients" NIL)(NIL NIL NIL NIL)) NIL NIL "<1@chatmail.test>")'
    ) % (alice, alice, alice)


def test_body_structure(world: World) -> None:
    world.deliver(NESTED)
    inner = b'("inner" NIL "inner" "example.org")'.replace(b'"inner" NIL', b"NIL NIL")
    assert fetched(world, "BODY") == (
        b'BODY (("text" "plain" ("charset" "utf-8") NIL NIL "base64" 12 0)'
        b'("message" "rfc822" NIL NIL NIL "7bit" %d (NIL "inner" (%b) (%b) (%b) NIL NIL NIL NIL NIL)'
        b' (("text" "plain" NIL NIL NIL "7bit" 11 0)("text" "html" NIL NIL NIL "7bit" 12 0) "alternative")'
        b' %d) "mixed")'
    ) % (len(INNER), inner, inner, inner, INNER.count(b"\n"))
    extended = fetched(world, "BODYSTRUCTURE")
    assert b'("attachment" ("filename" "in.eml"))' in extended
    assert b'"alternative" ("boundary" "b2") NIL NIL NIL) 12 NIL ("attachment" ' in extended
    assert extended.endswith(b'"mixed" ("boundary" "b1") NIL NIL NIL)')


@pytest.mark.parametrize(
    ("macro", "items"),
    [
        ("FAST", (b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE")),
        ("ALL", (b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE", b"ENVELOPE")),
        ("FULL", (b"FLAGS", b"INTERNALDATE", b"RFC822.SIZE", b"ENVELOPE", b"BODY")),
    ],
)
def test_macros(world: World, macro: str, items: tuple[bytes, ...]) -> None:
    world.deliver()
    dialogue = selected(world)
    dialogue.receive(f"a FETCH 1 {macro}\r\n".encode())
    positions = [dialogue.sent.index(item + b" ") for item in items]
    assert positions == sorted(positions)
    assert dialogue.sent.count(b"\r\n") == 2


def test_the_same_message_many_times_over_is_refused(world: World) -> None:
    world.deliver(b"Subject: x\r\n\r\n" + b"x" * 1_000_000)
    dialogue = selected(world)
    items = " ".join(f"BODY.PEEK[]<{offset}.9999999>" for offset in range(30))
    dialogue.receive(f"a FETCH 1 ({items})\r\n".encode())
    assert dialogue.sent.startswith(b"a NO [LIMIT] ")


WORDS = (
    b'Content-Type: |multipart/mixed; |message/rfc822|boundary=|"b|b"|"|b|\r\n|\r\n\r\n|--b|--|;|text/plain|To: |From: '
    b"|<a@b>|,|(|\\|=?utf-8?q?|?=|charset*0*=x'|\xff|\x00|\n|\r| |Date: |Content-Disposition: "
).split(b"|")


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(WORDS) | st.binary(max_size=4), max_size=40).map(b"".join))
def test_any_message_has_a_structure(content: bytes) -> None:
    entity = read_entity(content)
    assert balanced(body_structure(entity, extended=True))
    assert balanced(body_structure(entity, extended=False))
    assert balanced(envelope(content))


def balanced(data: bytes) -> bool:
    """Whether the reader of the server takes it for one list; literals count by their size."""
    depth, position = 0, 0
    while position < len(data):
        letter = data[position : position + 1]
        if letter == b'"':
            position += 1
            while data[position : position + 1] != b'"':
                position += 2 if data[position : position + 1] == b"\\" else 1
        elif letter == b"{":
            end = data.index(b"}\r\n", position)
            position = end + 2 + int(data[position + 1 : end])
        depth += (letter == b"(") - (letter == b")")
        position += 1
        if depth == 0 and position < len(data):
            return False
    return depth == 0


def test_a_forest_of_parts_is_cut(world: World) -> None:
    content = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\nx\r\n" * 100_000
    started = time.monotonic()
    assert count(read_entity(content)) <= MAX_ENTITIES + 1
    deep = b"Content-Type: message/rfc822\r\n\r\n" * 100_000
    assert count(read_entity(deep)) <= MAX_ENTITIES
    assert addresses(b"(" * 60_000) == []
    addresses(b"<" * 60_000), addresses(b'"' * 60_000), addresses(b"a, " * 20_000)
    assert time.monotonic() - started < 20


def count(entity: Entity) -> int:
    inner = 0 if entity.message is None else count(entity.message)
    return 1 + inner + sum(map(count, entity.children))


@pytest.mark.parametrize(
    ("key", "uids"),
    [
        *(("ALL", "1 2 3"), ("ANSWERED", ""), ("UNANSWERED", "1 2 3"), ("SEEN", "2"), ("UNSEEN", "1 3")),
        *(
            ("DELETED", ""),
            ("DRAFT", ""),
            ("FLAGGED", "2 3"),
            ("UNFLAGGED", "1"),
            ("NEW", "1 3"),
            ("OLD", ""),
        ),
        *(
            ("RECENT", "1 2 3"),
            ("KEYWORD work", "3"),
            ("UNKEYWORD $other", "1 2 3"),
            ("1,3", "1 3"),
            ("2:*", "2 3"),
        ),
        *(("UID 3:9", "3"), ("NOT UID 3", "1 2"), ("OR SEEN KEYWORD work", "2 3"), ("(SEEN FLAGGED)", "2")),
        *(
            ("NOT (OR SEEN UID 1)", "3"),
            ("SEEN NOT FLAGGED", ""),
            ("FROM alice", "1 3"),
            ("FROM ALICE@", "1 3"),
        ),
        *(
            ("TO carol", "3"),
            ("CC hidden", "3"),
            ("BCC x", ""),
            ("SUBJECT hello", "1"),
            ("SUBJECT grüße", "3"),
        ),
        *(
            ("SUBJECT GRÜSSE", "3"),
            ('HEADER Message-ID ""', "3"),
            ("HEADER X-None y", ""),
            ("BODY world", "1"),
        ),
        *(("BODY geheimnis", "3"), ("BODY Z2Vo", "3"), ('BODY "<b>inner"', "3"), ("TEXT inner@example", "3")),
        *(
            ("TEXT hello", "1"),
            ("BODY hello", ""),
            ("LARGER 100", "3"),
            ("SMALLER 100", "1 2"),
            ("LARGER 52", "3"),
        ),
        *(("BEFORE 22-Sep-2026", "1 2 3"), ("BEFORE 21-Sep-2026", ""), ("ON 21-Sep-2026", "1 2 3")),
        *(("SINCE 21-Sep-2026", "1 2 3"), ("SINCE 22-Sep-2026", ""), ("SENTON 7-Feb-2026", "3")),
        *(("SENTBEFORE 8-Feb-2026", "3"), ("SENTSINCE 7-feb-2026", "3"), ("SENTSINCE 8-Feb-2026", "")),
        *(
            ("CHARSET utf-8 SUBJECT grüße", "3"),
            ("CHARSET US-ASCII ALL", "1 2 3"),
            ("OR SEEN SUBJECT hello", "1 2"),
        ),
        *(("NOT BODY world", "2 3"), ("SEEN BODY world", "")),
    ],
)
def test_search(world: World, key: str, uids: str) -> None:
    world.deliver()
    world.deliver(b"X: y\r\n\r\n\xff\xfe\r\n")
    world.deliver(NESTED)
    dialogue = selected(world)
    dialogue.receive(b"a STORE 2 FLAGS (\\Seen \\Flagged)\r\nb STORE 3 FLAGS (\\Flagged Work)\r\n")
    dialogue.sent = b""
    words = [f'"{word}"' if not word.isascii() else word for word in key.split(" ")]
    dialogue.receive(f"c UID SEARCH {' '.join(words)}\r\n".encode())
    assert dialogue.sent == f"* SEARCH {uids}".rstrip().encode() + b"\r\nc OK UID SEARCH completed\r\n"


@pytest.mark.parametrize(
    "key",
    [
        *(
            "",
            "NOT",
            "OR SEEN",
            "SUBJECT",
            "HEADER X",
            "LARGER x",
            "LARGER -1",
            "ON 1-Foo-2026",
            "ON yesterday",
        ),
        *(
            "()",
            "(SEEN",
            "FUZZY x",
            "UID",
            "UID x",
            "UID 0",
            "RETURN (ALL) ALL",
            "NOT " * 500 + "ALL",
            "ON 99-Feb-2026",
        ),
    ],
)
def test_search_keys_that_do_not_exist(world: World, key: str) -> None:
    world.deliver()
    selected(world).run(f"""
        C: a SEARCH {key}
        S: a BAD ...
    """)


def test_search_in_an_unknown_charset(world: World) -> None:
    selected(world).run("""
        C: a SEARCH CHARSET KOI8-R SUBJECT x
        S: a NO [BADCHARSET (US-ASCII UTF-8)] ...
    """)


def test_copy_and_move(world: World) -> None:
    for _ in range(3):
        world.deliver()
    dialogue = selected(world)
    dialogue.receive(b"0 CREATE Saved\r\n0 STORE 2 +FLAGS.SILENT (\\Seen Work)\r\n")
    dialogue.sent = b""
    dialogue.run(r"""
        C: a UID COPY 1:2 Saved
        S: a OK [COPYUID ... 1,2 1,2] UID COPY completed
        C: b COPY 1 Nowhere
        S: b NO [TRYCREATE] ...
        C: c UID MOVE 2:3 Saved
        S: * OK [COPYUID ... 2,3 3,4] Moved
        S: * 3 EXPUNGE
        S: * 2 EXPUNGE
        S: c OK UID MOVE completed
        C: d UID COPY 77 Saved
        S: d OK UID COPY completed
        C: e MOVE 1 INBOX
        S: * OK [COPYUID ... 1 4] Moved
        S: * 1 EXPUNGE
        S: * 1 EXISTS
        S: * 1 RECENT
        S: e OK MOVE completed
        C: f STATUS Saved (MESSAGES UIDNEXT UNSEEN)
        S: * STATUS Saved (MESSAGES 4 UIDNEXT 5 UNSEEN 2)
        S: f OK ...
        C: g UID FETCH 4 (FLAGS BODY.PEEK[TEXT])
        S: * 1 FETCH (UID 4 FLAGS (\Recent) BODY[TEXT] {7}
        S: world
        S: )
        S: g OK ...
    """)


def test_copy_beyond_the_quota_copies_nothing(world: World) -> None:
    world.deliver()
    world.deliver()
    dialogue = selected(world, limits=Limits(quota=200))
    dialogue.run("""
        C: a CREATE Saved
        S: a OK ...
        C: b COPY 1:2 Saved
        S: b NO [OVERQUOTA] ...
        C: c COPY 1 Saved
        S: c OK ...
        C: d STATUS Saved (MESSAGES)
        S: * STATUS Saved (MESSAGES 1)
        S: d OK ...
    """)


def test_keywords_stay_and_are_told(world: World) -> None:
    world.deliver()
    world.deliver()
    selected(world).run(r"""
        C: a STORE 1 +FLAGS ($Label1 \Seen)
        S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Label1)
        S: * 1 FETCH (UID 1 FLAGS (\Seen \Recent $Label1))
        S: a OK STORE completed
        C: b STORE 2 FLAGS $LABEL1
        S: * 2 FETCH (UID 2 FLAGS (\Recent $Label1))
        S: b OK STORE completed
        C: c STORE 1 -FLAGS.SILENT (\Seen Never)
        S: c OK STORE completed
        C: d STORE 1 FLAGS (\Bogus "a b")
        S: d BAD ...
        OTHER: STORE 2 +FLAGS (Another)
        C: e NOOP
        S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft $Label1 Another)
        S: * 2 FETCH (UID 2 FLAGS (\Recent $Label1 Another))
        S: e OK NOOP completed
    """)
    world.restart()
    dialogue = logged_in(world)
    dialogue.receive(b"a SELECT INBOX\r\nb FETCH 1:* FLAGS\r\n")
    assert b"* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft $Label1 Another)\r\n" in dialogue.sent
    assert b"* 1 FETCH (FLAGS ($Label1))\r\n* 2 FETCH (FLAGS ($Label1 Another))\r\n" in dialogue.sent


def test_too_many_keywords_are_ignored(world: World) -> None:
    world.deliver()
    dialogue = selected(world)
    for number in range(60):
        dialogue.receive(f"a STORE 1 +FLAGS.SILENT (k{number:02})\r\n".encode())
    assert dialogue.sent.count(b"a OK STORE completed\r\n") == 60
    dialogue.sent = b""
    dialogue.receive(b"b SELECT INBOX\r\n")
    assert b"\\*" not in dialogue.sent
    assert b"k49" in dialogue.sent
    assert b"k50" not in dialogue.sent


def test_uid_expunge_spares_the_others(world: World) -> None:
    for _ in range(4):
        world.deliver()
    selected(world).run(r"""
        C: a STORE 1:3 +FLAGS.SILENT (\Deleted)
        S: a OK ...
        C: b UID EXPUNGE 2:4
        S: * 3 EXPUNGE
        S: * 2 EXPUNGE
        S: b OK UID EXPUNGE completed
        C: c EXPUNGE
        S: * 1 EXPUNGE
        S: c OK EXPUNGE completed
        C: d UID SEARCH ALL
        S: * SEARCH 4
        S: d OK UID SEARCH completed
    """)


@pytest.mark.parametrize("command", ["STORE 1 FLAGS (\\Seen)", "MOVE 1 INBOX", "EXPUNGE", "UID EXPUNGE 1"])
def test_an_examined_mailbox_is_not_written(world: World, command: str) -> None:
    world.deliver()
    dialogue = logged_in(world)
    dialogue.receive(b"0 EXAMINE INBOX\r\n")
    dialogue.sent = b""
    dialogue.run(f"""
        C: a {command}
        S: a NO [READ-ONLY] ...
    """)


def test_structure_agrees_with_the_standard_library() -> None:
    parsed = email.message_from_bytes(NESTED, policy=email.policy.default)
    ours = read_entity(NESTED)
    for path, theirs in (((1,), parsed.get_payload(0)), ((2,), parsed.get_payload(1))):
        part = ours.part(path)
        assert part is not None
        assert isinstance(theirs, email.message.Message)
        assert "/".join(part.type) == theirs.get_content_type()
