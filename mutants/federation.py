"""Servers that go wrong with other servers: what they lose, double, pass on or believe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from reference_server.mail.federation.inbound import Intake
from reference_server.mail.federation.policy import FromOutside
from reference_server.mail.federation.routes import Lookup
from reference_server.mail.outgoing import OutgoingMail
from reference_server.mail.policy import Accept, PolicyRules, Verdict
from reference_server.mail.service import MailService
from reference_server.mail.settings import MailSettings
from reference_server.mail.store import NewMessage, Store
from reference_server.mail.strategies import Strategies

from .declaration import mutant

RIGHT = Strategies()


class LosingStore(Store):
    """What is for other servers is answered with 250, and never in the queue."""

    def deliver(self, messages: Sequence[NewMessage]) -> None:
        super().deliver([replace(each, outgoing=None) for each in messages])


@mutant(
    "mail",
    "mail for other servers is answered with 250 and lost",
    kills={
        "federation.mail_goes_both_ways_once": "a mail of the other server does not arrive",
        "federation.groups_and_files_cross_a_slow_link": "do not become contacts by secure join",
        "federation.mail_survives_a_kill_and_a_server_that_is_down": "answered with 250 are lost",
    },
)
def federated_mail_lost(settings: MailSettings) -> MailService:
    return MailService(settings, strategies=replace(RIGHT, make_store=LosingStore))


class DoublingStore(Store):
    """What is for other servers is twice in the queue, and what they send again is not known again."""

    def deliver(self, messages: Sequence[NewMessage]) -> None:
        forgetful = [replace(each, digest=None) for each in messages]
        again = [replace(each, mailboxes=()) for each in forgetful if each.outgoing is not None]
        super().deliver([*forgetful, *again])


@mutant(
    "mail",
    "mail for other servers is sent twice, and is in the mailbox twice",
    kills={
        "federation.mail_goes_both_ways_once": "1 mails were sent to somebody of the other server, and 2 arrived",
        "federation.mail_survives_a_kill_and_a_server_that_is_down": "of 5 mails that were sent these arrived",
    },
)
def federated_mail_twice(settings: MailSettings) -> MailService:
    return MailService(settings, strategies=replace(RIGHT, make_store=DoublingStore))


class OpenIntake(Intake):
    """Whoever asks may send to whomever they want."""

    async def refuse_recipient(self, address: str) -> str | None:
        return await super().refuse_recipient(address) if self.inbound.is_local(address) else None

    async def take(self, mail: FromOutside) -> str:
        elsewhere = tuple(each for each in mail.recipients if not self.inbound.is_local(each))
        if elsewhere:
            outgoing = OutgoingMail(mail.sender, elsewhere, mail.content)
            await self.inbound.delivery.deliver([], mail.content, outgoing=outgoing)
        return await super().take(mail)


@mutant(
    "mail",
    "strangers send through this server to whomever they want",
    kills={"federation.strangers_bring_mail_for_people_here_only": "(an open relay)"},
)
def open_relay(settings: MailSettings) -> MailService:
    return MailService(settings, strategies=replace(RIGHT, intake=OpenIntake))


async def _is_believed(_domain: str, _content: bytes, _lookup: Lookup) -> bool:
    return True


def _believe_author(mail: FromOutside, rules: PolicyRules) -> Verdict:
    return RIGHT.outside_policy(replace(mail, own_domain=""), rules)


@mutant(
    "mail",
    "mail of other servers needs no signature, whoever it says it is from",
    kills={"federation.unsigned_mail_is_refused": "mail with a forged signature was taken"},
)
def dkim_unchecked(settings: MailSettings) -> MailService:
    strategies = replace(RIGHT, is_signed=_is_believed, outside_policy=_believe_author)
    return MailService(settings, strategies=strategies)


@mutant(
    "mail",
    "readable mail of other servers is taken",
    kills={
        "federation.strangers_bring_mail_for_people_here_only": "a readable mail of another server was taken",
        "federation.posted_mail_reaches_known_people_only": "a readable mail was answered with 200",
    },
)
def readable_mail_from_outside(settings: MailSettings) -> MailService:
    def accept_everything(_mail: FromOutside, _rules: PolicyRules) -> Verdict:
        return Accept()

    return MailService(settings, strategies=replace(RIGHT, outside_policy=accept_everything))
