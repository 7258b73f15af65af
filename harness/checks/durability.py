"""A mail that was answered with 250 is delivered exactly once, also when the mail service is killed meanwhile."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ..accounts import Credentials
from ..clients.mail.messages import encrypted_message
from ..clients.mail.smtp import SmtpClient, SmtpError
from ..report.observations import Measured
from ..stage.check import check
from ..stage.outcome import Outcome
from ..stage.stage import Stage
from ..steps.mail import logged_in, markers
from ..target import Impact, Service
from ..waiting import wait_until

__all__ = ["accepted_mail_survives_a_kill"]

SENDERS = 3
ACCEPTED_BEFORE_KILL = 20
ACCEPTED_AFTER_KILL = 5
WITHIN = 60.0
RETRY_AFTER = 0.02
"""Seconds between two attempts to connect while the service is down."""


@check("MAIL-2", disturbs=(Service.MAIL,), impact=Impact.HARMFUL)
def accepted_mail_survives_a_kill(stage: Stage, outcome: Outcome) -> None:
    """While clients submit mail, the mail service is killed (SIGKILL) and started again; nothing answered is lost."""
    alice, bob = stage.target.new_account(), stage.target.new_account()
    with logged_in(stage, bob):
        pass  # the first log-in creates the account
    with _sending(stage, alice, bob.address) as senders, outcome.expect_to_arrive():
        _wait_accepted(senders, ACCEPTED_BEFORE_KILL)
        stage.server.program(Service.MAIL).restart(kill=True)
        _wait_accepted(senders, _accepted(senders) + ACCEPTED_AFTER_KILL)
    with logged_in(stage, bob) as imap:
        imap.select()
        _compare(outcome, senders, Counter(markers(imap)))


class _Sender(threading.Thread):
    """Submits one mail after the other, over a new connection when the old one broke, until told to stop."""

    def __init__(self, number: int, stage: Stage, sender: Credentials, recipient: str) -> None:
        super().__init__(daemon=True)
        self._number = number
        self._stage = stage
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
                with SmtpClient(self._stage.host, self._stage.target, within=WITHIN) as smtp:
                    smtp.login(self._sender)
                    while not self._stop_asked.is_set():
                        self._submit(smtp)
            except SmtpError:
                self._stop_asked.wait(RETRY_AFTER)

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


@contextmanager
def _sending(stage: Stage, sender: Credentials, recipient: str) -> Iterator[list[_Sender]]:
    """Senders at work until the block ends."""
    senders = [_Sender(number, stage, sender, recipient) for number in range(SENDERS)]
    for each in senders:
        each.start()
    try:
        yield senders
    finally:
        for each in senders:
            each.stop()


def _accepted(senders: Sequence[_Sender]) -> int:
    return sum(len(each.accepted) for each in senders)


def _wait_accepted(senders: Sequence[_Sender], number: int) -> None:
    wait_until(
        lambda: _accepted(senders) >= number,
        f"{number} mails to be accepted",
        within=WITHIN,
        seen=lambda: _accepted(senders),
    )


def _compare(outcome: Outcome, senders: Sequence[_Sender], arrived: Counter[str]) -> None:
    answered = [marker for sender in senders for marker in sender.accepted]
    refused = [marker for sender in senders for marker in sender.refused]
    lost = [marker for marker in answered if not arrived[marker]]
    twice = [marker for marker, copies in arrived.items() if copies > 1]
    outcome.observe(Measured("answered with 250", len(answered), "mails"))
    outcome.observe(
        Measured(
            "without an answer when mail was killed",
            sum(len(sender.unanswered) for sender in senders),
            "mails",
        )
    )
    outcome.observe(Measured("delivered", sum(arrived.values()), "mails"))
    outcome.expect(not lost, f"{len(lost)} of {len(answered)} mails that were answered with 250 are lost")
    outcome.expect(not twice, f"{len(twice)} mails were delivered more than once")
    outcome.expect(not refused, f"{len(refused)} good mails were refused")
