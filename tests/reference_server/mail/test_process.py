"""`python -m reference_server.mail` as a process: its ready line, its exit codes, and what survives kill -9."""

from __future__ import annotations

import imaplib
import json
import signal
import smtplib
import socket
import ssl
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.reference_server.mail.pgp import armor, encrypted_message, encrypted_packets
from tests.reference_server.mail.running import ALICE, BOB, DEADLINE, PASSWORD

FREE_PORTS = [f"--{name}-port=0" for name in ("imaps", "imap", "submissions", "submission", "https")]
COMMAND = [sys.executable, "-m", "reference_server.mail", "--password-hash-cost=low"]


class MailProcess:
    def __init__(self, state: Path, log: Path, *options: str) -> None:
        with log.open("ab") as stderr:
            self.process = subprocess.Popen(
                [*COMMAND, "--state", str(state), *FREE_PORTS, *options],
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        assert self.process.stdout is not None
        ready = json.loads(self.process.stdout.readline())
        self.ports: dict[str, Any] = ready["endpoints"]
        self.tls = ssl.create_default_context(cafile=self.ports["ca_file"])

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        self.process.communicate(timeout=DEADLINE)
        return self.process.returncode

    @property
    def resident(self) -> int:
        """Bytes of memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (kibibytes,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
        return int(kibibytes) * 1024

    def imap(self, user: str) -> imaplib.IMAP4_SSL:
        client = imaplib.IMAP4_SSL("127.0.0.1", self.ports["imaps"], ssl_context=self.tls, timeout=DEADLINE)
        client.login(user, PASSWORD)
        return client


@contextmanager
def running(state: Path, *options: str) -> Iterator[MailProcess]:
    process = MailProcess(state, state.parent / "mail.log", *options)
    try:
        yield process
    finally:
        if process.process.poll() is None:
            process.end(signal.SIGKILL)


def test_ready_line_and_clean_end(tmp_path: Path) -> None:
    with running(tmp_path / "state", "--dialect=madmail", "--domain=Example.Test") as mail:
        assert mail.ports.keys() == {
            *("host", "domain", "dialect", "ca_file"),
            *("imaps", "imap", "submissions", "submission", "https"),
        }
        assert (mail.ports["domain"], mail.ports["dialect"]) == ("example.test", "madmail")
        assert mail.end(signal.SIGTERM) == 0


def test_what_large_mails_take_is_given_back(tmp_path: Path) -> None:
    """Three of 12 MB, submitted, read and appended."""
    with running(tmp_path / "state") as mail:
        mail.imap(ALICE).logout()
        before = mail.resident
        content = encrypted_message(ALICE, armored=armor(encrypted_packets(9_000_000)))
        for _ in range(3):
            with smtplib.SMTP_SSL("127.0.0.1", mail.ports["submissions"], context=mail.tls) as smtp:
                smtp.login(ALICE, PASSWORD)
                smtp.sendmail(ALICE, [ALICE], content)
        assert mail.resident - before < len(content)
        imap = mail.imap(ALICE)
        imap.select()
        for uid in "123":
            _, answer = imap.uid("fetch", uid, "(BODY.PEEK[])")
            assert isinstance(answer[0], tuple)
            assert len(answer[0][1]) == len(content)
        imap.append("INBOX", "", "", content)
        imap.logout()
        mail.imap(ALICE).logout()
        assert mail.resident - before < 2 * len(content)


class Sender(threading.Thread):
    """Submits numbered messages until the server is gone; remembers which were answered with 250."""

    def __init__(self, mail: MailProcess, name: str, enough: threading.Semaphore) -> None:
        super().__init__()
        self._mail = mail
        self._prefix = name
        self._enough = enough
        self.accepted: list[str] = []

    def run(self) -> None:
        try:
            with smtplib.SMTP_SSL(
                "127.0.0.1", self._mail.ports["submissions"], context=self._mail.tls, timeout=DEADLINE
            ) as client:
                client.login(ALICE, PASSWORD)
                for number in range(100_000):
                    marker = f"{self._prefix}-{number}"
                    client.sendmail(ALICE, [ALICE, BOB], encrypted_message(ALICE, marker=marker))
                    self.accepted.append(marker)
                    self._enough.release()
        except (OSError, smtplib.SMTPException):
            return


def test_kill_9_loses_and_doubles_nothing_that_was_answered_250(tmp_path: Path) -> None:
    with running(tmp_path / "state") as mail:
        for user in (ALICE, BOB):
            mail.imap(user).logout()
        answered = threading.Semaphore(0)
        senders = [Sender(mail, f"sender{number}", answered) for number in range(4)]
        for sender in senders:
            sender.start()
        for _ in range(60):
            assert answered.acquire(timeout=DEADLINE)
        mail.end(signal.SIGKILL)
        for sender in senders:
            sender.join()
    accepted = {marker for sender in senders for marker in sender.accepted}
    with running(tmp_path / "state") as mail:
        stored = {user: markers(mail, user) for user in (ALICE, BOB)}
    for found in stored.values():
        assert accepted <= found.keys()
        assert set(found.values()) == {1}
        assert len(found) <= len(accepted) + len(senders)
    assert stored[ALICE] == stored[BOB]


def markers(mail: MailProcess, user: str) -> Counter[str]:
    client = mail.imap(user)
    client.select(readonly=True)
    _, answer = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)])")
    client.logout()
    headers = [item[1].decode() for item in answer if isinstance(item, tuple)]
    return Counter(header.partition("<")[2].partition("@")[0] for header in headers)


def refused(*options: str) -> tuple[int, str]:
    ended = subprocess.run(
        [*COMMAND, *options], capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert ended.stdout == ""
    assert "Traceback" not in ended.stderr
    return ended.returncode, ended.stderr


@pytest.mark.parametrize("name", ["imaps", "imap", "submissions", "submission", "https"])
def test_a_port_in_use_is_named(tmp_path: Path, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, text = refused("--state", str(tmp_path), *FREE_PORTS, f"--{name}-port={port}")
    assert code == 1
    assert f"{name}, 127.0.0.1 port {port}" in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "0.0.0.0"], "--public"),
        (["--tls-cert", "nowhere.pem"], "--tls-key"),
        (["--tls-cert", "nowhere.pem", "--tls-key", "nowhere.pem"], "cannot use the certificate"),
        (["--comment", "two\r\nlines"], "--comment"),
        (["--host", "chatmail.test"], "IP address"),
    ],
)
def test_settings_that_cannot_work_are_explained(tmp_path: Path, options: list[str], words: str) -> None:
    code, text = refused("--state", str(tmp_path), *FREE_PORTS, *options)
    assert code == 2
    assert words in text


def test_a_file_that_is_no_database_is_explained(tmp_path: Path) -> None:
    (tmp_path / "mail.sqlite").write_bytes(b"no database " * 1000)
    code, text = refused("--state", str(tmp_path), *FREE_PORTS)
    assert code == 2
    assert "mail.sqlite" in text
