"""What dovecot asks us, and the mail that it gets: by its protocols, without it."""

from __future__ import annotations

import json
import smtplib
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import UnixSocketController
from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import Envelope

from reference_server.errors import ConfigurationError
from reference_server.mail.settings import MailSettings

from .conftest import StartMail
from .pgp import encrypted_message
from .running import ALICE, BOB, PASSWORD, RunningMail

RELAY = "http://127.0.0.1:3340"
SERVER = "Lshared/0123abcd/vendor/vendor.dovecot/pvt/server"
IMAP_PORTS = {"imaps_port": 1993, "imap_port": 1143}


@pytest.fixture
def sockets(tmp_path: Path) -> Path:
    directory = tmp_path / "sockets"
    directory.mkdir()
    return directory


@pytest.fixture
def mail(start_mail: StartMail, sockets: Path) -> RunningMail:
    return start_mail(dovecot=sockets, iroh_relay_url=RELAY, **IMAP_PORTS)


@contextmanager
def asking(sockets: Path) -> Iterator[Any]:
    """A function that sends one line and reads one."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect(str(sockets / "dict"))
        lines = connection.makefile("rw", newline="\n")

        def ask(line: str) -> str:
            lines.write(f"{line}\n")
            lines.flush()
            return lines.readline().rstrip("\n")

        connection.sendall(b"H3\t2\t0\t\tauth\n")
        yield ask


def passdb(password: str, address: str = ALICE) -> str:
    return f'Lshared/passdb/{password}"{address}"192.0.2.7\t{address}'


def test_accounts_are_made_at_the_first_log_in_and_keep_their_password(mail, sockets):
    with asking(sockets) as ask:
        right = ask(passdb(PASSWORD))
        assert (right[:1], json.loads(right[1:])) == ("O", {"nopassword": "y"})
        assert ask(passdb("another password")) == "N"
        assert ask(passdb(PASSWORD)) == right
        assert ask(passdb(PASSWORD, "x@elsewhere.test")) == "N"
    assert [event["user"] for event in mail.events("account_created")] == [ALICE]


def test_a_password_may_have_any_character(mail, sockets):
    with asking(sockets) as ask:
        assert ask(passdb(r"a\"quoted\\one")).startswith("O")
    mail.smtp(ALICE, 'a"quoted\\one').close()


def test_metadata_is_that_of_the_server_and_nobody_elses(mail, sockets):
    with asking(sockets) as ask:
        assert ask(f"{SERVER}/vendor/deltachat/irohrelay\t{ALICE}") == f"O{RELAY}"
        assert ask(f"{SERVER}/vendor/deltachat/turn\t{ALICE}") == "N"
        assert ask(f"Lpriv/0123abcd/devicetoken\t{ALICE}") == "N"
        assert ask("L") == "N"


def test_nothing_is_kept_and_that_is_said(mail, sockets):
    with asking(sockets) as ask:
        assert ask(f"B7\t{ALICE}\nS7\tpriv/0123abcd/devicetoken\tx\nC7") == "F7"
        assert ask("I0\t0\tpriv/0123abcd/") == "", "an empty list"


def test_imap_is_left_to_dovecot(mail):
    assert {name: mail.ports[name] for name in ("imaps", "imap")} == {"imaps": 1993, "imap": 1143}
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((mail.host, 1993)).close()
    tls = ssl.create_default_context(cafile=mail.ports["ca_file"])
    tls.set_alpn_protocols(["imap"])
    plain = socket.create_connection((mail.host, mail.ports["https"]), timeout=20)
    with tls.wrap_socket(plain, server_hostname=mail.host) as connection:
        assert connection.selected_alpn_protocol() is None, "and so it is HTTPS"


def test_its_ports_have_to_be_named(tmp_path):
    with pytest.raises(ConfigurationError, match="name the ports of IMAP"):
        MailSettings(state=tmp_path, dovecot=tmp_path, imaps_port=0, imap_port=0)


class Lmtp(UnixSocketController):
    """In place of dovecot: one answer for each recipient (RFC 2033, 4.2), a refusal for those who are `full`."""

    def __init__(self, sockets: Path) -> None:
        super().__init__(self, unix_socket=str(sockets / "lmtp"))
        self.got: list[Envelope] = []
        self.full: set[str] = set()

    def factory(self) -> LMTP:
        return LMTP(self, hostname="dovecot.test")

    async def handle_DATA(self, _server: object, _session: object, envelope: Envelope) -> str:
        self.got.append(envelope)
        answers = ["452 4.2.2 full" if each in self.full else "250 ok" for each in envelope.rcpt_tos]
        return "\r\n".join(answers)


@pytest.fixture
def lmtp(sockets: Path) -> Iterator[Lmtp]:
    running = Lmtp(sockets)
    running.start()
    yield running
    running.stop()


def test_mail_is_dovecots_when_it_has_answered_for_everybody(mail, sockets, lmtp):
    with asking(sockets) as ask:
        for user in (ALICE, BOB):
            ask(passdb(PASSWORD, user))
    content = mail.send(ALICE, BOB)
    assert [each.rcpt_tos for each in lmtp.got] == [[ALICE, BOB]]
    assert lmtp.got[0].original_content == content
    lmtp.full = {BOB}
    with mail.smtp() as client, pytest.raises(smtplib.SMTPDataError, match="451"):
        client.sendmail(ALICE, [ALICE, BOB], encrypted_message(ALICE))
    lmtp.full = set()
    mail.send(BOB)
    assert [each.rcpt_tos for each in lmtp.got[2:]] == [[BOB]], (
        "an answer that is left over is no answer to the next"
    )


def test_without_dovecot_mail_is_to_be_sent_again(mail, sockets):
    with asking(sockets) as ask:
        ask(passdb(PASSWORD))
    with mail.smtp() as client, pytest.raises(smtplib.SMTPDataError, match="451"):
        client.sendmail(ALICE, [ALICE], encrypted_message(ALICE))
