"""Many clients at once, clients that mean harm, and a disk that is full: defined, bounded, nothing lost."""

from __future__ import annotations

import contextlib
import imaplib
import smtplib
import socket
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from harness.waiting import wait_until
from reference_server.mail.settings import Limits
from reference_server.mail.store import Store
from reference_server.mail.strategies import Strategies
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

ACCOUNTS = 50
IDLING = 200


def test_fifty_accounts_at_once(mail: RunningMail) -> None:
    users = [f"user_{number:04}@chatmail.test" for number in range(ACCOUNTS)]
    with ThreadPoolExecutor(ACCOUNTS) as threads:
        list(threads.map(mail.create, users))
    assert sorted(event["user"] for event in mail.events("account_created")) == users
    for user in users[:3]:
        mail.send(user, sender=users[-1])
        assert inbox(mail, user) == 1


def test_two_hundred_idle_connections_are_all_woken(mail: RunningMail) -> None:
    mail.create(ALICE)

    def idle(_number: int) -> socket.socket:
        sock = mail.socket("imaps", tls=True)
        sock.sendall(f'a LOGIN {ALICE} "{PASSWORD}"\r\nb SELECT INBOX\r\nc IDLE\r\n'.encode())
        read_until(sock, b"+ idling\r\n")
        return sock

    with ThreadPoolExecutor(20) as threads, ExitStack() as stack:
        socks = list(threads.map(idle, range(IDLING)))
        for sock in socks:
            stack.enter_context(sock)
        for number in (1, 2):
            mail.send(ALICE)
            answers = [read_until(sock, b"RECENT\r\n") for sock in socks]
            assert {answer.partition(b"\r\n")[0] for answer in answers} == {b"* %d EXISTS" % number}
            assert answers.count(b"* %d EXISTS\r\n* 0 RECENT\r\n" % number) >= len(socks) - number
        for sock in socks:
            sock.sendall(b"DONE\r\nd LOGOUT\r\n")
        assert all(b"d OK LOGOUT" in read_all(sock) for sock in socks)


def test_guessing_passwords_from_one_address_comes_to_an_end(start_mail: StartMail) -> None:
    """Over many connections, IMAP and SMTP together; then even the right password is not looked at for a while."""
    limits = Limits(source_login_failures=6, source_login_failure_forgotten=1.0)
    mail = start_mail(limits=limits)
    mail.create(ALICE, BOB)
    for number in range(3):
        with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
            mail.imap(password=f"wrong password {number}")
        with pytest.raises(smtplib.SMTPAuthenticationError):
            mail.smtp(password=f"wrong password {number}")
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        mail.imap()
    elsewhere = mail.socket_from("127.0.0.9", "imaps")
    elsewhere.sendall(f'a LOGIN {ALICE} "{PASSWORD}"\r\nb LOGOUT\r\n'.encode())
    assert b"a OK" in read_all(elsewhere)
    elsewhere.close()

    def let_in() -> bool:
        try:
            mail.imap().logout()
        except imaplib.IMAP4.error:
            return False
        return True

    wait_until(let_in, "a failure to be forgotten", within=DEADLINE)


def test_guessing_passwords_on_one_connection_ends_it(mail: RunningMail) -> None:
    mail.create(ALICE)
    with mail.socket("imaps", tls=True) as sock:
        sock.sendall(f"a LOGIN {ALICE} wrong-password\r\n".encode() * 10)
        assert read_all(sock).count(b"a NO [AUTHENTICATIONFAILED]") == 3


def test_bombs_over_the_network(start_mail: StartMail) -> None:
    """A packed bomb, a literal that is announced too large, and one without end: the others notice nothing."""
    mail = start_mail(compress=True)
    mail.create(ALICE)
    packer = zlib.compressobj(9, wbits=-15)
    bomb = packer.compress(b"x" * 200_000_000) + packer.flush()
    with mail.socket("imaps", tls=True) as sock:
        sock.sendall(f'a LOGIN {ALICE} "{PASSWORD}"\r\nb COMPRESS DEFLATE\r\n'.encode())
        read_until(sock, b"b OK DEFLATE active\r\n")
        with contextlib.suppress(OSError):  # it has closed already
            sock.sendall(bomb)
        assert b"* BYE" in zlib.decompressobj(-15).decompress(read_all(sock))
    with mail.socket("imaps", tls=True) as sock:
        sock.sendall(f'a LOGIN {ALICE} "{PASSWORD}"\r\nb APPEND INBOX {{4294967295+}}\r\n'.encode())
        assert b"b BAD Literals are limited" in read_all(sock)
    mail.send(ALICE)
    assert inbox(mail, ALICE) == 1


class SmallStore(Store):
    """As on a disk with 1 MB."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._db.execute("PRAGMA max_page_count = 256")


@pytest.fixture
def full(start_mail: StartMail) -> RunningMail:
    mail = start_mail(strategies=Strategies(make_store=SmallStore))
    mail.create(ALICE)
    return mail


def large(marker: str) -> bytes:
    return encrypted_message(ALICE, marker=marker) + (b"x" * 900 + b"\r\n") * 100


def test_a_full_disk_is_a_temporary_failure_and_loses_nothing(full: RunningMail) -> None:
    accepted = []
    with full.smtp() as client:
        for number in range(30):
            client.mail(ALICE)
            client.rcpt(ALICE)
            code, _text = client.data(large(f"mail-{number}"))
            if code != 250:
                break
            accepted.append(f"<mail-{number}@chatmail.test>")
        assert code == 451
        client.mail(ALICE)
        assert client.rcpt(ALICE)[0] == 250
    imap = full.imap()
    assert imap.select() == ("OK", [b"%d" % len(accepted)])
    status, _ = imap.append("INBOX", "", "", large("appended"))
    assert status == "NO"
    found = [message_id(imap, number) for number in range(1, len(accepted) + 1)]
    assert found == accepted
    imap.store("1:*", "+FLAGS.SILENT", r"(\Deleted)")
    assert imap.expunge()[0] == "OK"
    imap.logout()
    full.send(ALICE)
    assert inbox(full, ALICE) == 1


def message_id(imap: imaplib.IMAP4, number: int) -> str:
    _, answer = imap.fetch(str(number), "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
    assert isinstance(answer[0], tuple)
    return answer[0][1].decode().partition(":")[2].strip()


def inbox(mail: RunningMail, user: str) -> int:
    client = mail.imap(user)
    _, (count,) = client.select()
    client.logout()
    return int(count or 0)
