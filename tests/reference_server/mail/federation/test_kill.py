"""The queue survives kill -9: what was answered with 250 arrives, and each mail once."""

from __future__ import annotations

import signal
import smtplib
from pathlib import Path

import pytest

from harness.waiting import wait_until
from tests.reference_server.mail.federation.conftest import StartServer
from tests.reference_server.mail.federation.zone import Zone
from tests.reference_server.mail.pgp import encrypted_message
from tests.reference_server.mail.running import DEADLINE, PASSWORD, RunningMail
from tests.reference_server.mail.test_process import MailProcess, running
from tests.reference_server.mail.test_submission import stored

ALICE, BOB = "alice1234@_one.test", "bob456789@_two.test"
MAILS = 24


@pytest.fixture
def two(start_server: StartServer) -> RunningMail:
    mail = start_server("_two.test")
    mail.create(BOB)
    return mail


def arrived(two: RunningMail) -> int:
    """How many mails came, those that came again included."""
    return len(two.events("message_from_outside"))


def markers(two: RunningMail) -> list[str]:
    found = (
        content.partition(b"Message-ID: <")[2].partition(b"@")[0].decode() for content in stored(two, BOB)
    )
    return sorted(found)


def submit(sender: MailProcess, marker: str) -> None:
    host, port = sender.ports["host"], sender.ports["submissions"]
    with smtplib.SMTP_SSL(host, port, context=sender.tls, timeout=DEADLINE) as client:
        client.login(ALICE, PASSWORD)
        assert client.sendmail(ALICE, [BOB], encrypted_message(ALICE, marker=marker)) == {}


def test_each_mail_arrives_once_though_its_server_is_killed_while_it_sends(
    tmp_path: Path, two: RunningMail, zone: Zone, peer_port: int
) -> None:
    options = [
        *("--federation", "--domain=_one.test", "--retry-after=0.2", f"--name-server=127.0.0.1:{zone.port}"),
        *("--smtp-port=0", f"--peer-port={peer_port}"),
    ]
    wanted = [f"mail-{number:02}" for number in range(MAILS)]
    zone.failing.add("_two.test")
    for round_, first in enumerate(range(0, MAILS, 8)):
        with running(tmp_path / "sender", *options) as sender:
            name, _kind, text = sender.ports["dns"][0]
            zone.txt(name, text)
            for marker in wanted[first : first + 8]:
                submit(sender, marker)
            zone.failing.clear()
            before = arrived(two)
            wait_until(lambda: arrived(two) > before, f"mail in round {round_}", within=DEADLINE)  # noqa: B023
            sender.end(signal.SIGKILL)
        zone.failing.add("_two.test")
    zone.failing.clear()
    with running(tmp_path / "sender", *options):
        wait_until(lambda: len(markers(two)) >= MAILS, "every mail", within=60)
    assert markers(two) == wanted
