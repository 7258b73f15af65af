from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.accounts import Credentials
from harness.clients.mail.imap import ImapClient, ImapError, ImapRefused
from harness.clients.mail.imap_syntax import MetadataValue, Token, literal_size, metadata_entries, tokens
from harness.clients.mail.smtp import SmtpClient, SmtpError, SmtpRefused
from harness.hosts import LocalHost
from harness.target import Target
from harness.waiting import WaitTimeout

from .scripted import Peer, Tls, scripted_server

IROH = "/shared/vendor/deltachat/irohrelay"
TURN = "/shared/vendor/deltachat/turn"
ALICE = Credentials("alice1234@chatmail.test", "a password")

Reply = Callable[[bytes], bytes]


def target(port: int, tls: Tls) -> Target:
    return Target(
        name="scripted",
        host="127.0.0.1",
        domain="chatmail.test",
        imaps=port,
        imap=0,
        submissions=port,
        submission=0,
        https=0,
        ca_file=tls.ca_file,
        dialect="chatmail",
    )


def imap_server(*dialogue: tuple[bytes, bytes]) -> Callable[[Peer], None]:
    """A server that expects these commands in this order; `TAG` in an answer becomes the command's tag."""

    def script(peer: Peer) -> None:
        peer.send(b"* OK scripted\r\n")
        for expected, answer in (
            (b"CAPABILITY", b"* CAPABILITY IMAP4rev1 IDLE\r\nTAG OK done\r\n"),
            *dialogue,
        ):
            tag, _, command = peer.line().strip().rpartition(b" " + expected)
            assert command == b"", f"expected {expected!r}"
            peer.send(answer.replace(b"TAG", tag))
        peer.wait_until_closed()

    return script


def test_mail_is_looked_for_where_the_target_has_it(tls):
    """In a lab a device behind a firewall finds IMAP and submission at addresses of their own, on port 443."""
    with scripted_server(imap_server(), tls=tls) as port:
        elsewhere = replace(target(port, tls), imaps=1, imap_host="127.0.0.4")
        with pytest.raises(ImapError, match=rf"no IMAP at 127\.0\.0\.4:{1}"):
            ImapClient(LocalHost(), elsewhere)
        ImapClient(LocalHost(), replace(target(port, tls), imap_host="127.0.0.1")).close()
    nowhere = replace(target(1, tls), smtp_host="127.0.0.3")
    with pytest.raises(SmtpError, match=r"no SMTP at 127\.0\.0\.3:1"):
        SmtpClient(LocalHost(), nowhere)


@pytest.mark.parametrize(
    ("line", "size"),
    [(b"* METADATA {12}\r\n", 12), (b"* OK {12}\n", None), (b"* OK ready\r\n", None), (b"{3} \r\n", None)],
)
def test_literals_are_announced_at_the_end_of_a_line(line, size):
    assert literal_size(line) == size


def test_tokens_know_how_they_were_written():
    assert list(tokens(b'atom "a \\"quoted\\" \\\\" {5}\r\n"\r\n) NIL () nilly\r\n')) == [
        Token("atom", b"atom"),
        Token("quoted", b'a "quoted" \\'),
        Token("literal", b'"\r\n) '[:5]),
        Token("nil", b""),
        Token("parenthesis", b"("),
        Token("parenthesis", b")"),
        Token("atom", b"nilly"),
    ]


@pytest.mark.parametrize("response", [b'"open', b"{9}\r\nshort", b'"a\\x"', b"\x00 {"])
def test_what_is_no_imap_is_refused(response):
    with pytest.raises(ValueError, match=r"no IMAP|longer than its response"):
        list(tokens(response))


def test_metadata_in_every_form():
    response = f'* METADATA "" ({IROH} {{7}}\r\nhttp:/) {TURN} "1:2:3:4" /shared/comment NIL /x atom)\r\n'
    assert metadata_entries(response.encode()) == {
        IROH: MetadataValue("http:/)", "literal"),
        TURN: MetadataValue("1:2:3:4", "quoted"),
        "/shared/comment": MetadataValue(None, "nil"),
        "/x": MetadataValue("atom", "atom"),
    }


def test_other_responses_have_no_metadata():
    assert metadata_entries(b"* 3 EXISTS\r\n") == {}


@pytest.mark.parametrize(
    "response",
    [
        b'* METADATA "" (/a)\r\n',
        b'* METADATA "" /a "b"\r\n',
        b"* METADATA \r\n",
        b'* METADATA "" (/a (b) /c d)\r\n',
    ],
)
def test_broken_metadata_is_no_metadata(response):
    with pytest.raises(ValueError, match=r"METADATA|unpack"):
        metadata_entries(response)


def test_a_session_reads_metadata_in_both_request_forms(tls):
    script = imap_server(
        (b'LOGIN alice1234@chatmail.test "a password"', b"TAG OK [CAPABILITY IMAP4rev1 METADATA] in\r\n"),
        (b"CAPABILITY", b"* CAPABILITY IMAP4rev1 METADATA XCHATMAIL\r\nTAG OK done\r\n"),
        (
            f'GETMETADATA "" ({IROH} {TURN})'.encode(),
            f'* METADATA "" ({IROH} {{22}}\r\nhttp://127.0.0.1:3340/)\r\nTAG OK done\r\n'.encode(),
        ),
        (
            f'GETMETADATA "" {IROH}'.encode(),
            f'* METADATA "" ({IROH} "http://127.0.0.1:3340/")\r\nTAG OK done\r\n'.encode(),
        ),
    )
    with scripted_server(script, tls=tls) as port, ImapClient(LocalHost(), target(port, tls)) as client:
        client.login(ALICE)
        assert client.capabilities() == {"IMAP4REV1", "METADATA", "XCHATMAIL"}
        assert client.get_metadata(IROH, TURN) == {IROH: MetadataValue("http://127.0.0.1:3340/", "literal")}
        single = client.get_metadata(IROH, form="single")
        assert single == {IROH: MetadataValue("http://127.0.0.1:3340/", "quoted")}


def test_uid_state_is_read_whatever_the_order(tls):
    question = b'STATUS "INBOX" (UIDVALIDITY UIDNEXT)'
    script = imap_server(
        (question, b"* STATUS INBOX (UIDNEXT 7 UIDVALIDITY 1790000000)\r\nTAG OK done\r\n"),
        (question, b"* STATUS INBOX (UIDNEXT 7)\r\nTAG OK done\r\n"),
    )
    with scripted_server(script, tls=tls) as port, ImapClient(LocalHost(), target(port, tls)) as client:
        assert client.uid_state() == (1790000000, 7)
        with pytest.raises(ImapError, match="without UIDVALIDITY or UIDNEXT"):
            client.uid_state()


def test_a_refusal_shows_everything_that_came_with_it(tls):
    leak = f'* METADATA "" ({IROH} {{4}}\r\nleak)\r\n'.encode()
    script = imap_server((f'GETMETADATA "" ({IROH})'.encode(), leak + b"TAG NO log in first\r\n"))
    with (
        scripted_server(script, tls=tls) as port,
        ImapClient(LocalHost(), target(port, tls)) as client,
        pytest.raises(ImapRefused, match=r"GETMETADATA .* was refused: NO log in first") as refusal,
    ):
        client.get_metadata(IROH)
    assert refusal.value.answer.untagged == (leak,)


def test_a_wrong_password_is_a_refusal(tls):
    script = imap_server(
        (
            b'LOGIN alice1234@chatmail.test "a password"',
            b"TAG NO [AUTHENTICATIONFAILED] Authentication failed.\r\n",
        )
    )
    with (
        scripted_server(script, tls=tls) as port,
        ImapClient(LocalHost(), target(port, tls)) as client,
        pytest.raises(ImapRefused, match="AUTHENTICATIONFAILED"),
    ):
        client.login(ALICE)


def test_messages_come_with_their_uid_wherever_it_stands(tls):
    script = imap_server(
        (b'LOGIN alice1234@chatmail.test "a password"', b"TAG OK in\r\n"),
        (b'SELECT "INBOX"', b"* 1 EXISTS\r\n* 2 EXISTS\r\nTAG OK done\r\n"),  # one came meanwhile
        (
            b"UID FETCH 1:* (UID BODY.PEEK[])",
            b"* 1 FETCH (UID 7 BODY[] {5}\r\nfirst)\r\n* 2 FETCH (BODY[] {6}\r\nsecond UID 9)\r\nTAG OK done\r\n",
        ),
        (b"UID FETCH 1:* (UID BODY.PEEK[])", b"TAG OK done\r\n"),
    )
    with scripted_server(script, tls=tls) as port, ImapClient(LocalHost(), target(port, tls)) as client:
        client.login(ALICE)
        # imaplib refuses UID FETCH outside SELECTED, a state that it learns from its own select only.
        assert client.select() == 2
        assert [(each.uid, each.data) for each in client.fetch_all()] == [(7, b"first"), (9, b"second")]
        assert client.fetch_all() == []


def test_idle_reports_news_and_leaves(tls):
    def script(peer: Peer) -> None:
        imap_head(peer)
        tag = peer.line().split()[0]
        peer.send(b"* 1 EXISTS\r\n+ idling\r\n* OK Still here\r\n* 2 EXISTS\r\n")
        assert peer.line() == b"DONE\r\n"
        peer.send(tag, b" OK done\r\n")

    def imap_head(peer: Peer) -> None:
        peer.send(b"* OK ready\r\n")
        tag = peer.line().split()[0]
        peer.send(b"* CAPABILITY IMAP4rev1\r\n", tag, b" OK done\r\n")

    with (
        scripted_server(script, tls=tls) as port,
        ImapClient(LocalHost(), target(port, tls)) as client,
        client.idle() as idle,
    ):
        assert [idle.wait_for_exists(within=10) for _ in range(2)] == [1, 2]


def test_idle_that_never_wakes_says_what_came_instead_and_the_session_goes_on(tls):
    def script(peer: Peer) -> None:
        peer.send(b"* OK ready\r\n")
        tag = peer.line().split()[0]
        peer.send(b"* CAPABILITY IMAP4rev1\r\n", tag, b" OK done\r\n")
        tag = peer.line().split()[0]
        peer.send(b"+ idling\r\n* OK Still here\r\n")
        assert peer.line() == b"DONE\r\n"
        peer.send(tag, b" OK done\r\n")
        tag = peer.line().split()[0]
        peer.send(tag, b" OK noop\r\n")

    with scripted_server(script, tls=tls) as port, ImapClient(LocalHost(), target(port, tls)) as client:
        with (
            pytest.raises(WaitTimeout, match=r"EXISTS during IDLE; seen instead: .*Still here"),
            client.idle() as idle,
        ):
            idle.wait_for_exists(within=0.2)
        assert client.command("NOOP").status == "OK"


def test_a_server_without_idle_refuses(tls):
    script = imap_server((b"IDLE", b"TAG BAD unknown command\r\n"))
    with (
        scripted_server(script, tls=tls) as port,
        ImapClient(LocalHost(), target(port, tls)) as client,
        pytest.raises(ImapRefused, match="BAD unknown command"),
        client.idle(),
    ):
        pass


def test_a_closed_connection_is_named(tls):
    def script(peer: Peer) -> None:
        peer.send(b"* OK ready\r\n")
        tag = peer.line().split()[0]
        peer.send(b"* CAPABILITY IMAP4rev1\r\n", tag, b" OK done\r\n")
        peer.line()

    with (
        scripted_server(script, tls=tls) as port,
        ImapClient(LocalHost(), target(port, tls)) as client,
        pytest.raises(ImapError, match="closed the connection while we waited for the answer to NOOP"),
    ):
        client.command("NOOP")


def test_a_certificate_of_somebody_else_is_refused(tls):
    def script(peer: Peer) -> None:
        raise AssertionError("the client went on")

    with (
        pytest.raises(OSError, match=r"(?i)alert unknown ca"),
        scripted_server(script, tls=tls) as port,
        pytest.raises(ImapError, match="its certificate is not trusted: self-signed certificate"),
    ):
        ImapClient(LocalHost(), replace(target(port, tls), ca_file=None))


def smtp_server(*dialogue: tuple[bytes, bytes]) -> Callable[[Peer], None]:
    def script(peer: Peer) -> None:
        peer.send(b"220 scripted\r\n")
        for expected, answer in ((b"EHLO", b"250-scripted\r\n250 AUTH PLAIN\r\n"), *dialogue):
            line = peer.line()
            assert line.upper().startswith(expected), line
            peer.send(answer)
            if answer.startswith(b"354"):
                while peer.line() != b".\r\n":
                    pass
                peer.send(b"523 Encryption Needed: Invalid Unencrypted Mail\r\n")
        peer.wait_until_closed()

    return script


def test_smtp_replies_name_their_stage(tls):
    script = smtp_server(
        (b"AUTH PLAIN", b"235 in\r\n"),
        (b"MAIL FROM:<ALICE", b"250 ok\r\n"),
        (b"RCPT TO:<BOB", b"250 ok\r\n"),
        (b"DATA", b"354 go\r\n"),
        (b"RSET", b"250 ok\r\n"),
        (b"MAIL FROM:<MALLORY", b"250 ok\r\n"),
        (b"RCPT TO:<BOB", b"553 not yours\r\n"),
        (b"RSET", b"250 ok\r\n"),
    )
    with scripted_server(script, tls=tls) as port, SmtpClient(LocalHost(), target(port, tls)) as client:
        client.login(ALICE)
        reply = client.submit("alice", ["bob"], b"Subject: x\r\n\r\nplain\r\n")
        assert (reply.stage, reply.code, reply.accepted) == ("DATA", 523, False)
        assert "Encryption Needed" in str(reply)
        reply = client.submit("mallory", ["bob"], b"")
        assert str(reply) == "553 not yours (at RCPT)"


def test_smtp_refuses_a_wrong_password(tls):
    script = smtp_server((b"AUTH PLAIN", b"535 Authentication failed\r\n"))
    with (
        scripted_server(script, tls=tls) as port,
        SmtpClient(LocalHost(), target(port, tls)) as client,
        pytest.raises(SmtpRefused, match="535 Authentication failed"),
    ):
        client.login(ALICE)


def test_case_does_not_matter(tls):
    """RFC 9051, section 9: all alphabetic characters of responses are case-insensitive."""

    def script(peer: Peer) -> None:
        peer.send(b"* ok ready\r\n")
        for answer in (
            b"* Capability imap4rev1 Idle\r\nTAG ok done\r\n",
            b"TAG ok in\r\n",
            b"* capability IMAP4rev1 metadata\r\nTAG Ok done\r\n",
            f'* metadata "" ({IROH} "http://127.0.0.1:3340/")\r\nTAG ok done\r\n'.encode(),
            b"* flags ()\r\n* 3 exists\r\n* ok [uidvalidity 1]\r\nTAG ok [read-write] done\r\n",
        ):
            peer.send(answer.replace(b"TAG", peer.line().split()[0]))
        peer.wait_until_closed()

    with scripted_server(script, tls=tls) as port, ImapClient(LocalHost(), target(port, tls)) as client:
        client.login(ALICE)
        assert client.capabilities() == {"IMAP4REV1", "METADATA"}
        assert client.get_metadata(IROH) == {IROH: MetadataValue("http://127.0.0.1:3340/", "quoted")}
        assert client.select() == 3
