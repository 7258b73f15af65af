"""`POST /mxdeliv` as madmail has it; mailboxes are read, since a mail that is passed over is answered like one that is
delivered."""

from __future__ import annotations

import http.client

import pytest

from reference_server.mail.settings import Dialect, Limits
from tests.reference_server.mail.federation.conftest import StartServer
from tests.reference_server.mail.pgp import encrypted_message
from tests.reference_server.mail.running import RunningMail
from tests.reference_server.mail.test_submission import stored

BOB, CAROL, EVE = "bob456789@two.test", "carol6789@two.test", "eve@peer.test"


@pytest.fixture
def two(start_server: StartServer) -> RunningMail:
    mail = start_server("two.test", dialect=Dialect.MADMAIL)
    mail.create(BOB, CAROL)
    return mail


def post(
    mail: RunningMail,
    content: bytes,
    *recipients: str,
    sender: str = EVE,
    method: str = "POST",
    path: str = "/mxdeliv",
) -> tuple[int, str]:
    client = http.client.HTTPSConnection(mail.host, mail.ports["https"], context=mail.tls, timeout=20)
    client.putrequest(method, path)
    client.putheader("X-Mail-From", sender)
    for each in recipients:
        client.putheader("X-Mail-To", each)
    client.putheader("Content-Length", str(len(content)))
    client.endheaders(content)
    answer = client.getresponse()
    text = answer.read().decode()
    client.close()
    return answer.status, text


def test_every_recipient_who_lives_here_gets_it_once(two: RunningMail) -> None:
    mail = encrypted_message(EVE)
    recipients = (BOB, "other@elsewhere.test", CAROL, BOB.upper(), "nobody123@two.test")
    assert [post(two, mail, *recipients) for _ in range(2)] == [(200, "OK")] * 2
    assert stored(two, BOB) == stored(two, CAROL) == [mail]


def test_a_mail_may_have_the_lines_of_a_file(two: RunningMail) -> None:
    """... as madmail's own tests post it, and some lines of either kind."""
    mail = encrypted_message(EVE)
    header, _, body = mail.partition(b"\r\n\r\n")
    other = mail.replace(b"\r\nSubject:", b"\r\nX-More: x\r\nSubject:", 1)
    assert post(two, mail.replace(b"\r\n", b"\n"), BOB) == (200, "OK")
    assert post(two, other.replace(b"\r\n", b"\n", 2), CAROL) == (200, "OK")
    assert post(two, header.replace(b"\r\n", b"\r") + b"\r\n\r\n" + body, BOB)[0] == 403
    assert (stored(two, BOB), stored(two, CAROL)) == ([mail], [other])


@pytest.mark.parametrize(
    ("recipient", "sender"),
    [
        ("admin@two.test", EVE),
        ("postmaster@two.test", EVE),
        ("nobody123@two.test", EVE),
        ("user@2.2.2.2", EVE),
        ("user@[3.3.3.3]", EVE),
        ("bob456789@sub.two.test", EVE),
        ("bob456789", EVE),
        (BOB, "admin@peer.test"),
    ],
)
def test_others_are_passed_over_without_a_word(two: RunningMail, recipient: str, sender: str) -> None:
    assert post(two, encrypted_message(sender), recipient, sender=sender) == (200, "OK")
    assert post(two, b"From: x\r\n\r\nreadable\r\n", "nobody123@two.test") == (200, "OK")
    assert stored(two, BOB) == stored(two, CAROL) == []


def test_reserved_names_get_nothing_even_where_somebody_has_one(two: RunningMail) -> None:
    two.create("postmaster@two.test")
    assert post(two, encrypted_message(EVE), "postmaster@two.test") == (200, "OK")
    assert stored(two, "postmaster@two.test") == []


@pytest.mark.parametrize(
    ("content", "recipients", "status"),
    [
        (b"From: <eve@peer.test>\r\n\r\nreadable\r\n", (BOB,), 403),
        (encrypted_message("other@peer.test"), (BOB,), 400),
        (encrypted_message(EVE), (), 400),
        (b"", (BOB,), 400),
        (b"Received: x\r\n" * 51 + encrypted_message(EVE), (BOB,), 403),
        (b"\n" + encrypted_message(EVE), (BOB,), 400),
        (b"\r" + encrypted_message(EVE), (BOB,), 403),
    ],
)
def test_what_is_refused_is_in_no_mailbox(
    two: RunningMail, content: bytes, recipients: tuple[str, ...], status: int
) -> None:
    assert post(two, content, *recipients)[0] == status
    assert stored(two, BOB) == []


def test_too_large_and_too_full(start_server: StartServer) -> None:
    mail = start_server("two.test", dialect=Dialect.MADMAIL, limits=Limits(message=4096, quota=1))
    mail.create(BOB)
    assert post(mail, b"x" * 5000, BOB)[0] == 413
    assert post(mail, encrypted_message(EVE), BOB)[0] == 200
    assert post(mail, encrypted_message(EVE, marker="two"), BOB) == (507, "quota")


def test_methods_and_dialects(two: RunningMail, start_server: StartServer) -> None:
    assert post(two, b"", method="GET")[0] == 405
    assert post(two, encrypted_message(EVE), BOB, path="https://two.test/mxdeliv?x=y")[0] == 200
    chatmail = start_server("_three.test")
    assert post(chatmail, encrypted_message(EVE), BOB)[0] == 404
