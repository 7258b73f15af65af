"""What an IMAP client and this server say to each other, as scripts (see dialogue.py)."""

from __future__ import annotations

import pytest

from reference_server.mail.mailbox import Refused
from reference_server.mail.settings import Limits
from tests.reference_server.mail.imap.dialogue import Dialogue, World, logged_in, selected


def test_login_tells_the_capabilities(world: World) -> None:
    Dialogue(world).run("""
        S: * OK [CAPABILITY IMAP4rev1 LITERAL+ ID SASL-IR AUTH=PLAIN XCHATMAIL XDELTAPUSH] Chatmail server ready
        C: a LOGIN "alice@chatmail.test" "first password"
        S: a OK [CAPABILITY IMAP4rev1 LITERAL+ ID CHILDREN IDLE METADATA MOVE ... XCHATMAIL XDELTAPUSH] Logged in
        C: b ID ("name" "Delta Chat")
        S: * ID ("name" ...)
        S: b OK ID completed
        C: c LOGOUT
        S: * BYE Logging out
        S: c OK LOGOUT completed
    """)


def test_madmail_tells_xchatmail_only_after_login(madmail: World) -> None:
    Dialogue(madmail).run("""
        S: * OK [CAPABILITY IMAP4rev1 LITERAL+ ID SASL-IR AUTH=PLAIN] Chatmail server ready
        C: a LOGIN alice@chatmail.test "first password"
        S: a OK [CAPABILITY ... XCHATMAIL XDELTAPUSH] Logged in
    """)


def test_wrong_login_is_answered_in_the_words_that_core_looks_for(world: World) -> None:
    Dialogue(world).run("""
        S: * OK ...
        C: a LOGIN "alice@chatmail.test" "wrong"
        S: a NO [AUTHENTICATIONFAILED] Authentication failed.
        C: b LOGIN "alice@chatmail.test" "wrong"
        S: b NO [AUTHENTICATIONFAILED] Authentication failed.
        C: c LOGIN "alice@chatmail.test" "wrong"
        S: c NO [AUTHENTICATIONFAILED] Authentication failed.
        S: * BYE Too many failed logins
        C: d LOGIN "alice@chatmail.test" "first password"
    """)


def test_login_with_literals(world: World) -> None:
    Dialogue(world).run("""
        S: * OK ...
        C: a LOGIN {19}
        S: + OK
        C: alice@chatmail.test {14}
        S: + OK
        C: first password
        S: a OK ...
    """)


def test_nothing_but_starttls_in_plain_text(world: World) -> None:
    dialogue = Dialogue(world, tls=False)
    dialogue.run("""
        S: * OK [CAPABILITY IMAP4rev1 LITERAL+ ID STARTTLS LOGINDISABLED XCHATMAIL XDELTAPUSH] Chatmail server ready
        C: a LOGIN "alice@chatmail.test" "first password"
        S: a NO [PRIVACYREQUIRED] ...
        C: b SELECT INBOX
        S: b BAD ...
        C: c STARTTLS
        S: c OK ...
        C: d STARTTLS
        S: d BAD ...
        C: e LOGIN "alice@chatmail.test" "first password"
        S: e OK ...
    """)
    assert dialogue.tls_starts == 1


def test_commands_injected_behind_starttls_are_forgotten(world: World) -> None:
    dialogue = Dialogue(world, tls=False)
    dialogue.sent = b""
    dialogue.receive(b"a STARTTLS\r\nb CAPABILITY\r\nc LOG")
    assert dialogue.sent == b"a OK Begin TLS negotiation now\r\n"
    dialogue.receive(b"d NOOP\r\n")
    assert dialogue.sent == b"a OK Begin TLS negotiation now\r\nd OK NOOP completed\r\n"


@pytest.mark.parametrize(
    "command",
    ['GETMETADATA "" /shared/vendor/deltachat/irohrelay', "SELECT INBOX", "IDLE", "UID FETCH 1 UID"],
)
def test_before_login_a_command_is_refused_and_tells_nothing(world: World, command: str) -> None:
    world.deliver()
    Dialogue(world).run(f"""
        S: * OK ...
        C: a {command}
        S: a BAD ... is not allowed before LOGIN
    """)


def test_metadata_in_the_chatmail_dialect_is_a_literal(world: World) -> None:
    logged_in(world).run("""
        C: a GETMETADATA "" /shared/vendor/deltachat/irohrelay
        S: * METADATA "" (/shared/vendor/deltachat/irohrelay {21}
        S: http://127.0.0.1:3340)
        S: a OK Getmetadata completed
        C: b GETMETADATA "" (/shared/comment /SHARED/admin /no/such/key /shared/vendor/deltachat/maxsmtprecipients)
        S: * METADATA "" (/shared/admin {27}
        S: mailto:"root"@chatmail.test /shared/vendor/deltachat/maxsmtprecipients {4}
        S: 1000)
        S: b OK Getmetadata completed
        C: c GETMETADATA "" /shared/vendor/deltachat/turn
        S: c OK Getmetadata completed
    """)


def test_metadata_in_the_madmail_dialect_is_quoted(madmail: World) -> None:
    logged_in(madmail).run(r"""
        C: a GETMETADATA "" (/shared/vendor/deltachat/irohrelay)
        S: * METADATA "" (/shared/vendor/deltachat/irohrelay "http://127.0.0.1:3340")
        S: a OK GETMETADATA completed
        C: b GETMETADATA "" (/shared/comment /shared/admin)
        S: * METADATA "" (/shared/comment NIL /shared/admin "mailto:\"root\"@chatmail.test")
        S: b OK GETMETADATA completed
    """)


def test_select_fetch_and_delete_as_core_does_it(world: World) -> None:
    world.deliver()
    logged_in(world).run(r"""
        C: a SELECT "INBOX"
        S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft)
        S: * OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft \*)] ...
        S: * 1 EXISTS
        S: * 1 RECENT
        S: * OK [UNSEEN 1] ...
        S: * OK [UIDVALIDITY ...] ...
        S: * OK [UIDNEXT 2] ...
        S: a OK [READ-WRITE] SELECT completed
        C: b UID FETCH 1:500 (UID RFC822.SIZE BODY.PEEK[HEADER.FIELDS (FROM CHAT-VERSION)])
        S: * 1 FETCH (UID 1 RFC822.SIZE 52 BODY[HEADER.FIELDS (FROM CHAT-VERSION)] {29}
        S: From: alice@chatmail.test
        S:
        S: )
        S: b OK UID FETCH completed
        C: c UID FETCH 1 (FLAGS BODY.PEEK[])
        S: * 1 FETCH (UID 1 FLAGS (\Recent) BODY[] {52}
        S: From: alice@chatmail.test
        S: Subject: hello
        S:
        S: world
        S: )
        S: c OK UID FETCH completed
        C: d UID STORE 1 +FLAGS (\Deleted)
        S: * 1 FETCH (UID 1 FLAGS (\Deleted \Recent))
        S: d OK UID STORE completed
        C: e CLOSE
        S: e OK CLOSE completed
        C: f SELECT "INBOX"
        S: * FLAGS ...
        S: * OK [PERMANENTFLAGS ...
        S: * 0 EXISTS
        S: * 0 RECENT
        S: * OK [UIDVALIDITY ...
        S: * OK [UIDNEXT 2] ...
        S: f OK ...
    """)


def test_reading_a_body_marks_it_seen_and_says_so(world: World) -> None:
    world.deliver()
    selected(world).run(r"""
        C: a FETCH 1 BODY[TEXT]
        S: * 1 FETCH (BODY[TEXT] {7}
        S: world
        S:  FLAGS (\Seen \Recent))
        S: a OK FETCH completed
        C: b UID FETCH 1 (RFC822.HEADER INTERNALDATE)
        S: * 1 FETCH (UID 1 RFC822.HEADER {45}
        S: From: alice@chatmail.test
        S: Subject: hello
        S:
        S:  INTERNALDATE "21-Sep-2026 14:13:20 +0000")
        S: b OK UID FETCH completed
    """)


def test_examine_changes_nothing(world: World) -> None:
    world.deliver()
    dialogue = logged_in(world)
    dialogue.receive(b"0 EXAMINE INBOX\r\n")
    assert b"0 OK [READ-ONLY]" in dialogue.sent
    dialogue.sent = b""
    dialogue.run(r"""
        C: a FETCH 1 (BODY[] FLAGS)
        S: * 1 FETCH (BODY[] {52}
        S: From: alice@chatmail.test
        S: Subject: hello
        S:
        S: world
        S:  FLAGS (\Recent))
        S: a OK FETCH completed
        C: b STORE 1 FLAGS (\Deleted)
        S: b NO ...
        C: c CLOSE
        S: c OK CLOSE completed
        C: d STATUS INBOX (MESSAGES UNSEEN UIDNEXT)
        S: * STATUS INBOX (MESSAGES 1 UNSEEN 1 UIDNEXT 2)
        S: d OK STATUS completed
    """)


def test_idle_reports_at_once_what_came_between_select_and_idle(world: World) -> None:
    dialogue = selected(world)
    dialogue.run("""
        MAIL unnoticed
        C: a IDLE
        S: + idling
        S: * 1 EXISTS
        S: * 1 RECENT
        MAIL
        S: * 2 EXISTS
        S: * 2 RECENT
        C: DONE
        S: a OK IDLE completed
    """)


def test_idle_is_kept_alive_and_ends_after_half_an_hour_of_silence(world: World) -> None:
    dialogue = selected(world, limits=Limits(idle=300, idle_keepalive=120))
    dialogue.run("""
        T: 100
        C: a IDLE
        S: + idling
        T: 119
        T: 2
        S: * OK Still here
        T: 119
        T: 1
        S: * OK Still here
        T: 60
        S: * BYE ...
    """)
    assert dialogue.session.closed


def test_whoever_does_not_log_in_is_sent_away(world: World) -> None:
    dialogue = Dialogue(world)
    dialogue.run("""
        S: * OK ...
        T: 59
        C: a NOOP
        S: a OK NOOP completed
        T: 1
        S: * BYE ...
    """)
    assert dialogue.session.closed


def test_sequence_numbers_follow_another_session_that_expunges(world: World) -> None:
    for _ in range(4):
        world.deliver()
    selected(world).run(r"""
        C: a IDLE
        S: + idling
        OTHER: STORE 1,3 +FLAGS.SILENT (\Deleted)
        S: * 1 FETCH (UID 1 FLAGS (\Deleted \Recent))
        S: * 3 FETCH (UID 3 FLAGS (\Deleted \Recent))
        OTHER: EXPUNGE
        S: * 3 EXPUNGE
        S: * 1 EXPUNGE
        C: DONE
        S: a OK IDLE completed
        C: b FETCH 2 UID
        S: * 2 FETCH (UID 4)
        S: b OK FETCH completed
    """)


def test_numbers_do_not_move_during_fetch(world: World) -> None:
    for _ in range(3):
        world.deliver()
    selected(world).run(r"""
        OTHER: STORE 1 +FLAGS.SILENT (\Deleted)
        OTHER: EXPUNGE
        MAIL
        C: a FETCH 1:* UID
        S: * 2 FETCH (UID 2)
        S: * 3 FETCH (UID 3)
        S: * 4 EXISTS
        S: * 4 RECENT
        S: a OK FETCH completed
        C: b NOOP
        S: * 1 EXPUNGE
        S: b OK NOOP completed
        C: c SEARCH ALL
        S: * SEARCH 1 2 3
        S: c OK SEARCH completed
        C: d UID SEARCH ALL
        S: * SEARCH 2 3 4
        S: d OK UID SEARCH completed
    """)


def test_a_star_is_the_last_message_even_below_the_range(world: World) -> None:
    world.deliver()
    world.deliver()
    selected(world).run("""
        C: a UID FETCH 7:* UID
        S: * 2 FETCH (UID 2)
        S: a OK UID FETCH completed
        C: b UID FETCH 4294967295 UID
        S: b OK UID FETCH completed
        C: c UID FETCH 0 UID
        S: c BAD ...
        C: d UID FETCH 2,1:2,*,1:4294967295 UID
        S: * 1 FETCH (UID 1)
        S: * 2 FETCH (UID 2)
        S: d OK UID FETCH completed
    """)


def test_search_list_and_quota(world: World) -> None:
    world.deliver()
    world.deliver()
    selected(world).run(r"""
        C: a UID STORE 2 FLAGS (\Seen \Flagged NoKeyword)
        S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft NoKeyword)
        S: * 2 FETCH (UID 2 FLAGS (\Flagged \Seen \Recent NoKeyword))
        S: a OK UID STORE completed
        C: b UID SEARCH UNSEEN
        S: * SEARCH 1
        S: b OK UID SEARCH completed
        C: c UID SEARCH UID 1:* FLAGGED
        S: * SEARCH 2
        S: c OK UID SEARCH completed
        C: d UID SEARCH BODY secret
        S: * SEARCH
        S: d OK UID SEARCH completed
        C: e LIST "" "*"
        S: * LIST (\HasNoChildren) "/" INBOX
        S: e OK LIST completed
        C: f LIST "" ""
        S: * LIST (\Noselect) "/" ""
        S: f OK LIST completed
        C: g LIST "" "Trash%"
        S: g OK LIST completed
        C: h GETQUOTAROOT "INBOX"
        S: * QUOTAROOT "INBOX" "User quota"
        S: * QUOTA "User quota" (STORAGE 1 512000)
        S: h OK GETQUOTAROOT completed
        C: i SELECT "Trash"
        S: i NO [NONEXISTENT] ...
        C: j UID FETCH 1 UID
        S: j BAD UID FETCH is not allowed after LOGIN, without a selected mailbox
    """)


def test_a_store_that_fails_is_a_no(world: World) -> None:
    dialogue = logged_in(world)
    dialogue.session.receive_data(b"a SELECT INBOX\r\n", dialogue.now)
    assert dialogue.session.next_event(dialogue.now) is not None
    dialogue.session.refuse(Refused("UNAVAILABLE", "The store does not answer"))
    dialogue.run("""
        C: b SELECT INBOX
        S: a NO [UNAVAILABLE] ...
        S: * FLAGS ...
        S: * OK ...
        S: * 0 EXISTS
        S: * 0 RECENT
        S: * OK ...
        S: * OK ...
        S: b OK ...
    """)


@pytest.mark.parametrize(
    "line",
    [
        "a",
        "a LOGIN",
        "a LOGIN x",
        "a LOGIN x y z",
        'a LOGIN "x y',
        "a LOGIN (x y)",
        "a LOGIN x y)",
        "a ((((((((((",
        "a UID",
        "a UNKNOWN",
        "a APPEND INBOX",
    ],
)
def test_bad_command_is_answered_with_its_tag_and_the_session_goes_on(world: World, line: str) -> None:
    Dialogue(world).run(f"""
        S: * OK ...
        C: {line}
        S: a BAD ...
        C: b NOOP
        S: b OK NOOP completed
    """)


@pytest.mark.parametrize("line", ["", " ", "* NOOP", "+ NOOP", "\x00 NOOP", "(a) NOOP", "tög NOOP"])
def test_a_line_without_a_tag_is_bad(world: World, line: str) -> None:
    dialogue = Dialogue(world)
    dialogue.sent = b""
    dialogue.receive(line.encode() + b"\r\n")
    assert dialogue.sent.startswith(b"* BAD ")
    assert dialogue.sent.count(b"\r\n") == 1


def test_too_many_bad_commands_end_the_connection(world: World) -> None:
    dialogue = Dialogue(world, limits=Limits(imap_bad_commands=3))
    dialogue.receive(b"x\r\n" * 10)
    assert dialogue.sent.count(b" BAD ") == 3
    assert dialogue.sent.endswith(b"* BYE Too many bad commands\r\n")
    assert dialogue.session.closed


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"a LOGIN " + b"x" * 9000, b"a BAD Line is longer than 8192 bytes\r\n* BYE Goodbye\r\n"),
        (b"x" * 9000, b"* BAD Line is longer than 8192 bytes\r\n* BYE Goodbye\r\n"),
        (b"a LOGIN {1025+}\r\n", b"a BAD Literals are limited to 1024 bytes\r\n* BYE Goodbye\r\n"),
        (b"a LOGIN {9999999999+}\r\n", b"a BAD Literals are limited to 1024 bytes\r\n* BYE Goodbye\r\n"),
    ],
)
def test_what_is_too_large_ends_the_connection(world: World, data: bytes, answer: bytes) -> None:
    dialogue = Dialogue(world, limits=Limits(imap_line=8192, imap_literal_before_login=1024))
    dialogue.sent = b""
    dialogue.receive(data)
    assert dialogue.sent == answer
    assert dialogue.session.closed


def test_a_literal_with_line_ends_does_not_get_into_an_answer(world: World) -> None:
    logged_in(world).run("""
        C: a GETQUOTAROOT {9}
        S: + OK
        C: x
        C: * BYE
        S: a BAD ...
    """)


def test_many_small_literals_are_too_large_together(world: World) -> None:
    dialogue = Dialogue(world, limits=Limits(imap_literal_before_login=1024))
    dialogue.sent = b""
    dialogue.receive(b"a LOGIN " + b"{100}\r\n" + (b"x" * 100 + b" {100}\r\n") * 10)
    assert dialogue.sent.count(b"+ OK\r\n") == 10
    assert dialogue.sent.endswith(b"a BAD Literals are limited to 1024 bytes\r\n")
