"""Commands that are legal, or nearly so, and that some client somewhere sends, as scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from reference_server.mail.imap.commands import HANDLERS
from reference_server.mail.settings import Dialect, Limits
from tests.reference_server.mail.imap.dialogue import Dialogue, World, logged_in, selected


@pytest.mark.parametrize(
    "line", ["AUTHENTICATE", "authenticate ", "AUTHENTICATE ()", "AUTHENTICATE PLAIN ((("]
)
def test_authenticate_without_a_mechanism_is_bad(world: World, line: str) -> None:
    Dialogue(world).run(f"""
        S: * OK ...
        C: abcd {line}
        S: abcd BAD ...
        C: b NOOP
        S: b OK ...
    """)


ARGUMENTS = [
    "",
    " ()",
    " (())",
    " NIL",
    ' ""',
    " *",
    " 1",
    " 1 (",
    " {3+}\r\nabc",
    " x y z",
    " (a b) (c d) e",
    " %",
    " \\",
]


@pytest.mark.parametrize("name", sorted(HANDLERS.keys() - {"LOGOUT", "IDLE", "COMPRESS"}))
def test_no_command_with_whatever_arguments_ends_a_session(world: World, name: str) -> None:
    world.deliver()
    limits = Limits(imap_bad_commands=100, login_failures=100)
    for dialogue in (Dialogue(world, limits=limits), selected(world, limits=limits)):
        for arguments in ARGUMENTS:
            dialogue.sent = b""
            dialogue.receive(f"a {name}{arguments}\r\n".encode())
            if dialogue.sent.endswith(b"+ \r\n"):
                dialogue.receive(b"*\r\n")
            assert b"a " in dialogue.sent
            dialogue.sent = b""
            dialogue.receive(b"b NOOP\r\n")
            assert dialogue.sent.endswith(b"b OK NOOP completed\r\n")


FIELDS = [(f"field-{number:024d}", "v" * 1024) for number in range(30)]


@pytest.mark.parametrize("form", ["quoted", "quotation marks", "literals", "literals without waiting"])
@pytest.mark.parametrize("login", [False, True])
def test_the_largest_id_that_there_is(world: World, form: str, login: bool) -> None:
    """30 fields of 30 bytes with values of 1024 (RFC 2971 section 3.3)."""
    dialogue = logged_in(world) if login else Dialogue(world)
    dialogue.sent = b""
    if form == "quotation marks":
        pairs = [f'"{field}" "' + '\\"' * 1024 + '"' for field, _value in FIELDS]
    elif form == "quoted":
        pairs = [f'"{field}" "{value}"' for field, value in FIELDS]
    else:
        plus = "+" if "without" in form else ""
        words = [word for pair in FIELDS for word in pair]
        pairs = [f"{{{len(word)}{plus}}}\r\n{word}" for word in words]
    dialogue.receive(f"a ID ({' '.join(pairs)})\r\n".encode())
    assert dialogue.sent.endswith(b'* ID ("name" "chatmail reference server")\r\na OK ID completed\r\n')
    assert not dialogue.session.closed


def test_a_longer_id_is_refused(world: World) -> None:
    dialogue = logged_in(world)
    dialogue.receive(b"a ID (" + b"x " * 40_000 + b")\r\n")
    assert dialogue.sent.startswith(b"a BAD ")


@pytest.mark.parametrize(
    "entry",
    [
        *(
            "/shared/*",
            "/shared/%",
            "*",
            "%",
            "/*",
            "/shared/com*",
            "/shared/vendor/%/turn",
            "/shared//comment",
        ),
        *("/shared/comment/", "/", "shared/comment", '""', '"/shared/tö"'),
    ],
)
def test_wildcards_and_other_misshapen_entries_are_bad(world: World, entry: str) -> None:
    """RFC 5464 section 3.2."""
    logged_in(world).run(f"""
        C: a GETMETADATA "" {entry}
        S: a BAD ...
        C: b GETMETADATA "" (/shared/admin {entry})
        S: b BAD ...
        C: c GETMETADATA (DEPTH infinity) "" {entry}
        S: c BAD ...
        C: d SETMETADATA INBOX ({entry} "x")
        S: d BAD ...
        C: e NOOP
        S: e OK ...
    """)


def test_entries_that_nobody_has(world: World) -> None:
    """RFC 5464 section 3.2 lets a name have any character of ASCII but two; case means nothing."""
    logged_in(world).run("""
        C: a GETMETADATA "" "/shared/a b"
        S: a OK ...
        C: b GETMETADATA "" (/SHARED/~!$&'+,-.: "/private/()")
        S: b OK ...
        C: c SETMETADATA INBOX ("/private/a b" "x")
        S: c NO ...
        C: d GETMETADATA "" "/Shared/Vendor/Deltachat/MaxSmtpRecipients"
        S: * METADATA "" (/shared/vendor/deltachat/maxsmtprecipients {4}
        S: 1000)
        S: d OK Getmetadata completed
    """)


def test_metadata_of_the_chatmail_dialect(world: World) -> None:
    logged_in(world).run("""
        C: a GETMETADATA "" /shared/vendor/deltachat/maxsmtprecipients
        S: * METADATA "" (/shared/vendor/deltachat/maxsmtprecipients {4}
        S: 1000)
        S: a OK Getmetadata completed
        C: b GETMETADATA "" /shared/vendor/deltachat/appversions
        S: * METADATA "" (/shared/vendor/deltachat/appversions {155}
        S: {"clients":[{"clientId":"deltachat","sources":[{...}]}]})
        S: b OK Getmetadata completed
        C: c GETMETADATA "" /shared/vendor/deltachat/turn-test-relay-only
        S: c OK Getmetadata completed
        C: d SETMETADATA INBOX (/private/devicetoken "1111" )
        S: d OK Setmetadata completed
    """)


def test_metadata_of_the_madmail_dialect(tmp_path: Path) -> None:
    world = World(
        tmp_path,
        dialect=Dialect.MADMAIL,
        turn_address="192.0.2.1:3478",
        turn_secret_file=tmp_path / "secret",
        turn_test_relay_only=True,
    )
    logged_in(world).run("""
        C: a GETMETADATA "" /shared/vendor/deltachat/maxsmtprecipients
        S: a OK GETMETADATA completed
        C: b GETMETADATA "" /shared/vendor/deltachat/appversions
        S: b OK GETMETADATA completed
        C: c GETMETADATA "" /shared/vendor/deltachat/turn-test-relay-only
        S: * METADATA "" (/shared/vendor/deltachat/turn-test-relay-only "1")
        S: c OK GETMETADATA completed
        C: d SETMETADATA INBOX (/private/devicetoken "1111")
        S: d OK SETMETADATA completed
    """)


def test_nothing_stands_behind_bye(world: World) -> None:
    world.deliver()
    selected(world).run(r"""
        OTHER: STORE 1 +FLAGS.SILENT (\Deleted)
        OTHER: EXPUNGE
        MAIL
        C: a LOGOUT
        S: * BYE Logging out
        S: a OK LOGOUT completed
    """)


def test_a_subscription_below_shows_its_parent(world: World) -> None:
    """RFC 3501 section 6.3.9."""
    logged_in(world).run(r"""
        C: a CREATE a/b/c
        S: a OK ...
        C: b SUBSCRIBE a/b/c
        S: b OK ...
        C: c LSUB "" %
        S: * LSUB (\HasNoChildren) "/" INBOX
        S: * LSUB (\Noselect) "/" a
        S: c OK ...
        C: d LSUB "" a/%
        S: * LSUB (\Noselect) "/" "a/b"
        S: d OK ...
        C: e LSUB a/ %/%
        S: * LSUB (\HasNoChildren) "/" "a/b/c"
        S: e OK ...
        C: f LSUB "" *
        S: * LSUB (\HasNoChildren) "/" INBOX
        S: * LSUB (\HasNoChildren) "/" "a/b/c"
        S: f OK ...
        C: g LSUB "" a
        S: g OK ...
        C: h SUBSCRIBE a
        S: h OK ...
        C: i LSUB "" %
        S: * LSUB (\HasNoChildren) "/" INBOX
        S: * LSUB (\HasChildren) "/" a
        S: i OK ...
        C: j LIST "" %
        S: * LIST (\HasNoChildren) "/" INBOX
        S: * LIST (\HasChildren) "/" a
        S: j OK ...
    """)


@pytest.mark.parametrize(
    ("written", "told"),
    [
        *(
            ("a[b", '"a[b"'),
            ("a]b", '"a]b"'),
            ("[a]", '"[a]"'),
            ("a[", '"a["'),
            ("]", '"]"'),
            ('"a[b c"', '"a[b c"'),
        ),
        *((r'"a\\b"', r'"a\\b"'), (r'"a\"b"', r'"a\"b"'), (r'"\\"', r'"\\"'), (r'"\""', r'"\""')),
        *(('"(x)"', '"(x)"'), ('"{3}"', '"{3}"'), ("&AOQ-", '"&AOQ-"'), ("BODY[x", '"BODY[x"')),
    ],
)
def test_characters_in_the_names_of_mailboxes(world: World, written: str, told: str) -> None:
    world.deliver()
    selected(world).run(rf"""
        C: a CREATE {written}
        S: a OK ...
        C: b LIST "" {written}
        S: * LIST (\HasNoChildren) "/" {told}
        S: b OK ...
        C: c COPY 1 {written}
        S: c OK ...
        C: d STATUS {written} (MESSAGES)
        S: * STATUS {told} (MESSAGES 1)
        S: d OK ...
        C: e RENAME {written} other
        S: e OK ...
        C: f RENAME other {written}
        S: f OK ...
        C: g GETQUOTAROOT {written}
        S: * QUOTAROOT {told} "User quota"
        S: * QUOTA ...
        S: g OK ...
        C: h SELECT {written}
        S: * FLAGS ...
        S: * OK ...
        S: * 1 EXISTS
        S: * 1 RECENT
        S: * OK ...
        S: * OK ...
        S: * OK ...
        S: h OK ...
        C: i UNSELECT
        S: i OK ...
        C: j DELETE {written}
        S: j OK ...
    """)


def test_a_mailbox_that_is_not_there_is_no_and_not_bad(world: World) -> None:
    logged_in(world, limits=Limits(imap_bad_commands=2)).run("""
        C: a SELECT a[b
        S: a NO [NONEXISTENT] ...
        C: b EXAMINE b]
        S: b NO [NONEXISTENT] ...
        C: c STATUS [ (MESSAGES)
        S: c NO [NONEXISTENT] ...
    """)
