"""Port 25: mail of other servers, for those who live here, signed, encrypted and by the one who says so."""

from __future__ import annotations

import pytest

from reference_server.mail.settings import DkimRule, Limits
from tests.reference_server.mail.federation.conftest import StartServer
from tests.reference_server.mail.federation.support import (
    EVE,
    PEER,
    connect,
    deliver,
    from_peer,
    publish_key,
    signed,
)
from tests.reference_server.mail.federation.zone import Zone
from tests.reference_server.mail.pgp import encrypted_message
from tests.reference_server.mail.running import RunningMail
from tests.reference_server.mail.test_submission import stored

BOB, ELSEWHERE = "bob456789@_two.test", "somebody@elsewhere.test"


@pytest.fixture
def two(start_server: StartServer, zone: Zone) -> RunningMail:
    mail = start_server("_two.test")
    mail.create(BOB)
    publish_key(zone)
    return mail


def test_signed_and_encrypted_mail_arrives_without_what_servers_wrote(two: RunningMail) -> None:
    content = encrypted_message(EVE, subject="as it was")
    assert deliver(two, b"Received: by peer\r\n" + signed(content), BOB).startswith("250")
    assert stored(two, BOB) == [content]


def test_what_was_taken_already_is_taken_again_and_kept_once(two: RunningMail) -> None:
    """RFC 1047: the other server has not heard that we have it."""
    mail = from_peer()
    assert [deliver(two, mail, BOB)[:3] for _ in range(2)] == ["250", "250"]
    assert deliver(two, from_peer("another"), BOB).startswith("250")
    assert len(stored(two, BOB)) == 2


def test_nobody_sends_through_this_server(two: RunningMail) -> None:
    assert deliver(two, from_peer(), ELSEWHERE) == f"554 5.7.1 <{ELSEWHERE}>: Relay access denied"
    for trick in (f"{ELSEWHERE.replace('@', '%')}@_two.test", f'"{ELSEWHERE}"@_two.test', "bob456789"):
        assert deliver(two, from_peer(), trick)[:1] == "5"
    with connect(two) as client:
        client.ehlo(PEER)
        assert client.mail(BOB)[0] == 250  # a sender of this server opens nothing
        assert client.rcpt(ELSEWHERE)[0] == 554
        assert not client.has_extn("auth")


def test_only_people_who_live_here_get_mail(two: RunningMail) -> None:
    assert deliver(two, from_peer(), "nobody123@_two.test")[:9] == "550 5.1.1"
    with connect(two) as client:
        client.ehlo(PEER)
        client.mail(EVE)
        assert [client.rcpt(each)[0] for each in ("nobody123@_two.test", BOB)] == [550, 250]
        assert client.data(from_peer())[0] == 250
    assert len(stored(two, BOB)) == 1


def test_a_report_for_nobody_is_refused_and_makes_no_report(two: RunningMail) -> None:
    for recipient, answer in {"nobody123@_two.test": "550 5.1.1", ELSEWHERE: "554"}.items():
        assert deliver(two, signed(BOUNCE), recipient, sender="").startswith(answer)
    assert stored(two, BOB) == []


def test_mail_comes_over_tls_only(two: RunningMail) -> None:
    with connect(two, tls=False) as client:
        client.ehlo(PEER)
        assert client.mail(EVE)[0] == 530


def readable(sender: str = EVE, header: str = "") -> bytes:
    return f"From: <{sender}>\r\n{header}Subject: x\r\n\r\nhello\r\n".encode()


SECUREJOIN = (
    b"From: <%b>\r\nSubject: x\r\nSecure-Join: vc-request\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain\r\n\r\nsecure-join: vc-request\r\n--b--\r\n" % EVE.encode()
)
BOUNCE = (
    b"From: <mailer-daemon@peer.test>\r\nAuto-Submitted: auto-replied\r\n"
    b"Content-Type: multipart/report; boundary=b\r\n\r\n--b\r\n\r\nhello\r\n--b--\r\n"
)


@pytest.mark.parametrize(
    ("content", "sender", "answer"),
    [
        (signed(readable()), EVE, "523 Encryption Needed"),
        (signed(SECUREJOIN), EVE, "250"),
        (signed(BOUNCE), "", "250"),
        (signed(encrypted_message(EVE)), "", "250"),
        (signed(encrypted_message(EVE)), "other@peer.test", "500 Invalid FROM"),
        (signed(encrypted_message("a@_two.test")), "a@_two.test", "550 5.7.1"),
        (signed(encrypted_message("a@[203.0.113.9]")), "a@[203.0.113.9]", "550 5.7.1"),
        (encrypted_message(EVE), EVE, "554 5.7.1 No DKIM signature found"),
        (signed(encrypted_message(EVE)) + b"more\r\n", EVE, "554 5.7.1 No valid DKIM signature"),
        (signed(encrypted_message(EVE), "other.test"), EVE, "554 5.7.1 No valid DKIM signature"),
        (signed(encrypted_message("eve@other.test"), "other.test"), "eve@other.test", "554 5.7.1"),  # no key
        (b"Received: x\r\n" * 51 + from_peer(), EVE, "554 5.4.6"),
        (b"From: <a@b.c>\r\n" + from_peer(), EVE, "500 Invalid FROM"),
        (b"X: " + b"x" * 3000 + b"\r\n" + from_peer(), EVE, "500 5.5.2"),
    ],
)
def test_mail_is_judged(two: RunningMail, content: bytes, sender: str, answer: str) -> None:
    reply = deliver(two, content, BOB, sender=sender)
    assert reply.startswith(answer)
    assert len(stored(two, BOB)) == (answer == "250")


def test_when_the_key_cannot_be_looked_up_the_mail_is_to_come_again(two: RunningMail, zone: Zone) -> None:
    zone.failing.add(f"opendkim._domainkey.{PEER}")
    assert deliver(two, from_peer(), BOB).startswith("451 4.7.5")
    zone.failing.clear()
    assert deliver(two, from_peer(), BOB).startswith("250")


def test_signatures_can_be_ignored(start_server: StartServer) -> None:
    mail = start_server("_two.test", dkim=DkimRule.IGNORED)
    mail.create(BOB)
    assert deliver(mail, encrypted_message(EVE), BOB).startswith("250")


def test_limits_of_size_number_and_room(start_server: StartServer, zone: Zone) -> None:
    publish_key(zone)
    mail = start_server("_two.test", limits=Limits(message=4096, recipients=2, quota=1))
    mail.create(BOB)
    assert deliver(mail, from_peer(), BOB).startswith("250")
    assert deliver(mail, from_peer("other"), BOB).startswith("552 5.2.2")
    with connect(mail) as client:
        client.ehlo(PEER)
        assert client.esmtp_features["size"] == "4096"
        assert client.mail(EVE, ["size=5000"])[0] == 552
    mail.create("carol6789@_two.test")
    large = from_peer() + b"x\r\n" * 2000
    assert deliver(mail, large, "carol6789@_two.test").startswith("552 5.3.4")


def test_without_the_option_there_is_no_port_and_nobody_elsewhere(start_server: StartServer) -> None:
    mail = start_server("_two.test", federation=False)
    mail.create(BOB)
    assert "smtp" not in mail.ports
    with mail.smtp(BOB) as client:
        client.mail(BOB)
        assert client.rcpt(ELSEWHERE)[0] == 550
