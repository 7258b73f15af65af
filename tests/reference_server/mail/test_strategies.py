"""Each seam changes what it names, and nothing else: a server with one wrong strategy still works."""

from __future__ import annotations

import smtplib
from collections.abc import Iterable, Sequence

import pytest

from reference_server.mail.delivery import Notifier
from reference_server.mail.imap.states import ALLOWED_COMMANDS, State
from reference_server.mail.policy import Accept
from reference_server.mail.store import Account, Store
from reference_server.mail.strategies import Strategies
from tests.reference_server.mail.conftest import StartMail
from tests.reference_server.mail.running import ALICE, PASSWORD, RunningMail, read_until

URL = "http://127.0.0.1:3340"


def test_allowed_commands(start_mail: StartMail) -> None:
    allowed = {
        **ALLOWED_COMMANDS,
        State.NOT_AUTHENTICATED: ALLOWED_COMMANDS[State.NOT_AUTHENTICATED] | {"GETMETADATA"},
    }
    mail = start_mail(strategies=Strategies(allowed_commands=allowed), iroh_relay_url=URL)
    with mail.socket("imaps", tls=True) as sock:
        sock.sendall(b'a GETMETADATA "" /shared/vendor/deltachat/irohrelay\r\n')
        assert URL.encode() in read_until(sock, b"a OK")
    assert mail.events("metadata_read")[0]["user"] is None


def test_capabilities(start_mail: StartMail) -> None:
    mail = start_mail(strategies=Strategies(capabilities=lambda *_: ("IMAP4rev1", "XNONSENSE")))
    client = mail.imap()
    assert client.capabilities == ("IMAP4REV1", "XNONSENSE")
    assert client.noop()[0] == "OK"
    client.logout()


class UpperCaseStore(Store):
    def find_mailbox(self, account: int, name: str) -> int:
        return super().find_mailbox(account, name.upper())


def test_store(start_mail: StartMail) -> None:
    mail = start_mail(strategies=Strategies(make_store=UpperCaseStore))
    client = mail.imap()
    client.create("BOX")
    assert client.select("box")[0] == "OK"
    client.logout()


class SilentNotifier(Notifier):
    def publish(self, mailboxes: Iterable[int]) -> None:
        pass


@pytest.mark.parametrize(
    ("strategies", "woken"), [(Strategies(), True), (Strategies(make_notifier=SilentNotifier), False)]
)
def test_notifier(start_mail: StartMail, strategies: Strategies, woken: bool) -> None:
    mail = start_mail(strategies=strategies)
    mail.create(ALICE)
    with mail.socket("imaps", tls=True) as sock:
        sock.sendall(f'a LOGIN {ALICE} "{PASSWORD}"\r\nb SELECT INBOX\r\n'.encode())
        read_until(sock, b"b OK")
        mail.send(ALICE)
        sock.sendall(b"c IDLE\r\n")
        assert b"* 1 EXISTS" in read_until(sock, b"RECENT\r\n"), "entering IDLE compares without being woken"
        mail.send(ALICE)
        if woken:
            assert read_until(sock, b"RECENT\r\n").startswith(b"* 2 EXISTS\r\n")
        sock.sendall(b"DONE\r\n")
        assert read_until(sock, b"\r\n") == b"c OK IDLE completed\r\n"
        sock.sendall(b"d NOOP\r\n")
        assert (b"* 2 EXISTS" in read_until(sock, b"d OK")) is not woken


class LosingDelivery:
    def __init__(self, _store: object, _notifier: object) -> None:
        self.lost = 0

    async def deliver(self, accounts: Sequence[Account], content: bytes, **_more: object) -> None:
        self.lost += len(accounts)

    async def close(self) -> None:
        pass


def test_delivery(start_mail: StartMail) -> None:
    mail = start_mail(strategies=Strategies(make_delivery=LosingDelivery))
    mail.create(ALICE)
    mail.send(ALICE)
    assert inbox(mail) == b"0"


def test_submission_policy(start_mail: StartMail) -> None:
    plain = f"From: {ALICE}\r\n\r\nhello\r\n"
    strict = start_mail()
    strict.create(ALICE)
    with strict.smtp() as client, pytest.raises(smtplib.SMTPDataError):
        client.sendmail(ALICE, [ALICE], plain)
    lax = start_mail(strategies=Strategies(submission_policy=lambda _submission, _rules: Accept()))
    with lax.smtp() as client:
        client.sendmail(ALICE, [ALICE], plain)
    assert inbox(lax) == b"1"


def test_password_verification(start_mail: StartMail) -> None:
    mail = start_mail(strategies=Strategies(verify_password=lambda _hash, _password: True))
    mail.create(ALICE)
    mail.imap(password="wrong password").logout()
    assert len(mail.events("account_created")) == 1


def inbox(mail: RunningMail) -> bytes | None:
    """How many messages are in it."""
    client = mail.imap()
    _, (count,) = client.select()
    client.logout()
    return count
