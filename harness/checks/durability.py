"""A mail that was answered with 250 is delivered exactly once, also when the mail service is killed meanwhile."""

from __future__ import annotations

import itertools
import threading
from collections import Counter

from ..accounts import Credentials
from ..clients.mail.imap import ImapClient
from ..clients.mail.messages import encrypted_message
from ..clients.mail.smtp import SmtpClient, SmtpError
from ..hosts import Host
from ..steps.outcome import Outcome, check, current_outcome
from ..target import Impact, Target
from ..waiting import wait_until
from .mail import markers

__all__ = ["accepted_mail_survives_a_kill"]

SENDERS = 3
ACCEPTED_BEFORE_KILL = 20
ACCEPTED_AFTER_KILL = 5
WITHIN = 60.0


class _Sender(threading.Thread):
    """Submits one mail after the other, over a new connection when the old one broke, until told to stop."""

    def __init__(self, number: int, target: Target, host: Host, sender: Credentials, recipient: str) -> None:
        super().__init__(daemon=True)
        self._number = number
        self._target = target
        self._host = host
        self._sender = sender
        self._recipient = recipient
        self._stop_asked = threading.Event()
        self._count = itertools.count()
        self.accepted: list[str] = []
        self.unanswered: list[str] = []
        self.refused: list[str] = []

    def run(self) -> None:
        while not self._stop_asked.is_set():
            try:
                with SmtpClient(self._host, self._target, within=WITHIN) as smtp:
                    smtp.login(self._sender)
                    while not self._stop_asked.is_set():
                        self._submit(smtp)
            except SmtpError:
                # The service is down; its port answers again when the restart is through.
                self._stop_asked.wait(0.02)

    def stop(self) -> None:
        self._stop_asked.set()
        self.join()

    def _submit(self, smtp: SmtpClient) -> None:
        marker = f"mail-{self._number}-{next(self._count)}"
        message = encrypted_message(self._sender.address, self._recipient, marker=marker)
        try:
            reply = smtp.submit(self._sender.address, [self._recipient], message)
        except SmtpError:
            self.unanswered.append(marker)
            raise
        (self.accepted if reply.accepted else self.refused).append(marker)


@check("MAIL-2", needs=("faults",), impact=Impact.HARMFUL)
def accepted_mail_survives_a_kill(target: Target, host: Host) -> Outcome:
    """While clients submit mail, the mail service is killed (SIGKILL) and started again; nothing answered is lost."""
    assert target.control is not None
    outcome = current_outcome()
    alice, bob = target.new_account(), target.new_account()
    with ImapClient(host, target) as imap:
        imap.login(bob)
    senders = [_Sender(number, target, host, alice, bob.address) for number in range(SENDERS)]

    def accepted() -> int:
        return sum(len(sender.accepted) for sender in senders)

    def at_least(number: int) -> None:
        wait_until(
            lambda: accepted() >= number,
            f"{number} mails to be accepted",
            within=WITHIN,
            seen=accepted,
        )

    for sender in senders:
        sender.start()
    try:
        with outcome.expect_to_arrive():
            at_least(ACCEPTED_BEFORE_KILL)
            target.control.restart("mail", kill=True)
            at_least(accepted() + ACCEPTED_AFTER_KILL)
    finally:
        for sender in senders:
            sender.stop()
    with ImapClient(host, target) as imap:
        imap.login(bob)
        imap.select()
        _compare(outcome, senders, Counter(markers(imap)))
    return outcome


def _compare(outcome: Outcome, senders: list[_Sender], arrived: Counter[str]) -> None:
    answered = [marker for sender in senders for marker in sender.accepted]
    refused = [marker for sender in senders for marker in sender.refused]
    lost = [marker for marker in answered if not arrived[marker]]
    twice = [marker for marker, copies in arrived.items() if copies > 1]
    outcome.measurements |= {
        "answered_250": len(answered),
        "interrupted": sum(len(sender.unanswered) for sender in senders),
        "arrived": sum(arrived.values()),
    }
    outcome.expect(not lost, f"{len(lost)} of {len(answered)} mails that were answered with 250 are lost")
    outcome.expect(not twice, f"{len(twice)} mails were delivered more than once")
    outcome.expect(not refused, f"{len(refused)} good mails were refused")
