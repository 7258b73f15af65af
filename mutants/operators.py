"""Mail services that do not do what their operator says, or tell of their users."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from reference_server.mail.admin import AdminApi
from reference_server.mail.delivery import DurableDelivery
from reference_server.mail.federation.overrides import Override
from reference_server.mail.mailbox import Purged
from reference_server.mail.outgoing import OutgoingMail
from reference_server.mail.service import MailService
from reference_server.mail.settings import MailSettings
from reference_server.mail.store import Account
from reference_server.mail.strategies import Strategies

from .declaration import mutant

RIGHT = Strategies()
log = logging.getLogger(__name__)


class LoggingDelivery(DurableDelivery):
    """Each delivery is in the log, with the recipients."""

    async def deliver(
        self,
        accounts: Sequence[Account],
        content: bytes,
        *,
        outgoing: OutgoingMail | None = None,
        digest: bytes | None = None,
    ) -> None:
        await super().deliver(accounts, content, outgoing=outgoing, digest=digest)
        log.info("delivered %d bytes to %s", len(content), ", ".join(each.address for each in accounts))


@mutant(
    "mail",
    "the log says who got mail",
    kills={"privacy.files_tell_nothing_of_users": "mail.log has the name of a recipient"},
)
def log_names_recipients(settings: MailSettings) -> MailService:
    return MailService(settings, strategies=replace(RIGHT, make_delivery=LoggingDelivery))


class DeafAdmin(AdminApi):
    """It answers that creation at first log-in is off, and nothing changes."""

    def set_first_login(self, enabled: bool) -> None:
        """Forgotten."""


@mutant(
    "mail",
    "creation at first log-in cannot be switched off, and the admin API says that it was",
    kills={
        "administration.first_logins_can_be_switched_off": "an account is made at the first log-in over IMAP and SMTP"
    },
)
def first_login_stays_on(settings: MailSettings) -> MailService:
    return MailService(settings, strategies=replace(RIGHT, make_admin=DeafAdmin))


class KeepingAdmin(AdminApi):
    """It says that mail was purged, and keeps it."""

    async def purge(self, address: str | None, *, only_seen: bool) -> Purged:
        if only_seen:
            return await super().purge(address, only_seen=only_seen)
        return Purged(1, ())


@mutant(
    "mail",
    "a purge says how many mails it deleted, and keeps them",
    kills={"administration.purged_mail_is_gone": "1 of 1 mail is there after the user's mail was purged"},
)
def purge_keeps(settings: MailSettings) -> MailService:
    return MailService(settings, strategies=replace(RIGHT, make_admin=KeepingAdmin))


class OpenAdmin(AdminApi):
    """It answers everybody."""

    def authenticate(self, headers: object) -> None:
        """No token is asked for."""


@mutant(
    "mail",
    "the admin API answers whoever asks, with any token and with none",
    kills={"administration.the_admin_api_needs_its_token": "to somebody without the token"},
)
def admin_without_token(settings: MailSettings) -> MailService:
    return MailService(settings, strategies=replace(RIGHT, make_admin=OpenAdmin))


class FriendlyAdmin(AdminApi):
    """It says that an account is blocked, and lets it in."""

    def set_blocked(self, address: str, blocked: bool) -> None:
        """Forgotten."""


@mutant(
    "mail",
    "an account that was blocked logs in as before",
    kills={"operation.blocked_accounts_stay_out": "a blocked account logs in over IMAP and SMTP"},
)
def blocked_accounts_get_in(settings: MailSettings) -> MailService:
    return MailService(settings, strategies=replace(RIGHT, make_admin=FriendlyAdmin))


class SteadyAdmin(AdminApi):
    """It says that a service is switched off, and METADATA names it as before."""

    def set_offered(self, service: str, offered: bool) -> None:
        """Forgotten."""


@mutant(
    "mail",
    "a service that was switched off is offered as before",
    kills={
        "operation.services_that_are_switched_off_are_not_offered": "METADATA names TURN, which is switched off",
        "operation.switches_tell_how_they_are": "TURN is 'enabled' after it was told to disable",
    },
)
def services_stay_offered(settings: MailSettings) -> MailService:
    return MailService(settings, strategies=replace(RIGHT, make_admin=SteadyAdmin))


class StubbornAdmin(AdminApi):
    """What was set once stays so."""

    def reset(self, name: str) -> None:
        """Nothing is given back."""


@mutant(
    "mail",
    "a setting that was reset keeps its value",
    kills={"operation.settings_are_kept_until_they_are_reset": "language is 'de' after it was reset"},
)
def settings_stay_set(settings: MailSettings) -> MailService:
    return MailService(settings, strategies=replace(RIGHT, make_admin=StubbornAdmin))


class GenerousAdmin(AdminApi):
    """It says that a quota was set, and the account has room as before."""

    def set_quota(self, address: str, most: int | None) -> None:
        """Forgotten."""


@mutant(
    "mail",
    "an account gets mail beyond the quota that the operator has set",
    kills={"operation.quotas_are_told_and_kept": "mail over the quota is accepted"},
)
def quota_of_operator_ignored(settings: MailSettings) -> MailService:
    return MailService(settings, strategies=replace(RIGHT, make_admin=GenerousAdmin))


class SettledAdmin(AdminApi):
    """A reload moves nothing."""

    async def move_listener(self, name: str, port: int) -> None:
        """It stays."""


@mutant(
    "mail",
    "after a reload listeners are where they were, whatever port was set",
    kills={"operation.listeners_move_with_a_reload": "submission does not listen at port"},
)
def listeners_stay(settings: MailSettings) -> MailService:
    return MailService(settings, strategies=replace(RIGHT, make_admin=SettledAdmin))


class MutteringAdmin(AdminApi):
    """The password that it tells of an account is not the account's."""

    async def make_account(self) -> tuple[str, str] | None:
        made = await super().make_account()
        return made and (made[0], f"{made[1]}x")


@mutant(
    "mail",
    "an account that the operator makes has another password than the operator is told",
    kills={"administration.accounts_made_by_an_operator_work": "logs in over nothing"},
)
def operator_told_another_password(settings: MailSettings) -> MailService:
    return MailService(settings, strategies=replace(RIGHT, make_admin=MutteringAdmin))


class ForgetfulAdmin(AdminApi):
    """It lists an override that nobody asks."""

    def override(self, key: str, target: str, comment: str) -> Override:
        made = super().override(key, target, comment)
        self._overrides.delete(key)
        return made


@mutant(
    "mail",
    "mail goes to a domain's own servers, although the operator has named an exchanger for it",
    kills={"federation.mail_goes_by_an_exchanger": "passed 0 times by the exchanger (https)"},
)
def exchanger_ignored(settings: MailSettings) -> MailService:
    return MailService(settings, strategies=replace(RIGHT, make_admin=ForgetfulAdmin))


class HidingAdmin(AdminApi):
    """A deleted account is in no list any more, and lives on."""

    async def delete(self, address: str) -> Purged | None:
        self._hidden = address
        return Purged(0, ())

    async def addresses(self) -> list[str]:
        return [each for each in await super().addresses() if each != getattr(self, "_hidden", "")]


@mutant(
    "mail",
    "a deleted account is in no list, and gets mail as before",
    kills={"administration.deleted_accounts_are_gone": "mail to a deleted account is accepted"},
)
def deleted_accounts_live_on(settings: MailSettings) -> MailService:
    return MailService(settings, strategies=replace(RIGHT, make_admin=HidingAdmin))
