"""A mail service in a thread, and independent clients for it: imaplib, smtplib, plain sockets."""

from __future__ import annotations

import asyncio
import imaplib
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

from reference_server.ledger import Ledger
from reference_server.mail.service import MailService
from reference_server.mail.settings import MailSettings
from reference_server.mail.strategies import Strategies
from tests.reference_server.mail.pgp import encrypted_message

ALICE, BOB = "alice_123@chatmail.test", "bob.45678@chatmail.test"
PASSWORD = "first password"
DEADLINE = 60.0
"""Seconds after which a test gives up; none of them should need a tenth of it."""

imaplib.Commands["GETMETADATA"] = ("NONAUTH", "AUTH", "SELECTED")


class RunningMail:
    """Started by the constructor, ended by `stop`."""

    def __init__(self, settings: MailSettings, strategies: Strategies | None = None) -> None:
        self.ledger = Ledger("mail", enabled=True)
        self.host = settings.host
        self.database = settings.database
        self._service = MailService(settings, strategies=strategies, ledger=self.ledger)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        try:
            self.ports: dict[str, Any] = dict(self._wait_for(self._service.start))
        except BaseException:
            self.stop()
            raise
        self.tls = ssl.create_default_context(cafile=settings.tls_ca or self.ports.get("ca_file"))

    def _wait_for(self, call: Callable[[], Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(DEADLINE)

    def stop(self) -> None:
        if self._thread.is_alive():
            self._wait_for(self._service.close)
            self._wait_for(self._loop.shutdown_default_executor)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def events(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.ledger.snapshot()["events"] if event["kind"] == kind]

    # Clients

    def socket_from(self, source: str, listener: str) -> socket.socket:
        """With TLS, from another address of this machine."""
        plain = socket.create_connection(
            (self.host, self.ports[listener]), timeout=DEADLINE, source_address=(source, 0)
        )
        return self.tls.wrap_socket(plain, server_hostname=self.host)

    def socket(self, listener: str, *, tls: bool) -> socket.socket:
        plain = socket.create_connection((self.host, self.ports[listener]), timeout=DEADLINE)
        return self.tls.wrap_socket(plain, server_hostname=self.host) if tls else plain

    def imap(self, user: str = ALICE, password: str = PASSWORD, *, starttls: bool = False) -> imaplib.IMAP4:
        """Logged in."""
        client: imaplib.IMAP4
        if starttls:
            client = imaplib.IMAP4(self.host, self.ports["imap"], timeout=DEADLINE)
            client.starttls(self.tls)
        else:
            client = imaplib.IMAP4_SSL(self.host, self.ports["imaps"], ssl_context=self.tls, timeout=DEADLINE)
        try:
            client.login(user, password)
        except imaplib.IMAP4.error:
            client.shutdown()
            raise
        return client

    def smtp(self, user: str = ALICE, password: str = PASSWORD, *, starttls: bool = False) -> smtplib.SMTP:
        """Logged in."""
        client: smtplib.SMTP
        if starttls:
            client = smtplib.SMTP(self.host, self.ports["submission"], timeout=DEADLINE)
            client.starttls(context=self.tls)
        else:
            client = smtplib.SMTP_SSL(
                self.host, self.ports["submissions"], context=self.tls, timeout=DEADLINE
            )
        try:
            client.login(user, password)
        except smtplib.SMTPException:
            client.close()
            raise
        return client

    def create(self, *users: str) -> None:
        """Accounts, by their first login."""
        for user in users:
            self.imap(user).logout()

    def send(self, *recipients: str, sender: str = ALICE, marker: str = "message") -> bytes:
        """An encrypted message, accepted; returns its bytes."""
        content = encrypted_message(sender, marker=marker)
        with self.smtp(sender) as client:
            assert client.sendmail(sender, recipients, content) == {}
        return content


def read_all(sock: socket.socket) -> bytes:
    """Until the server closes. An abrupt close counts as one."""
    data = b""
    try:
        while piece := sock.recv(65536):
            data += piece
    except (ConnectionResetError, ssl.SSLEOFError):
        pass
    return data


def read_until(sock: socket.socket, end: bytes) -> bytes:
    data = b""
    while end not in data:
        piece = sock.recv(65536)
        assert piece, f"closed after {data!r}, without {end!r}"
        data += piece
    return data
