"""Mail as a client of ours sends and finds it."""

from __future__ import annotations

import email
from collections.abc import Iterator
from contextlib import contextmanager

from ..accounts import Credentials
from ..clients.mail.imap import ImapClient
from ..clients.mail.messages import encrypted_message
from ..clients.mail.smtp import SmtpClient
from ..stage.stage import Stage

__all__ = ["logged_in", "mail_oneself", "markers", "submit_to_oneself", "takes_mail"]


@contextmanager
def logged_in(stage: Stage, account: Credentials) -> Iterator[ImapClient]:
    """An IMAP session of this account; the first log-in creates it."""
    with ImapClient(stage.host, stage.target) as imap:
        imap.login(account)
        yield imap


def markers(imap: ImapClient) -> list[str]:
    """Local parts of the Message-IDs in the open mailbox, in order: the markers of our mails."""
    found = [email.message_from_bytes(message.data)["Message-ID"] for message in imap.fetch_all()]
    return [str(message_id).strip("<> ").partition("@")[0] for message_id in found]


def submit_to_oneself(stage: Stage, smtp: SmtpClient, account: Credentials, marker: str) -> None:
    """One encrypted mail over a session that has logged in; a refusal is a failure of the target."""
    message = encrypted_message(account.address, account.address, marker=marker)
    reply = smtp.submit(account.address, [account.address], message)
    stage.outcome.expect(reply.accepted, f"a mail to oneself was refused: {reply}")


def mail_oneself(stage: Stage, account: Credentials, marker: str) -> None:
    """The same over a session of its own."""
    with SmtpClient(stage.host, stage.target) as smtp:
        smtp.login(account)
        submit_to_oneself(stage, smtp, account, marker)


def takes_mail(stage: Stage, sender: Credentials, recipient: str) -> bool:
    """The server takes an encrypted mail of one account to an address."""
    with SmtpClient(stage.host, stage.target) as smtp:
        smtp.login(sender)
        message = encrypted_message(sender.address, recipient, marker="may-i")
        return smtp.submit(sender.address, [recipient], message).accepted
