"""TURN servers that a call may use: those that the target's own METADATA names, and nobody else's.

Core silently falls back to public servers when METADATA offers none that it can use. So what core gives to its user
interface is compared with METADATA before any agent sees it.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ..clients.core.core import Account
from ..clients.turn.client import TurnCredentials, TurnError
from ..errors import plain
from ..hosts import Host
from ..urls import TurnUrl, UrlError
from ..waiting import WaitTimeout, wait_until
from .peers import IceServer

__all__ = [
    "TURNS_KEY",
    "TURN_KEY",
    "ForeignIceServer",
    "IceServerError",
    "NoIceServer",
    "TurnOffer",
    "ice_servers",
    "judge_ice_servers",
    "servers_of_core",
    "transport_override",
]

TURN_KEY = "/shared/vendor/deltachat/turn"
TURNS_KEY = "/shared/vendor/deltachat/turns"
VALUE = re.compile(r"(?P<host>[^:\s]+):(?P<port>\d{1,5}):(?P<username>\d{1,20}):(?P<password>.+)")
METADATA_WORDS = re.compile(r"metadata|ice.server|turn", re.IGNORECASE)
MOST_LINES = 5
READ_WITHIN = 5.0
"""Seconds, after the first IDLE, until core has read METADATA; it takes milliseconds."""
LONGEST_BETWEEN = 600
"""Seconds between our own reading of METADATA and core's."""


class IceServerError(Exception):
    """Core would use something else for a call than the target offers."""


class NoIceServer(IceServerError):
    """Core gives its user interface no server at all."""


class ForeignIceServer(IceServerError):
    """Core would use a server of somebody else. The text names it."""


@dataclass(frozen=True)
class TurnOffer:
    """The value of the METADATA key: `host:port:expiry:password`. Whoever prints it sees no password."""

    host: str
    port: int
    username: str
    """The unix second at which the credentials expire."""
    password: str = field(repr=False)

    @classmethod
    def parse(cls, value: str) -> TurnOffer:
        """Raises `TurnError`. The host ends at the first colon, as in core, so it is never a plain IPv6 address."""
        match = VALUE.fullmatch(value)
        if match is None or not 0 < int(match["port"]) < 1 << 16:
            shown, colon, _ = value.rpartition(":")  # the password is behind the last colon
            found = f"it begins {shown!r}" if colon else "it has no colon"
            raise TurnError(f"the value of {TURN_KEY} must be HOST:PORT:EXPIRY:PASSWORD, {found}")
        return cls(match["host"], int(match["port"]), match["username"], match["password"])

    @property
    def credentials(self) -> TurnCredentials:
        return TurnCredentials(self.username, self.password)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}:{self.username}:..."


def ice_servers(
    account: Account, offer: TurnOffer, host: Host, *, within: float = 60.0
) -> tuple[IceServer, ...]:
    """Ask core for the ICE servers that it gives its user interface for a call, when METADATA has been read.

    Never ask a core whose server offers no TURN: it would resolve the names of public servers. `offer` is what
    METADATA gave to our own client. Raises `NoIceServer`, `ForeignIceServer`, and `IceServerError` when the
    offered name does not resolve; `CoreUnsupported` for a core that has no calls.
    """
    account.core.era.require_calls(account.core.version)
    try:
        addresses = host.addresses_of(offer.host)
    except OSError as error:
        raise IceServerError(
            f"METADATA gave {offer}, and {offer.host} is no name here: {plain(error)}"
        ) from error
    account.wait_for("ImapInboxIdle", "METADATA to be read, which is before IDLE", within=within)
    servers = _known_to(account)
    said = [line.text for line in account.log if METADATA_WORDS.search(line.text)][-MOST_LINES:]
    judge_ice_servers(servers, offer, addresses, said)
    return tuple(servers)


def _known_to(account: Account) -> list[IceServer]:
    """The ICE servers of a core. Those before 2.38 watch a folder beside the inbox, maybe before METADATA is read."""
    with contextlib.suppress(WaitTimeout):
        return wait_until(lambda: servers_of_core(account), "core to have ICE servers", within=READ_WITHIN)
    return []


def servers_of_core(account: Account) -> list[IceServer]:
    """The ICE servers that core gives its user interface now, whosever they are."""
    return [
        IceServer(tuple(each["urls"]), each.get("username"), each.get("credential"))
        for each in account.client.ice_servers()
    ]


def judge_ice_servers(
    servers: Sequence[IceServer], offer: TurnOffer, addresses: Collection[str], log: Sequence[str] = ()
) -> None:
    """Raise if there is none, or one that is not at one of `addresses` (those of the offered host) and its port."""
    if not any(each.urls for each in servers):
        said = "; ".join(log) or "nothing about it"
        raise NoIceServer(f"core has no ICE server: METADATA gave {offer}, core's log says {said}")
    urls = [url for each in servers for url in each.urls]
    if foreign := [url for url in urls if not _is_own(url, offer, addresses)]:
        raise ForeignIceServer(
            f"core would use servers that METADATA does not name: {', '.join(foreign)} (foreign); "
            f"METADATA gave {offer}, which is {', '.join(sorted(addresses)) or 'no address'}"
        )
    for each in servers:
        if not _was_given(each, offer):
            raise ForeignIceServer(
                f"core has credentials for {', '.join(each.urls)} that METADATA did not give: "
                f"username {each.username} instead of {offer.username}, or another password"
            )


def transport_override(
    servers: Sequence[IceServer],
    transport: Literal["tcp", "tls"],
    port: int | None = None,
    *,
    host: str | None = None,
) -> tuple[IceServer, ...]:
    """The same credentials over TCP or TLS, at the same servers or as METADATA `turns` says: `host` and `port`.

    It is an ability of servers that no Delta Chat client uses yet.
    """
    scheme = "turns" if transport == "tls" else "turn"

    def over(url: TurnUrl) -> str:
        return f"{scheme}:{host or url.host}:{port or url.port}?transport=tcp"

    return tuple(replace(each, urls=tuple(over(TurnUrl.parse(url)) for url in each.urls)) for each in servers)


def _was_given(server: IceServer, offer: TurnOffer) -> bool:
    """Core reads METADATA at another moment than we do, and credentials may be new in each second."""
    if server.username == offer.username:
        return server.credential == offer.password
    username = server.username or ""
    if not (username.isdecimal() and offer.username.isdecimal() and server.credential):
        return False
    return abs(int(username) - int(offer.username)) <= LONGEST_BETWEEN


def _is_own(text: str, offer: TurnOffer, addresses: Collection[str]) -> bool:
    try:
        url = TurnUrl.parse(text)
    except UrlError:
        return False
    return url.host in addresses and url.port == offer.port
