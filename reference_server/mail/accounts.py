"""Accounts: created at first login or over the web, with a first password that stays."""

from __future__ import annotations

import asyncio
import re
import secrets
import string
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from reference_server.ledger import Ledger

from .dialects import DIALECTS
from .rates import Gcra
from .settings import MailSettings, PasswordHashCost
from .store import Account
from .store_thread import StoreThread

if TYPE_CHECKING:
    from argon2 import PasswordHasher

T = TypeVar("T")

__all__ = [
    "AccountRule",
    "Accounts",
    "PasswordVerifier",
    "TooManyNewAccounts",
    "may_create",
    "verify_password",
]

_LOCAL_PART = re.compile(r"[a-z0-9._-]+")
_ALPHABET = string.ascii_lowercase + string.digits
RANDOM_ATTEMPTS = 3
"""A name that is taken by chance is tried again; 36 ** 9 names make that rare."""
NEW_ACCOUNTS_AT_ONCE = 5000
"""Of one source, where their number is limited."""
HASHING_THREADS = 2
"""A bound on memory too: at normal cost each hash takes 64 MiB."""

PasswordVerifier = Callable[[str, str], bool]
"""Gets the stored hash and the password that a client sent; runs in a thread."""

AccountRule = Callable[[MailSettings, str, str], bool]
"""Gets an address in lower case that nobody has yet, and a password: true if a first log-in may make it."""


@cache
def _hasher(cost: PasswordHashCost) -> PasswordHasher:
    from argon2 import PasswordHasher, profiles  # noqa: PLC0415 - start-up is quicker without

    if cost is PasswordHashCost.LOW:
        return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    return PasswordHasher.from_parameters(profiles.RFC_9106_LOW_MEMORY)


def verify_password(password_hash: str, password: str) -> bool:
    """Compares in constant time; the cost is written in the hash."""
    from argon2.exceptions import VerifyMismatchError  # noqa: PLC0415

    try:
        return _hasher(PasswordHashCost.NORMAL).verify(password_hash, password)
    except VerifyMismatchError:
        return False


def may_create(settings: MailSettings, address: str, password: str) -> bool:
    """A first log-in with these makes an account. The address is in lower case."""
    local_part, _, domain = address.rpartition("@")
    return (
        domain == _domain(settings)
        and len(local_part) in _lengths(settings)
        and _LOCAL_PART.fullmatch(local_part) is not None
        and len(password) >= _password_min(settings)
    )


def _domain(settings: MailSettings) -> str:
    return DIALECTS[settings.dialect].canonical(f"@{settings.domain}").removeprefix("@")


def _lengths(settings: MailSettings) -> range:
    """Of local parts."""
    fewest, most = DIALECTS[settings.dialect].local_part
    if settings.local_part_min is not None:
        fewest = settings.local_part_min
    if settings.local_part_max is not None:
        most = settings.local_part_max
    return range(fewest, most + 1)


def _password_min(settings: MailSettings) -> int:
    stated = settings.password_min
    return DIALECTS[settings.dialect].password_min if stated is None else stated


class TooManyNewAccounts(Exception):
    """One source has created so many that it has to wait."""


class Accounts:
    """Log-in and creation of accounts."""

    def __init__(
        self,
        settings: MailSettings,
        store: StoreThread,
        ledger: Ledger,
        verify: PasswordVerifier,
        may_create: AccountRule,
    ) -> None:
        self._settings = settings
        self._store = store
        self._ledger = ledger
        self._verify = verify
        self._may_create = may_create
        self.first_login = settings.first_login
        """A first log-in makes an account."""
        self.on_request = True
        """The web gives accounts."""
        self.blocked: set[str] = set()
        """Canonical addresses whose log-ins are refused, whatever their password."""
        self.quotas: dict[str, int] = {}
        """Bytes of mail, by canonical addresses, of those that have not as many as all others."""
        limits = settings.limits
        self._failures = Gcra(
            period=limits.source_login_failure_forgotten, burst=limits.source_login_failures
        )
        per_minute = settings.new_accounts_per_minute
        self._creations = Gcra(period=60 / per_minute, burst=NEW_ACCOUNTS_AT_ONCE) if per_minute > 0 else None
        self._threads = ThreadPoolExecutor(HASHING_THREADS, thread_name_prefix="password")

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)

    def canonical(self, address: str) -> str:
        """The one spelling by which an address is known here."""
        return DIALECTS[self._settings.dialect].canonical(address)

    def quota_of(self, address: str) -> int:
        """Bytes of mail that a canonical address may have."""
        return self.quotas.get(address, self._settings.limits.quota)

    async def find(self, address: str) -> Account | None:
        return await self._store.run(lambda store: store.account(self.canonical(address)))

    async def log_in(self, address: str, password: str, *, protocol: str, source: str) -> Account | None:
        """The account, created where the rules allow it; None for every reason to refuse.

        An unknown user and a wrong password take the same time and look the same. A source address with too many
        failures is refused whatever it says, until some of them are forgotten: guessing on is of no use.
        """
        clock, account = asyncio.get_running_loop().time, None
        listens = self._failures.allows(source, clock())
        if listens and len(password.encode()) <= self._settings.limits.password:
            with suppress(TooManyNewAccounts):
                account = await self._check(self.canonical(address), password, source)
        if account is None:
            self._failures.take(source, clock())
            self._ledger.event("login_refused", protocol=protocol)
        else:
            self._ledger.event("login", user=account.address, protocol=protocol)
        return account

    async def create_random(self, source: str) -> tuple[str, str] | None:
        """A new account's address and password; None when there are too many accounts, or nobody gets one now.

        Raises `TooManyNewAccounts`.
        """
        return await self._make_random(source, by="web") if self.on_request else None

    async def create_for_operator(self) -> tuple[str, str] | None:
        """The same for whoever administers the server, whether others get one or not."""
        return await self._make_random(None, by="operator")

    async def _make_random(self, source: str | None, *, by: str) -> tuple[str, str] | None:
        size = _lengths(self._settings).start
        for _attempt in range(RANDOM_ATTEMPTS):
            address = f"{_random(size)}@{_domain(self._settings)}"
            password = _random(max(22, _password_min(self._settings)))
            if await self._create(address, password, source, by=by):
                return address, password
        return None

    async def _check(self, address: str, password: str, source: str) -> Account | None:
        account = await self.find(address)
        if account is None and self.first_login and self._may_create(self._settings, address, password):
            if await self._create(address, password, source, by="login"):
                return await self.find(address)
            account = await self.find(address)  # another first login was quicker: its password counts
        if account is None:
            await self._in_thread(self._hash, password)  # takes the time that a comparison takes
            return None
        right = await self._in_thread(self._verify, account.password_hash, password)
        return account if right and account.address not in self.blocked else None

    async def _create(self, address: str, password: str, source: str | None, *, by: str) -> bool:
        """`source`: None for an operator, who is not limited."""
        now = asyncio.get_running_loop().time()
        if source is not None and self._creations is not None and not self._creations.take(source, now):
            raise TooManyNewAccounts
        password_hash = await self._in_thread(self._hash, password)
        limit = self._settings.limits.accounts
        if not await self._store.run(lambda store: store.create_account(address, password_hash, limit=limit)):
            return False
        self._ledger.event("account_created", user=address, by=by)
        return True

    def _hash(self, password: str) -> str:
        return _hasher(self._settings.password_hash_cost).hash(password)

    async def _in_thread(self, call: Callable[..., T], *arguments: str) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *arguments)


def _random(size: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(size))
