"""The mail service over real sockets and TLS, seen by imaplib, smtplib and http.client."""

from __future__ import annotations

import http.client
import imaplib
import json
import smtplib
import socket
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from harness.waiting import wait_until
from reference_server.mail.settings import Limits
from tests.reference_server.mail.conftest import StartMail
from tests.reference_server.mail.pgp import encrypted_message
from tests.reference_server.mail.running import (
    ALICE,
    BOB,
    DEADLINE,
    PASSWORD,
    RunningMail,
    read_all,
    read_until,
)


@pytest.mark.parametrize("starttls", [False, True])
def test_a_message_goes_from_smtp_to_imap_unchanged(mail: RunningMail, starttls: bool) -> None:
    mail.create(ALICE, BOB)
    content = encrypted_message(ALICE)
    with mail.smtp(starttls=starttls) as smtp:
        assert smtp.sendmail(ALICE, [BOB, ALICE], content) == {}
    for user in (ALICE, BOB):
        imap = mail.imap(user, starttls=starttls)
        assert imap.select() == ("OK", [b"1"])
        _, answer = imap.uid("fetch", "1:*", "(FLAGS BODY.PEEK[])")
        assert answer == [(b"1 (UID 1 FLAGS (\\Recent) BODY[] {%d}" % len(content), content), b")"]
        imap.logout()
    accepted = {"sender": ALICE, "recipients": [BOB, ALICE], "size": len(content)}
    assert [event | accepted for event in mail.events("message_accepted")] == mail.events("message_accepted")


def test_imap_offers_starttls_and_no_login_in_plain_text(mail: RunningMail) -> None:
    client = imaplib.IMAP4(mail.host, mail.ports["imap"], timeout=DEADLINE)
    assert {"STARTTLS", "LOGINDISABLED"} <= set(client.capabilities)
    with pytest.raises(imaplib.IMAP4.error, match="PRIVACYREQUIRED"):
        client.login(ALICE, PASSWORD)
    client.starttls(mail.tls)
    assert not {"STARTTLS", "LOGINDISABLED"} & set(client.capabilities)
    client.login(ALICE, PASSWORD)
    client.logout()


def test_smtp_offers_starttls_and_no_login_in_plain_text(mail: RunningMail) -> None:
    with smtplib.SMTP(mail.host, mail.ports["submission"], timeout=DEADLINE) as client:
        client.ehlo()
        assert client.has_extn("starttls")
        assert not client.has_extn("auth")
        assert client.docmd("AUTH", "PLAIN AGEAYg==")[0] == 530
        client.starttls(context=mail.tls)
        client.ehlo()
        assert not client.has_extn("starttls")
        assert set(client.esmtp_features) == {"size", "8bitmime", "smtputf8", "auth", "help"}
        assert client.esmtp_features["auth"].split() == ["LOGIN", "PLAIN"]
        client.login(ALICE, PASSWORD)


@pytest.mark.parametrize(
    ("listener", "command", "answer"),
    [("imap", b"a STARTTLS\r\n", b"a OK"), ("submission", b"EHLO x\r\nSTARTTLS\r\n", b"220 Ready")],
)
def test_commands_injected_behind_starttls_are_not_answered(
    mail: RunningMail, listener: str, command: bytes, answer: bytes
) -> None:
    """CVE-2011-0411: what an attacker wrote before TLS must not be taken for the client's."""
    sock = mail.socket(listener, tls=False)
    read_until(sock, b"\r\n")
    sock.sendall(command + b"i NOOP\r\nNOOP\r\n")
    read_until(sock, answer)
    with mail.tls.wrap_socket(sock, server_hostname=mail.host) as secure:
        secure.sendall(b"b LOGOUT\r\n" if listener == "imap" else b"QUIT\r\n")
        reply = read_all(secure)
    assert b"NOOP" not in reply
    assert b"250" not in reply
    assert reply.startswith((b"* BYE", b"221"))


def test_idle_wakes_for_each_message(mail: RunningMail) -> None:
    mail.create(ALICE)
    with mail.socket("imaps", tls=True) as sock:
        sock.sendall(f'a LOGIN {ALICE} "{PASSWORD}"\r\nb SELECT INBOX\r\nc IDLE\r\n'.encode())
        read_until(sock, b"+ idling\r\n")
        for number in (1, 2, 3):
            mail.send(ALICE)
            assert read_until(sock, b"RECENT\r\n") == b"* %d EXISTS\r\n* %d RECENT\r\n" % (number, number)
        other = mail.imap()
        other.select()
        other.store("1,3", "+FLAGS.SILENT", r"(\Deleted)")
        assert read_until(sock, b"* 3 FETCH (UID 3 FLAGS (\\Deleted \\Recent))\r\n").startswith(b"* 1 FETCH")
        other.expunge()
        assert read_until(sock, b"* 1 EXPUNGE\r\n") == b"* 3 EXPUNGE\r\n* 1 EXPUNGE\r\n"
        other.logout()
        sock.sendall(b"DONE\r\nd FETCH 1 UID\r\n")
        assert b"* 1 FETCH (UID 2)\r\n" in read_until(sock, b"d OK")


def test_the_first_password_stays(mail: RunningMail) -> None:
    mail.create(ALICE)
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        mail.imap(password="another password")
    with pytest.raises(smtplib.SMTPAuthenticationError) as refused:
        mail.smtp(password="another password")
    assert refused.value.smtp_code == 535
    mail.imap().logout()
    mail.smtp().quit()
    assert [event["protocol"] for event in mail.events("login_refused")][:2] == ["imap", "smtp"]


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("short@chatmail.test", PASSWORD),
        ("too_long_for_us@chatmail.test", PASSWORD),
        ("alice_123@example.org", PASSWORD),
        ("alice_123", PASSWORD),
        ("alice+123@chatmail.test", PASSWORD),
        (ALICE, "8 chars."),
        (ALICE, "x" * 1025),
    ],
)
def test_accounts_that_are_not_created(mail: RunningMail, user: str, password: str) -> None:
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        mail.imap(user, password)
    assert mail.events("account_created") == []


def test_first_logins_in_parallel_create_one_account(mail: RunningMail) -> None:
    passwords = [f"password {number}" for number in range(12)]

    def works(password: str) -> bool:
        try:
            mail.imap(password=password).logout()
        except imaplib.IMAP4.error:
            return False
        return True

    with ThreadPoolExecutor(len(passwords)) as threads:
        first = list(threads.map(works, passwords))
    assert first.count(True) == 1
    assert [works(password) for password in passwords] == first
    assert len(mail.events("account_created")) == 1


def test_new_account_over_the_web(mail: RunningMail) -> None:
    status, answer = post(mail, "POST", "/new")
    assert status == 200
    assert set(answer) == {"email", "password", "dclogin_url"}
    mail.imap(answer["email"], answer["password"]).logout()
    assert mail.events("account_created")[0]["by"] == "web"
    assert post(mail, "GET", "/new")[0] == 405
    assert post(mail, "POST", "/other")[0] == 404
    assert post(mail, "POST", "/new", b"x" * 70_000)[0] == 413


def post(mail: RunningMail, method: str, path: str, body: bytes = b"") -> tuple[int, dict[str, str]]:
    client = http.client.HTTPSConnection(mail.host, mail.ports["https"], context=mail.tls, timeout=DEADLINE)
    try:
        client.request(method, path, body=body)
        response = client.getresponse()
        return response.status, json.loads(response.read())
    finally:
        client.close()


def test_unencrypted_mail_is_refused_and_not_stored(mail: RunningMail) -> None:
    mail.create(BOB)
    with mail.smtp() as client:
        with pytest.raises(smtplib.SMTPDataError) as refused:
            client.sendmail(ALICE, [BOB], f"From: {ALICE}\r\n\r\nhello\r\n")
        assert refused.value.smtp_code == 523
        assert b"Encryption Needed" in refused.value.smtp_error
        client.sendmail(ALICE, [BOB], encrypted_message(ALICE))
    imap = mail.imap(BOB)
    assert imap.select() == ("OK", [b"1"])
    imap.logout()
    assert [event["code"] for event in mail.events("message_refused")] == [523]


def test_sender_and_recipients_are_checked(mail: RunningMail) -> None:
    mail.create(ALICE, BOB)
    with mail.smtp() as client:
        client.mail(BOB)
        code, text = client.rcpt(ALICE)
        assert (code, b"not owned by user" in text) == (553, True)
        client.rset()
        client.mail(ALICE)
        assert client.rcpt("nobody_12@chatmail.test")[0] == 550
        assert client.rcpt("someone@example.org")[0] == 550
        assert client.rcpt(BOB.upper())[0] == 250
        assert client.data(encrypted_message(BOB)) == (500, f"Invalid FROM <{BOB}> for <{ALICE}>".encode())


def test_smtp_needs_a_login(mail: RunningMail) -> None:
    with smtplib.SMTP_SSL(mail.host, mail.ports["submissions"], context=mail.tls, timeout=DEADLINE) as client:
        client.ehlo()
        assert client.mail(ALICE)[0] == 530


def test_smtp_login_mechanisms(mail: RunningMail) -> None:
    with smtplib.SMTP_SSL(mail.host, mail.ports["submissions"], context=mail.tls, timeout=DEADLINE) as client:
        client.ehlo()
        client.user, client.password = ALICE, PASSWORD
        assert client.auth("LOGIN", client.auth_login)[0] == 235
    assert mail.events("login")[0]["user"] == ALICE


def test_message_size_and_quota(start_mail: StartMail) -> None:
    mail = start_mail(limits=Limits(message=5000, quota=1500))
    mail.create(ALICE, BOB)
    with mail.smtp() as client:
        assert client.mail(ALICE, ["SIZE=5001"])[0] == 552
        client.mail(ALICE)
        client.rcpt(BOB)
        code, _ = client.data(b"x\r\n" * 3000)
        assert code == 552
        for _ in range(2):
            client.sendmail(ALICE, [BOB], encrypted_message(ALICE) + b"\r\n" * 300)
        client.mail(ALICE)
        code, text = client.rcpt(BOB)
        assert (code, b"mailbox is full" in text) == (552, True)


def test_data_without_a_line_end_is_cut_off(start_mail: StartMail) -> None:
    mail = start_mail(limits=Limits(message=10_000))
    mail.create(ALICE)
    client = mail.smtp()
    client.mail(ALICE)
    client.rcpt(ALICE)
    client.docmd("DATA")
    sock = client.sock
    assert sock is not None
    try:
        for _ in range(2000):
            sock.sendall(b"x" * 1000)
    except OSError:
        pass  # the server has closed
    else:
        assert read_all(sock) == b""
    client.close()
    mail.send(ALICE)


def test_uid_validity_and_uid_next_survive_a_restart(start_mail: StartMail) -> None:
    mail = start_mail()
    mail.create(ALICE)
    mail.send(ALICE)
    mail.send(ALICE)
    imap = mail.imap()
    imap.select()
    imap.uid("store", "2", "+FLAGS", r"(\Deleted)")
    imap.close()
    _, before = imap.status("INBOX", "(MESSAGES UIDNEXT UIDVALIDITY)")
    assert b"MESSAGES 1 UIDNEXT 3" in before[0]
    imap.logout()
    mail.stop()
    again = start_mail()
    imap = again.imap()
    assert imap.status("INBOX", "(MESSAGES UIDNEXT UIDVALIDITY)") == ("OK", before)
    imap.logout()


def test_a_store_that_cannot_write_is_a_temporary_failure(mail: RunningMail) -> None:
    mail.create(ALICE)
    mail.imap().logout()
    database = sqlite3.connect(mail.database, isolation_level=None)
    with mail.smtp() as client:
        database.execute("BEGIN IMMEDIATE")
        client.mail(ALICE)
        client.rcpt(ALICE)
        assert client.data(encrypted_message(ALICE))[0] == 451
        database.execute("ROLLBACK")
        client.sendmail(ALICE, [ALICE], encrypted_message(ALICE))
    database.close()
    imap = mail.imap()
    assert imap.select() == ("OK", [b"1"])
    imap.logout()


def test_metadata_is_noted_without_values(mail: RunningMail) -> None:
    imap = mail.imap()
    imap._simple_command("GETMETADATA", '""', "/shared/vendor/deltachat/irohrelay")
    assert imap.untagged_responses["METADATA"] == [
        (b'"" (/shared/vendor/deltachat/irohrelay {21}', b"http://127.0.0.1:3340"),
        b")",
    ]
    imap.logout()
    (event,) = mail.events("metadata_read")
    assert (event["user"], event["keys"]) == (ALICE, ["/shared/vendor/deltachat/irohrelay"])
    assert "3340" not in str(mail.ledger.snapshot()["events"])
    assert PASSWORD not in str(mail.ledger.snapshot())


def test_connections_are_counted(mail: RunningMail) -> None:
    mail.imap().logout()
    record = closed_connection(mail)
    assert (record["listener"], record["identity"]) == ("imaps", ALICE)
    assert record["bytes_in"] > 50
    assert record["bytes_out"] > 200
    assert record["closed"] >= record["opened"]


def closed_connection(mail: RunningMail) -> dict[str, Any]:
    """The record of the newest connection, when it is closed."""

    def newest() -> dict[str, Any] | None:
        record: dict[str, Any] = mail.ledger.snapshot()["connections"][-1]
        return record if record["closed"] else None

    return wait_until(newest, "the server to close the connection", within=DEADLINE)


def test_too_many_connections_of_one_source(start_mail: StartMail) -> None:
    mail = start_mail(limits=Limits(connections_per_source=3))
    socks = [mail.socket("imap", tls=False) for _ in range(3)]
    for sock in socks:
        read_until(sock, b"ready\r\n")
    with mail.socket("imap", tls=False) as refused:
        assert read_all(refused) == b""
    for sock in socks:
        sock.sendall(b"a LOGOUT\r\n")
        assert b"a OK LOGOUT" in read_all(sock)
        sock.close()
    mail.imap().logout()


@pytest.mark.parametrize("listener", ["imaps", "submissions", "https", "imap", "submission"])
def test_half_open_and_garbage_connections_end(start_mail: StartMail, listener: str) -> None:
    """Silence, noise, and a TLS hello that stops in the middle."""
    mail = start_mail(limits=Limits(tls_handshake=0.5, before_login=0.5, http_connection=0.5))
    hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 20
    for noise in (b"", b"\x00\xff" * 50, hello, b"GET / HTTP/1.1\r\n"):
        with mail.socket(listener, tls=False) as sock:
            sock.sendall(noise)
            read_all(sock)
    if listener in ("imaps", "submissions", "https"):
        with mail.socket(listener, tls=True) as sock:
            read_all(sock)
    with mail.socket("imap", tls=False) as sock:
        read_until(sock, b"ready\r\n")


def test_starttls_that_stops_in_the_middle_ends(start_mail: StartMail) -> None:
    mail = start_mail(limits=Limits(tls_handshake=0.5, connections_per_source=1))
    for _ in range(2):
        with mail.socket("imap", tls=False) as sock:
            sock.sendall(b"a STARTTLS\r\n")
            read_until(sock, b"a OK Begin TLS negotiation now\r\n")
            sock.sendall(b"\x16\x03\x01\x02\x00\x01")
            read_all(sock)
        with mail.socket("imap", tls=False) as sock:
            sock.sendall(b"a STARTTLS\r\n")
            read_until(sock, b"a OK Begin TLS negotiation now\r\n")
            sock.shutdown(socket.SHUT_WR)
            read_all(sock)


def test_stopping_ends_connections_in_every_state(mail: RunningMail) -> None:
    mail.create(ALICE)
    names = ("imaps", "submissions", "https", "imap", "submission")
    socks = [mail.socket(name, tls=False) for name in names]
    socks += [mail.socket(name, tls=True) for name in names[:3]]
    starttls = mail.socket("imap", tls=False)
    starttls.sendall(b"a STARTTLS\r\n")
    read_until(starttls, b"a OK Begin TLS negotiation now\r\n")
    idle = mail.socket("imaps", tls=True)
    idle.sendall(f'a LOGIN {ALICE} "{PASSWORD}"\r\nb SELECT INBOX\r\nc IDLE\r\n'.encode())
    read_until(idle, b"+ idling\r\n")
    mail.stop()
    for sock in (*socks, starttls, idle):
        read_all(sock)
        sock.close()
    assert all(record["closed"] for record in mail.ledger.snapshot()["connections"])


def test_a_reader_that_reads_nothing_is_cut_off(start_mail: StartMail) -> None:
    mail = start_mail(limits=Limits(stalled_write=0.5, quota=10**9))
    mail.create(ALICE)
    with mail.smtp() as smtp:
        smtp.sendmail(ALICE, [ALICE], encrypted_message(ALICE) + (b"x" * 900 + b"\r\n") * 2000)
    with mail.socket("imaps", tls=True) as sock:
        sock.sendall(f'a LOGIN {ALICE} "{PASSWORD}"\r\nb SELECT INBOX\r\n'.encode())
        read_until(sock, b"b OK")
        sock.sendall(b"c FETCH 1 BODY.PEEK[]\r\n" * 20)
        assert closed_connection(mail)["bytes_out"] < 20 * 1_800_000
