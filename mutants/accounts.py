"""Mail services that are wrong about accounts: who gets one, of which domain, and how many."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from argon2 import PasswordHasher

from reference_server.mail.accounts import verify_password
from reference_server.mail.service import MailService
from reference_server.mail.settings import MailSettings
from reference_server.mail.store import Store
from reference_server.mail.strategies import Strategies

from .declaration import mutant

FEW = 30
"""Accounts: more than any check needs that is not about their number."""

WEB_PASSWORD = 22
"""Characters of a password that POST /new makes; clients of ours make longer ones."""

RIGHT = Strategies()


@mutant(
    "mail",
    "a first log-in makes an account whatever the domain is",
    kills={"accounts.log_ins_are_for_this_server_only": "which is not of this server"},
)
def any_domain_accepted(settings: MailSettings) -> MailService:
    def whoever(_settings: MailSettings, _address: str, _password: str) -> bool:
        return True

    return MailService(settings, strategies=replace(RIGHT, may_create=whoever))


@mutant(
    "mail",
    "thirty accounts can be made, then the server is full",
    kills={"accounts.many_accounts_at_once": "70 of 100 accounts"},
)
def thirty_accounts_only(settings: MailSettings) -> MailService:
    return MailService(replace(settings, limits=replace(settings.limits, accounts=FEW)))


@mutant(
    "mail",
    "the first log-in makes an account, and no later one has the right password",
    kills={"accounts.new_accounts_come_online": "does not come online"},
)
def second_log_in_refused(settings: MailSettings) -> MailService:
    return MailService(
        settings, strategies=replace(RIGHT, verify_password=lambda _password_hash, _password: False)
    )


@mutant(
    "mail",
    "an account that POST /new gives cannot log in",
    kills={"accounts.the_web_gives_accounts": "refused"},
)
def web_accounts_refused(settings: MailSettings) -> MailService:
    def only_others(password_hash: str, password: str) -> bool:
        return len(password) != WEB_PASSWORD and verify_password(password_hash, password)

    return MailService(settings, strategies=replace(RIGHT, verify_password=only_others))


class ForgetfulAccounts(Store):
    """Every start knows the accounts and not their passwords, as one that keeps its key in memory would."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        another = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("another password")
        self._db.execute("UPDATE accounts SET password_hash = ?", (another,))


@mutant(
    "mail",
    "after a restart of mail nobody can log in any more",
    kills={"transports.mail_leaves_by_the_first_server": "that waited for the first server does not arrive"},
)
def accounts_forgotten_at_restart(settings: MailSettings) -> MailService:
    return MailService(settings, strategies=replace(RIGHT, make_store=ForgetfulAccounts))
