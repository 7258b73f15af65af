"""Submission: what is taken out of headers, what is refused and in which words, and how much comes in at once."""

from __future__ import annotations

import contextlib
import smtplib
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_server.mail.fields import clean_header, has_bad_bytes
from reference_server.mail.rates import Gcra, MemoryBudget
from reference_server.mail.settings import Limits
from tests.reference_server.mail.conftest import StartMail
from tests.reference_server.mail.pgp import encrypted_message
from tests.reference_server.mail.running import ALICE, BOB, PASSWORD, RunningMail, read_all, read_until

TRACES = (
    b"Received: from phone ([192.0.2.1])\r\n\tby laptop; Mon, 1 Jan 2026\r\n"
    b"X-Originating-IP: [192.0.2.1]\r\nX-MAILER: secret\r\nUser-Agent: secret\r\n 2.0\r\n"
    b"DKIM-Signature: v=1;\r\n b=secret\r\nAuthentication-Results: secret\r\nreceived: secret\r\n"
)


def stored(mail: RunningMail, user: str = ALICE) -> list[bytes]:
    imap = mail.imap(user)
    imap.select()
    _, answer = imap.uid("fetch", "1:*", "(BODY.PEEK[])")
    imap.logout()
    return [part[1] for part in answer if isinstance(part, tuple)]


def test_traces_of_the_sender_are_taken_out_and_nothing_else(mail: RunningMail) -> None:
    mail.create(ALICE)
    content = encrypted_message(ALICE, subject="a secret\r\n\tthat goes on")
    with mail.smtp() as client:
        client.sendmail(ALICE, [ALICE], TRACES + b"X-Kept:  as it\r\n\tstands \r\n" + content)
    assert stored(mail) == [
        b"X-Kept:  as it\r\n\tstands \r\n" + content.replace(b"a secret\r\n\tthat goes on", b"[...]")
    ]


@given(
    st.lists(
        st.sampled_from([b"A: b\r\n", b"Subject: x\r\n", b" folded\r\n", b"Received: y\r\n", b"\r\n", b"z"])
    ).map(b"".join)
)
def test_cleaning_touches_only_whole_fields_of_the_outer_header(content: bytes) -> None:
    cleaned = clean_header(content)
    assert clean_header(cleaned) == cleaned
    end = content.find(b"\r\n\r\n")
    if end < 0 or content.startswith(b"\r\n"):
        assert cleaned == content
    else:
        assert cleaned.endswith(content[end + 2 :])
        assert len(cleaned) <= len(content) + content.count(b"Subject") * 4


def submit(mail: RunningMail, data: bytes, *recipients: str) -> bytes:
    """The answer to raw DATA, dots and line ends as given."""
    with mail.smtp() as client:
        client.mail(ALICE)
        for recipient in recipients or (ALICE,):
            client.rcpt(recipient)
        client.docmd("DATA")
        sock = client.sock
        assert sock is not None
        sock.sendall(data)
        return read_until(sock, b"\r\n")


SECOND = b"MAIL FROM:<%b>\r\nRCPT TO:<%b>\r\nDATA\r\n" % (ALICE.encode(), ALICE.encode())


@pytest.mark.parametrize(
    "end",
    [b"\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\n", b"\r\n.\r", b"\r.\r\n", b"\n\n.\r\n", b"\r\n\x00.\r\n"],
)
def test_no_other_end_of_data_smuggles_a_second_mail(mail: RunningMail, end: bytes) -> None:
    """What stands behind something that is not quite CRLF . CRLF is still the first mail, and that is refused."""
    mail.create(ALICE)
    message = encrypted_message(ALICE)
    answer = submit(mail, message[:-2] + end + SECOND + message + b".\r\n")
    assert answer.startswith(b"550 5.5.2 ")
    assert stored(mail) == []
    assert [event["code"] for event in mail.events("message_refused")] == [550]


def test_dots_are_taken_away_once(mail: RunningMail) -> None:
    mail.create(ALICE)
    message = encrypted_message(ALICE)
    before, armor, after = message.partition(b"--b--\r\n")
    assert submit(mail, before + armor + b"..\r\n...x\r\n" + after + b".\r\n").startswith(b"250 ")
    assert stored(mail) == [before + armor + b".\r\n..x\r\n" + after]


@pytest.mark.parametrize(
    "line",
    [
        b"MAIL FROM:<alice_123@chatmail.test>\rRCPT TO:<bob.45678@chatmail.test>",
        b"MAIL FROM:<alice_123@chatmail.test\x00>",
        b"RCPT TO:<\xff\xfe@chatmail.test>",
        b"VRFY \xff\r250 ok",
    ],
)
def test_no_reply_has_a_line_that_the_client_wrote(mail: RunningMail, line: bytes) -> None:
    mail.create(ALICE, BOB)
    with mail.smtp() as client:
        client.mail(ALICE)
        sock = client.sock
        assert sock is not None
        sock.sendall(line + b"\r\nNOOP\r\n")
        answer = read_until(sock, b"250 OK\r\n")
        assert answer.count(b"\n") == 2
        assert not answer.startswith(b"354")


def test_a_from_header_of_two_lines_is_somebody_else(mail: RunningMail) -> None:
    mail.create(ALICE, BOB)
    twice = f"From: <{BOB}>\r\n".encode() + encrypted_message(ALICE)
    hidden = encrypted_message(ALICE).replace(b"From:", f"From: <{BOB}>,\r\n".encode(), 1)
    for message in (twice, hidden):
        with mail.smtp() as client:
            client.mail(ALICE)
            client.rcpt(BOB)
            code, text = client.data(message)
            assert (code, text[:19]) == (500, b"Invalid FROM header")


def test_words_of_refusals(start_mail: StartMail) -> None:
    mail = start_mail(limits=Limits(message=50_000, recipients=2))
    mail.create(ALICE, BOB)
    with mail.smtp() as client:
        assert client.vrfy("somebody")[0] == 252
        assert client.mail(ALICE, ["SIZE=50001"])[0] == 552
        client.mail(BOB)
        assert client.rcpt(BOB) == (
            553,
            f"5.7.1 <{BOB}>: Sender address rejected: not owned by user {ALICE}".encode(),
        )
        client.rset()
        client.mail(ALICE)
        assert client.rcpt("nobody_12@chatmail.test")[0] == 550
        assert [client.rcpt(user)[0] for user in (ALICE, BOB, ALICE)] == [250, 250, 452]


def test_too_many_mails_of_one_sender(start_mail: StartMail) -> None:
    mail = start_mail(messages_per_minute=60)
    mail.create(ALICE, BOB)
    with mail.smtp() as client:
        codes = []
        for _ in range(14):
            client.mail(ALICE)
            codes.append(client.rcpt(ALICE))
            client.rset()
        assert [code for code, _text in codes[:10]] == [250] * 10
        assert (450, f"4.7.1: Too much mail from <{ALICE}>, try again later".encode()) in codes[10:]
    mail.send(ALICE, sender=BOB)


def test_gcra() -> None:
    rate = Gcra(period=1.0, burst=10)
    assert [rate.take("a", 0.0) for _ in range(12)] == [True] * 10 + [False] * 2
    assert [rate.take("a", now) for now in (0.5, 1.0, 1.5, 2.0)] == [False, True, False, True]
    assert rate.take("b", 2.0)
    assert [rate.take("a", 100.0) for _ in range(11)] == [True] * 10 + [False]


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 50)), max_size=50))
def test_a_memory_budget_is_never_overdrawn(steps: list[tuple[bool, int]]) -> None:
    budget, held = MemoryBudget(100), []
    for take, size in steps:
        if take and budget.take(size):
            held.append(size)
        elif not take and held:
            budget.give_back(held.pop())
        assert 0 <= sum(held) <= 100


def test_parallel_transfers_share_a_bounded_memory(start_mail: StartMail) -> None:
    """One too many is told to come again; the others are served, and afterwards there is room again."""
    mail = start_mail(limits=Limits(message=3_000_000, messages_in_memory=3_000_000))
    mail.create(ALICE)
    clients = [mail.smtp() for _ in range(3)]
    answers = []
    for client in clients:
        client.mail(ALICE)
        client.rcpt(ALICE)
        client.docmd("DATA")
        sock = client.sock
        assert sock is not None
        line = b"x" * 900 + b"\r\n"
        try:
            sock.sendall(encrypted_message(ALICE) + line * 1200)
            if client is clients[-1]:
                answers.append(read_all(sock))
        except OSError:
            answers.append(b"421 ")  # it was said, and lost with the connection
    assert answers[0].startswith(b"421 ")
    for client in clients[:2]:
        sock = client.sock
        assert sock is not None
        sock.sendall(b".\r\n")
        assert read_until(sock, b"\r\n").startswith(b"250 ")
    for client in clients:
        client.close()
    mail.send(ALICE)
    assert len(stored(mail)) == 3


def test_a_mail_of_empty_lines_costs_no_more_than_its_bytes(start_mail: StartMail) -> None:
    mail = start_mail(limits=Limits(messages_in_memory=3_000_000))
    mail.create(ALICE)
    assert submit(mail, b"\r\n" * 1_000_000 + b".\r\n").startswith(b"500 Invalid FROM header")
    mail.send(ALICE)


@pytest.mark.parametrize(
    ("size", "code"), [(998, 250), (1500, 250), (2048, 250), (2050, 500), (9000, 500), (70_000, 500)]
)
@pytest.mark.parametrize("field", ["X-Long: ", "From: "])
def test_lines_as_long_as_the_postfix_of_chatmail_takes_them(
    mail: RunningMail, size: int, code: int, field: str
) -> None:
    mail.create(ALICE)
    content = encrypted_message(ALICE)
    if field == "From: ":
        end = f" <{ALICE}>".encode()
        content = content.partition(b"\r\n")[2] if content.startswith(b"From:") else content
        line = field.encode() + b"A" * (size - len(field) - len(end)) + end
    else:
        line = field.encode() + b"A" * (size - len(field))
    with mail.smtp() as client:
        client.mail(ALICE)
        client.rcpt(ALICE)
        answer = client.data(line + b"\r\n" + content)
        assert answer[0] == code, answer
        assert code == 250 or b"too long" in answer[1]
        assert client.noop()[0] == 250


def test_bad_bytes() -> None:
    assert not has_bad_bytes(b"a\r\nb\r\n\r\n")
    for content in (b"a\nb", b"a\rb", b"a\n\r", b"\r\r\n", b"\0", b"a\r\n\n"):
        assert has_bad_bytes(content)


def test_a_password_is_in_no_log(mail: RunningMail, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    mail.create(ALICE)
    for password in ("hunter2hunter2", PASSWORD):
        with contextlib.suppress(smtplib.SMTPException):
            mail.smtp(password=password).close()
    for line in (
        b"a LOGIN x hunter2hunter2 y\r\n",
        b"a LOGIN {99999}\r\n",
        b"a AUTHENTICATE PLAIN hunter2\r\n",
    ):
        with mail.socket("imaps", tls=True) as sock:
            sock.sendall(line)
            sock.shutdown(socket.SHUT_WR)
            read_all(sock)
    assert "hunter2" not in caplog.text
    assert PASSWORD not in caplog.text
