"""AUTH over SMTP as clients in the world speak it, as scripts over real TLS.

`C: ` is what the client sends, `S: ` the next line of the server (`...` stands for anything).
"""

from __future__ import annotations

import re
import smtplib
import time
from base64 import b64encode

import pytest

from reference_server.mail.settings import Limits
from tests.reference_server.mail.conftest import StartMail
from tests.reference_server.mail.pgp import encrypted_message
from tests.reference_server.mail.running import ALICE, BOB, PASSWORD, RunningMail, read_until


def encoded(text: str) -> str:
    return b64encode(text.encode()).decode()


PLAIN = encoded(f"\0{ALICE}\0{PASSWORD}")
WRONG = encoded(f"\0{ALICE}\0wrong password")
NO_UTF8 = b64encode(b"\0alice\0\xff").decode()
USER, SECRET = encoded(ALICE), encoded(PASSWORD)


def run(mail: RunningMail, script: str) -> None:
    """After the EHLO, which is not part of the script."""
    with mail.socket("submissions", tls=True) as sock:
        sock.sendall(b"EHLO client\r\n")
        heard = read_until(sock, b"250 HELP\r\n").partition(b"250 HELP\r\n")[2]
        for number, line in enumerate(script.strip().splitlines(), 1):
            word, _, rest = line.strip().partition(" ")
            if word == "C:":
                sock.sendall(rest.encode() + b"\r\n")
                continue
            if b"\r\n" not in heard:
                heard += read_until(sock, b"\r\n")
            said, _, heard = heard.partition(b"\r\n")
            expected = ".*".join(map(re.escape, rest.split("...")))
            assert re.fullmatch(expected, said.decode()), f"line {number}, {line.strip()!r}: {said!r}"
        assert heard == b""


@pytest.mark.parametrize("word", ["AUTH PLAIN", "AUTH plain", "auth Plain", "Auth pLAIN"])
def test_plain_in_any_case_in_one_line_and_in_two(mail: RunningMail, word: str) -> None:
    mail.create(ALICE)
    run(mail, f"C: {word} {PLAIN}\nS: 235 ...")
    run(mail, f"C: {word}\nS: 334...\nC: {PLAIN}\nS: 235 ...")


@pytest.mark.parametrize("word", ["AUTH LOGIN", "auth login", "AUTH Login"])
def test_login_in_any_case_with_and_without_the_user(mail: RunningMail, word: str) -> None:
    mail.create(ALICE)
    run(
        mail,
        f"""
        C: {word}
        S: 334 {encoded("Username:")}
        C: {USER}
        S: 334 {encoded("Password:")}
        C: {SECRET}
        S: 235 ...
        """,
    )
    run(mail, f"C: {word} {USER}\nS: 334 {encoded('Password:')}\nC: {SECRET}\nS: 235 ...")


def test_answers_that_are_none(mail: RunningMail) -> None:
    mail.create(ALICE)
    run(
        mail,
        f"""
        C: AUTH
        S: 501 ...
        C: AUTH PLAIN x y
        S: 501 ...
        C: AUTH GSSAPI
        S: 504 ...
        C: AUTH PLAIN
        S: 334...
        C: *
        S: 501 5.7.0 ...
        C: AUTH LOGIN
        S: 334 ...
        C: *
        S: 501 5.7.0 ...
        C: AUTH LOGIN {USER}
        S: 334 ...
        C: no base64!
        S: 501 5.5.2 ...
        C: AUTH PLAIN =
        S: 501 5.5.2 ...
        C: AUTH PLAIN {encoded("x")}
        S: 501 5.5.2 ...
        C: AUTH PLAIN {NO_UTF8}
        S: 535 ...
        C: AUTH PLAIN {PLAIN}
        S: 235 ...
        C: AUTH PLAIN {PLAIN}
        S: 503 ...
        """,
    )


def test_nobody_acts_for_somebody_else(mail: RunningMail) -> None:
    mail.create(ALICE, BOB)
    run(
        mail,
        f"""
        C: AUTH PLAIN {encoded(f"{BOB}{chr(0)}{ALICE}{chr(0)}{PASSWORD}")}
        S: 535 5.7.8 ...
        C: MAIL FROM:<{BOB}>
        S: 530 ...
        C: AUTH PLAIN {encoded(f"{ALICE.upper()}{chr(0)}{ALICE}{chr(0)}{PASSWORD}")}
        S: 235 ...
        """,
    )


@pytest.mark.parametrize("size", [600, 1020, 1200, 5000, 9000])
def test_an_answer_is_as_long_as_it_wants_to_be(mail: RunningMail, size: int) -> None:
    """Neither the limit of commands nor that of lines in a mail counts for it (RFC 4954 section 4)."""
    mail.create(ALICE)
    answer = encoded(f"\0{ALICE}\0{'x' * size}")
    run(
        mail,
        f"""
        C: AUTH PLAIN {answer}
        S: 535 ...
        C: AUTH PLAIN
        S: 334...
        C: {answer}
        S: 535 ...
        C: NOOP
        S: 250 ...
        """,
    )


@pytest.mark.parametrize("size", [12300, 13000, 30000, 200_000])
def test_an_answer_that_is_too_long_is_said_to_be_and_no_command(mail: RunningMail, size: int) -> None:
    mail.create(ALICE)
    run(
        mail,
        f"""
        C: AUTH PLAIN
        S: 334...
        C: {"A" * size}
        S: 500 5.5.6 An answer is longer than 12288 bytes
        C: AUTH PLAIN {"A" * size}
        S: 500 ...
        C: AUTH PLAIN {PLAIN}
        S: 235 ...
        """,
    )


def test_a_long_password_can_be_one(mail: RunningMail) -> None:
    password = "long" * 250
    mail.imap(ALICE, password).logout()
    mail.smtp(ALICE, password).close()


@pytest.mark.parametrize("parameter", ["AUTH=<>", "auth=<>", f"AUTH={BOB}", "AUTH=e+3Dmc2@example.com"])
def test_the_writer_of_a_mail_may_be_named(mail: RunningMail, parameter: str) -> None:
    """RFC 4954 section 5."""
    mail.create(ALICE)
    with mail.smtp() as client:
        assert client.mail(ALICE, [parameter, "SIZE=1000", "BODY=8BITMIME"])[0] == 250
        assert client.rcpt(ALICE)[0] == 250
        assert client.data(encrypted_message(ALICE))[0] == 250


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (f"MAIL FROM:<{ALICE}> AUTH=", 501),
        (f"MAIL FROM:<{ALICE}> AUTH=a+3", 555),
        (f"MAIL FROM:<{ALICE}> AUTHOR=<>", 555),
        (f"MAIL FROM:<{ALICE}> AUTH={'a' * 450}@example.com", 250),
        (f"MAIL FROM:<{ALICE}> AUTH={'a' * 5000}@example.com", 500),
    ],
)
def test_other_parameters(mail: RunningMail, command: str, code: int) -> None:
    mail.create(ALICE)
    with mail.smtp() as client:
        assert client.docmd(command)[0] == code


def test_recipients_have_no_parameters(mail: RunningMail) -> None:
    mail.create(ALICE)
    with mail.smtp() as client:
        client.mail(ALICE)
        assert client.rcpt(ALICE, ["AUTH=<>"])[0] == 555


def test_wrong_logins_are_535_each_and_slower_from_some_number_on(start_mail: StartMail) -> None:
    """smtplib tries PLAIN and LOGIN at each log-in, so the third wrong one is its user's second."""
    mail = start_mail(limits=Limits(login_failures=3, login_failure_delay=0.2))
    mail.create(ALICE)
    with smtplib.SMTP_SSL(mail.host, mail.ports["submissions"], context=mail.tls) as client:
        for _ in range(3):
            with pytest.raises(smtplib.SMTPAuthenticationError, match="535"):
                client.login(ALICE, "wrong password")
        began = time.monotonic()
        assert client.docmd("AUTH", f"PLAIN {WRONG}")[0] == 535
        assert time.monotonic() - began > 0.2 * 4
        client.login(ALICE, PASSWORD)
