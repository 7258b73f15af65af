"""Accounts that checks use, by first log-in or given by the caller; `clients.mail.web` has those by `POST /new`."""

from __future__ import annotations

import secrets
import string
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, urlencode

from .hosts import MissingCapability

if TYPE_CHECKING:
    from .target import Target

__all__ = ["AccountSource", "Credentials", "FirstLogin", "GivenAccounts", "SameAccounts"]

LOCALPART_CHARACTERS = string.ascii_lowercase + string.digits
LOCALPART_LENGTH = 9
"""Chatmail servers accept exactly nine characters by default."""


ADDRESS = "@[]:"
"""Characters of an address that stand for themselves in a login code."""


@dataclass(frozen=True)
class Credentials:
    """A mail address and its password. Whoever prints it sees no password."""

    address: str
    password: str = field(repr=False)

    def dclogin(self, target: Target) -> str:
        """The login code that Delta Chat core configures an account from. It contains the password.

        `ic=3` lets core accept any certificate. That is no choice of ours: core trusts the public roots only
        and has no setting for a private CA, so it can use a test server in no other way. The harness's own
        clients do verify. Cores before 2.50 (2.35.0 is the last that we tried) take the address as it stands, with
        its percent signs: the brackets of an address literal (RFC 5321, 4.1.3) must not be quoted.
        """
        settings = {
            "p": self.password,
            "v": "1",
            "ih": target.imap_host or target.host,
            "ip": target.imaps,
            "is": "ssl",
            "sh": target.smtp_host or target.host,
            "sp": target.submissions,
            "ss": "ssl",
            "ic": "3",
        }
        return f"dclogin:{quote(self.address, safe=ADDRESS)}?{urlencode(settings, quote_via=quote)}"


class AccountSource(Protocol):
    """Gives each asker an account that no other part of the same check uses."""

    left_behind: int
    """Upper bound of the accounts that exist on the server because of us: some may never have been logged in to.

    Whoever records it begins again at 0."""

    def begin(self) -> None:
        """A check begins."""

    def new(self, target: Target) -> Credentials:
        """Credentials for one account."""

    def any(self, target: Target) -> Credentials:
        """Credentials to look around with: whatever is done with them disturbs no other use of the account."""


class FirstLogin:
    """Makes credentials up; the server creates the account at the first log-in, as chatmail servers do."""

    def __init__(self) -> None:
        self.left_behind = 0

    def begin(self) -> None:
        """Every account is new anyway."""

    def new(self, target: Target) -> Credentials:
        localpart = "".join(secrets.choice(LOCALPART_CHARACTERS) for _ in range(LOCALPART_LENGTH))
        self.left_behind += 1
        return Credentials(f"{localpart}@{target.domain}", secrets.token_urlsafe(24))

    any = new


class GivenAccounts:
    """The caller's own accounts. None is created; each check starts again with the first one."""

    left_behind = 0

    def __init__(self, accounts: Sequence[Credentials]) -> None:
        self._accounts = tuple(accounts)
        self._used = 0

    def begin(self) -> None:
        self._used = 0

    def new(self, target: Target) -> Credentials:
        del target  # they are where the caller says
        if self._used == len(self._accounts):
            raise MissingCapability(
                "accounts",
                f"this check needs more than the {self._used} that were given",
                heal="give another one with --account",
            )
        self._used += 1
        return self._accounts[self._used - 1]

    def any(self, target: Target) -> Credentials:
        return self._accounts[0] if self._accounts else self.new(target)


class SameAccounts:
    """Accounts of another source, the same ones again from each `begin` on."""

    def __init__(self, source: AccountSource) -> None:
        self.source = source
        self._known: list[Credentials] = []
        self._given = 0

    @property
    def left_behind(self) -> int:
        return self.source.left_behind

    @left_behind.setter
    def left_behind(self, count: int) -> None:
        self.source.left_behind = count

    def begin(self) -> None:
        self._given = 0

    def new(self, target: Target) -> Credentials:
        if self._given == len(self._known):
            self._known.append(self.source.new(target))
        self._given += 1
        return self._known[self._given - 1]

    any = new
