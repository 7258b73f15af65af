"""SMTP submission for checks: each refusal is a reply to look at, not an exception."""

from __future__ import annotations

import errno
import re
import smtplib
import socket
from collections.abc import Iterable
from dataclasses import dataclass

from ...accounts import Credentials
from ...closing import Closing
from ...errors import plain
from ...hosts import Host
from ...target import Target

__all__ = ["Reply", "ServerClient", "SmtpClient", "SmtpError", "SmtpRefused"]

MAX_REPLY = 64 * 1024
"""Bytes of one reply with all its lines."""
BROKEN = (OSError, smtplib.SMTPException, ValueError)
"""ValueError: smtplib could not decode what the server said."""
SIZE = re.compile(r"[0-9]{1,20}")
"""Value of SIZE (RFC 1870 section 3)."""


class SmtpError(Exception):
    """The connection broke, or the server did not speak SMTP."""


class SmtpRefused(SmtpError):
    """The server refused a log-in."""


@dataclass(frozen=True)
class Reply:
    """The reply that decided about a mail, and to which command it came: `MAIL`, `RCPT` or `DATA`."""

    stage: str
    code: int
    text: str

    @property
    def accepted(self) -> bool:
        """The server took the mail and answers for it."""
        return self.stage == "DATA" and self.code == 250

    def __str__(self) -> str:
        return f"{self.code} {self.text} (at {self.stage})"


class SmtpClient(Closing):
    """One submission connection over verified TLS: implicit, or after STARTTLS."""

    def __init__(self, host: Host, target: Target, *, starttls: bool = False, within: float = 30.0) -> None:
        """Connect and say EHLO. `within`: seconds for each reply."""
        port = target.submission if starttls else target.submissions
        try:
            self._session = _Session(host, target, port, within, implicit_tls=not starttls)
            if starttls:
                self._session.starttls(context=target.ssl_context())
            self._session.ehlo()
        except BROKEN as error:
            raise SmtpError(f"no SMTP at {target.smtp_host or target.host}:{port}: {plain(error)}") from error

    @property
    def largest_mail(self) -> int | None:
        """Bytes that the server takes at most (SIZE, RFC 1870 section 4); None: it names no limit."""
        limit = self._session.esmtp_features.get("size", "")
        return int(limit) if SIZE.fullmatch(limit) and int(limit) > 0 else None

    def login(self, credentials: Credentials) -> None:
        """Log in; the first log-in creates the account. Raises `SmtpRefused`."""
        try:
            self._session.login(credentials.address, credentials.password)
        except smtplib.SMTPResponseException as error:
            raise SmtpRefused(
                f"the log-in was refused: {error.smtp_code} {_text(error.smtp_error)}"
            ) from error
        except BROKEN as error:
            raise SmtpError(f"the log-in failed: {plain(error)}") from error

    def submit(self, sender: str, recipients: Iterable[str], message: bytes) -> Reply:
        """Offer one mail: the reply to DATA, or the first refusal on the way there."""
        try:
            reply = self._submit(sender, recipients, message)
            if not reply.accepted:
                self._session.rset()
        except BROKEN as error:
            raise SmtpError(f"the connection broke during a submission: {plain(error)}") from error
        return reply

    def close(self) -> None:
        self._session.close()

    def _submit(self, sender: str, recipients: Iterable[str], message: bytes) -> Reply:
        reply = Reply("MAIL", *_reply(self._session.mail(sender)))
        for recipient in recipients:
            if reply.code // 100 != 2:
                return reply
            reply = Reply("RCPT", *_reply(self._session.rcpt(recipient)))
        if reply.code // 100 != 2:
            return reply
        try:
            return Reply("DATA", *_reply(self._session.data(message)))
        except smtplib.SMTPDataError as error:  # DATA itself was refused, before the mail
            return Reply("DATA", error.smtp_code, _text(error.smtp_error))


class ServerClient(SmtpClient):
    """A connection as another server makes it: at the port for servers, TLS where it is offered, no log-in."""

    def __init__(self, host: Host, target: Target, *, within: float = 30.0) -> None:
        """Raises `SmtpError`."""
        assert target.smtp is not None
        try:
            self._session = _Session(host, target, target.smtp, within, implicit_tls=False)
            self._session.ehlo()
            if self._session.has_extn("starttls"):
                self._session.starttls(context=target.ssl_context())
                self._session.ehlo()
        except (OSError, smtplib.SMTPException) as error:
            raise SmtpError(
                f"no SMTP for other servers at {target.host}:{target.smtp}: {plain(error)}"
            ) from error


class _Session(smtplib.SMTP):
    """smtplib on a socket of a `Host`."""

    def __init__(self, host: Host, target: Target, port: int, within: float, *, implicit_tls: bool) -> None:
        self._network = host
        self._name = target.host
        self._context = target.ssl_context() if implicit_tls else None
        super().__init__(
            target.smtp_host or target.host, port, local_hostname=f"[{host.address}]", timeout=within
        )

    def getreply(self) -> tuple[int, bytes]:
        """One reply, of which smtplib itself would read any number of lines."""
        if self.file is None and self.sock is not None:
            self.file = _Replies(self.sock)
        if self.file is not None:
            self.file.begin()
        return super().getreply()

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:
        connection = self._network.connect(host, port, within=timeout)
        if self._context is None:
            return connection
        try:
            return self._context.wrap_socket(connection, server_hostname=self._name)
        except OSError:
            connection.close()
            raise


class _Replies:
    """Lines of a connection, for each reply as many as a server has reason to send."""

    def __init__(self, connection: socket.socket) -> None:
        self._file = connection.makefile("rb")
        self._left = MAX_REPLY

    def begin(self) -> None:
        """Another reply."""
        self._left = MAX_REPLY

    def readline(self, limit: int) -> bytes:
        line = self._file.readline(limit)
        self._left -= len(line)
        if self._left < 0:
            raise OSError(errno.EMSGSIZE, f"more than {MAX_REPLY} bytes of one reply came")
        return line

    def close(self) -> None:
        self._file.close()


def _reply(reply: tuple[int, bytes]) -> tuple[int, str]:
    return reply[0], _text(reply[1])


def _text(data: bytes | str) -> str:
    return data if isinstance(data, str) else data.decode("utf-8", "replace")
