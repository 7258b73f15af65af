"""Mail services that are wrong about what they take, and whom they deliver it to."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from reference_server.mail.delivery import DurableDelivery
from reference_server.mail.policy import PolicyRules, Refuse, Submission, Verdict, encrypted_only
from reference_server.mail.service import MailService
from reference_server.mail.settings import MailSettings
from reference_server.mail.smtp import SmtpConnection
from reference_server.mail.store import Account
from reference_server.mail.strategies import Strategies

from .declaration import mutant

SMALL = 600_000
"""Bytes: a mail that this server still takes, or says so."""
SIZE = re.compile(r"SIZE [0-9]+")
ALLOWANCE = 3
"""Mails that a user may send: enough for a secure join, and for one text."""

RIGHT = Strategies()


class LastRecipientDropped(DurableDelivery):
    """Of several recipients of a mail the last gets nothing, and nobody hears of it."""

    async def deliver(self, accounts: Sequence[Account], content: bytes, **more: Any) -> None:
        await super().deliver(accounts[: max(1, len(accounts) - 1)], content, **more)


@mutant(
    "mail",
    "of several recipients of a mail that was answered with 250 the last gets nothing",
    kills={
        "mail.each_recipient_is_woken_and_can_fetch": "recipient 3 of 3 is not woken by a mail",
        "chats.group_messages_reach_every_member": "to the group does not reach",
        "calls.second_device_is_told_of_the_answer": "on one device, and the other rings on",
        "calls.second_device_closes_its_window": "bob's other device to be told that he took the call",
    },
)
def one_recipient_dropped(settings: MailSettings) -> MailService:
    return MailService(settings, strategies=replace(RIGHT, make_delivery=LastRecipientDropped))


@mutant(
    "mail",
    "mails of half a megabyte are refused, whatever SIZE says",
    kills={
        "chats.files_arrive_unchanged": "could not send",
        "chats.files_arrive_up_to_the_limit": "could not send",
    },
)
def limit_smaller_than_it_says(settings: MailSettings) -> MailService:
    def refuse_files(submission: Submission, rules: PolicyRules) -> Verdict:
        if len(submission.content) > SMALL:
            return Refuse(552, "5.3.4 Message too big for system")
        return encrypted_only(submission, rules)

    return MailService(settings, strategies=replace(RIGHT, submission_policy=refuse_files))


class SmallOnPaper(SmtpConnection):
    """EHLO announces a SIZE that nothing is held to."""

    async def push(self, status: str | bytes) -> None:
        await super().push(SIZE.sub(f"SIZE {SMALL}", status) if isinstance(status, str) else status)


@mutant(
    "mail",
    "mails larger than SIZE are taken",
    kills={"chats.files_arrive_up_to_the_limit": "was taken, and its mail is larger than the limit of SMTP"},
)
def limit_not_enforced(settings: MailSettings) -> MailService:
    return MailService(settings, strategies=replace(RIGHT, submission=SmallOnPaper))


@mutant(
    "mail",
    "a user may send three mails, as under a rate limit that was meant for others",
    kills={"chats.texts_arrive_encrypted_and_once": "could not send"},
)
def three_mails_each(settings: MailSettings) -> MailService:
    sent: Counter[str] = Counter()

    def refuse_more(submission: Submission, rules: PolicyRules) -> Verdict:
        sent[submission.sender] += 1
        if sent[submission.sender] > ALLOWANCE:
            return Refuse(554, "5.7.1 Too many mails")
        return encrypted_only(submission, rules)

    return MailService(settings, strategies=replace(RIGHT, submission_policy=refuse_more))


@mutant(
    "mail",
    "mail to somebody who has never written is refused, so nobody gets to know anybody",
    kills={"chats.people_become_contacts_by_secure_join": "do not become contacts by secure join"},
)
def strangers_refused(settings: MailSettings) -> MailService:
    have_written: set[str] = set()

    def refuse_strangers(submission: Submission, rules: PolicyRules) -> Verdict:
        have_written.add(submission.sender)
        if not have_written.issuperset(submission.recipients):
            return Refuse(554, "5.7.1 The recipient has not asked for this")
        return encrypted_only(submission, rules)

    return MailService(settings, strategies=replace(RIGHT, submission_policy=refuse_strangers))
