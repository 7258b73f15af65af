"""madmail's admin API, as far as it is about accounts and their mail: one JSON object to `POST /api/admin`, one back.

    {"method": "POST", "resource": "/admin/queue", "headers": {"Authorization": "Bearer TOKEN"},
     "body": {"action": "purge_user", "username": "alice@chatmail.test"}}

The status is in the answer; that of HTTP is 200. What is switched is forgotten at the next start.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from reference_server.errors import ConfigurationError

from .accounts import Accounts
from .delivery import Notifier
from .federation.overrides import BadOverride, Override, Overrides
from .listeners import Listeners
from .mailbox import Purged
from .offers import Offers
from .store import Account
from .store_thread import StoreThread, StoreUnavailable

__all__ = ["AdminApi", "Administered", "read_token"]

PATH = b"/api/admin"
MIN_TOKEN = 16
"""Characters; a shorter one could be guessed."""
SETTINGS = {"language": "en"}
"""Kept for whoever asks, with what they are when nobody sets them: the pages of a test server have one language."""
PORTS = {
    **{"imap_port": "imap", "imap_tls_port": "imaps"},
    **{"submission_port": "submission", "submission_tls_port": "submissions"},
}
"""Settings of ports, and the listeners that a reload moves there."""
PORT = re.compile(r"[1-9][0-9]{0,4}")
MOST_BYTES = 1 << 62
Answer = tuple[int, Mapping[str, Any]]
"""A status as of HTTP, and the body."""


class _Refused(Exception):
    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


def read_token(file: Path) -> str:
    """The first line of a file. Raises `ConfigurationError`."""
    try:
        token = file.read_text().partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--admin-token-file {file}: {error}") from error
    if len(token) < MIN_TOKEN or not token.isascii() or not token.isprintable():
        raise ConfigurationError(f"--admin-token-file {file}: expected {MIN_TOKEN} ASCII characters or more")
    return token


@dataclass(frozen=True)
class Administered:
    """Everything of a mail service that an operator has a hand in."""

    accounts: Accounts
    store: StoreThread
    notifier: Notifier
    offers: Offers
    overrides: Overrides
    listeners: Listeners


class AdminApi:
    """Answers whoever has the token."""

    def __init__(self, token: str, administered: Administered) -> None:
        self._token = token
        self._accounts = administered.accounts
        self._store = administered.store
        self._notifier = administered.notifier
        self._offers = administered.offers
        self._overrides = administered.overrides
        self._listeners = administered.listeners
        self._set: dict[str, str] = {}
        self._resources: dict[tuple[str, str], Callable[[Mapping[str, Any]], Awaitable[Answer]]] = {
            ("GET", "/admin/status"): self._status,
            ("GET", "/admin/accounts"): self._list_accounts,
            ("POST", "/admin/accounts"): self._make_account,
            ("DELETE", "/admin/accounts"): self._delete_account,
            ("GET", "/admin/quota"): self._tell_quota,
            ("PUT", "/admin/quota"): self._put_quota,
            ("DELETE", "/admin/quota"): self._reset_quota,
            ("GET", "/admin/dns"): self._list_overrides,
            ("POST", "/admin/dns"): self._override,
            ("DELETE", "/admin/dns"): self._delete_override,
            ("POST", "/admin/queue"): self._purge,
            ("GET", "/admin/registration"): self._registration,
            ("POST", "/admin/registration"): self._set_registration,
            ("GET", "/admin/registration/jit"): self._first_login,
            ("POST", "/admin/registration/jit"): self._set_first_login,
            ("POST", "/admin/reload"): self._reload,
            ("GET", "/admin/blocklist"): self._list_blocked,
            ("POST", "/admin/blocklist"): self._block,
            ("DELETE", "/admin/blocklist"): self._unblock,
            ("GET", "/admin/settings"): self._all_settings,
        }
        for service in ("turn", "iroh"):
            self._resources["GET", f"/admin/services/{service}"] = partial(self._service, service)
            self._resources["POST", f"/admin/services/{service}"] = partial(self._set_service, service)
        for name in (*SETTINGS, *PORTS):
            self._resources["GET", f"/admin/settings/{name}"] = partial(self._setting, name)
            self._resources["POST", f"/admin/settings/{name}"] = partial(self._change_setting, name)

    async def answer(self, request: bytes) -> Mapping[str, Any]:
        """The envelope for a request, whatever it is."""
        try:
            asked = _object(json.loads(request))
        except (ValueError, RecursionError, _Refused):
            return _envelope(400, error="invalid JSON request body")
        resource = str(asked.get("resource"))
        try:
            self.authenticate(asked.get("headers"))
            status, body = await self._dispatch(str(asked.get("method", "GET")).upper(), resource, asked)
        except _Refused as refused:
            return _envelope(refused.status, resource, error=str(refused))
        except StoreUnavailable:
            return _envelope(503, resource, error="the store does not answer now")
        return _envelope(status, resource, body=body)

    def authenticate(self, headers: object) -> None:
        """Compares in constant time."""
        given = {str(name).lower(): str(value) for name, value in _mapping(headers).items()}
        scheme, _, token = given.get("authorization", "").partition(" ")
        right = secrets.compare_digest(token.strip().encode(errors="replace"), self._token.encode())
        if scheme != "Bearer" or not right:
            raise _Refused(401, "unauthorized")

    async def purge(self, address: str | None, *, only_seen: bool) -> Purged:
        """Remove mail, of one account or of all."""
        return await self._store.run(lambda store: store.purge(address, only_seen=only_seen))

    async def addresses(self) -> list[str]:
        """Every account's."""
        return await self._store.run(lambda store: store.addresses())

    async def make_account(self) -> tuple[str, str] | None:
        """Address and password of a new account; None: there are too many."""
        return await self._accounts.create_for_operator()

    async def delete(self, address: str) -> Purged | None:
        """Remove an account with its mail; None: there is none."""
        return await self._store.run(lambda store: store.delete_account(address))

    def set_first_login(self, enabled: bool) -> None:
        """Whether a first log-in makes an account."""
        self._accounts.first_login = enabled

    def set_blocked(self, address: str, blocked: bool) -> None:
        """Let nobody log in with an address, or let them again."""
        (self._accounts.blocked.add if blocked else self._accounts.blocked.discard)(address)

    def set_offered(self, service: str, offered: bool) -> None:
        """METADATA names a service, `turn` or `iroh`, or does not."""
        setattr(self._offers, service, offered)

    def set_quota(self, address: str, most: int | None) -> None:
        """Give an account room for so many bytes of mail; None: as every other has."""
        if most is None:
            self._accounts.quotas.pop(address, None)
        else:
            self._accounts.quotas[address] = most

    def override(self, key: str, target: str, comment: str) -> Override:
        """Send mail for a domain to a host, or to an exchanger. Raises `BadOverride`."""
        return self._overrides.set(key, target, comment)

    async def move_listener(self, name: str, port: int) -> None:
        """Raises `OSError`."""
        await self._listeners.move(name, port)

    def reset(self, name: str) -> None:
        """Give a setting back the value that it has when nobody sets it."""
        self._set.pop(name, None)

    async def _dispatch(self, method: str, resource: str, asked: Mapping[str, Any]) -> Answer:
        serve = self._resources.get((method, resource))
        if serve is not None:
            return await serve(_mapping(asked.get("body")))
        if any(resource == known for _method, known in self._resources):
            raise _Refused(405, f"method {method} not allowed")
        raise _Refused(404, f"unknown resource: {resource}")

    async def _status(self, _body: Mapping[str, Any]) -> Answer:
        return 200, {"users": {"registered": len(await self.addresses())}}

    async def _list_accounts(self, _body: Mapping[str, Any]) -> Answer:
        addresses = await self.addresses()
        return 200, {"accounts": [{"username": each} for each in addresses], "total": len(addresses)}

    async def _make_account(self, _body: Mapping[str, Any]) -> Answer:
        made = await self.make_account()
        if made is None:
            raise _Refused(503, "there are too many accounts")
        return 201, {"email": made[0], "password": made[1]}

    async def _delete_account(self, body: Mapping[str, Any]) -> Answer:
        address = self._accounts.canonical(_text(body, "username"))
        purged = await self.delete(address)
        if purged is None:
            raise _Refused(404, f"no such account: {address}")
        self._notifier.publish(purged.mailboxes)
        return 200, {"deleted": address}

    async def _purge(self, body: Mapping[str, Any]) -> Answer:
        action = _text(body, "action")
        if action not in ("purge_user", "purge_all", "purge_read"):
            raise _Refused(400, f"unknown action: {action}")
        address = self._accounts.canonical(_text(body, "username")) if action == "purge_user" else None
        purged = await self.purge(address, only_seen=action == "purge_read")
        self._notifier.publish(purged.mailboxes)
        return 200, {"action": action, "deleted": purged.messages}

    async def _tell_quota(self, body: Mapping[str, Any]) -> Answer:
        if not body.get("username"):
            addresses, used = await self._store.run(lambda store: (store.addresses(), store.used_bytes()))
            default = self._accounts.quota_of("")
            return 200, {
                "total_storage_bytes": used,
                "accounts_count": len(addresses),
                "default_quota_bytes": default,
            }
        account = await self._known(body)
        used = await self._store.run(lambda store: store.used_bytes(account.id))
        return 200, {
            "username": account.address,
            "used_bytes": used,
            "max_bytes": self._accounts.quota_of(account.address),
            "is_default": account.address not in self._accounts.quotas,
        }

    async def _put_quota(self, body: Mapping[str, Any]) -> Answer:
        most = body.get("max_bytes")
        if type(most) is not int or not 0 <= most <= MOST_BYTES:
            raise _Refused(400, "max_bytes is a number of bytes")
        account = await self._known(body)
        self.set_quota(account.address, most)
        return 200, {"username": account.address, "max_bytes": most}

    async def _reset_quota(self, body: Mapping[str, Any]) -> Answer:
        address = self._accounts.canonical(_text(body, "username"))
        self.set_quota(address, None)
        return 200, {"reset": address}

    async def _known(self, body: Mapping[str, Any]) -> Account:
        account = await self._accounts.find(address := _text(body, "username"))
        if account is None:
            raise _Refused(404, f"no such account: {address}")
        return account

    async def _list_overrides(self, _body: Mapping[str, Any]) -> Answer:
        told = [
            {"lookup_key": each.key, "target_host": each.target, "comment": each.comment}
            for each in self._overrides
        ]
        return 200, {"overrides": told, "total": len(told)}

    async def _override(self, body: Mapping[str, Any]) -> Answer:
        key, target, comment = _text(body, "lookup_key"), _text(body, "target_host"), body.get("comment", "")
        try:
            made = self.override(key, target, str(comment))
        except BadOverride as error:
            raise _Refused(400, str(error)) from error
        return 201, {"lookup_key": made.key, "target_host": made.target}

    async def _delete_override(self, body: Mapping[str, Any]) -> Answer:
        key = _text(body, "lookup_key")
        self._overrides.delete(key)
        return 200, {"deleted": key}

    async def _registration(self, _body: Mapping[str, Any]) -> Answer:
        return 200, {"status": "open" if self._accounts.on_request else "closed"}

    async def _set_registration(self, body: Mapping[str, Any]) -> Answer:
        self._accounts.on_request = _one_of(body, {"open": True, "close": False})
        return await self._registration({})

    async def _first_login(self, _body: Mapping[str, Any]) -> Answer:
        return 200, _switch(self._accounts.first_login)

    async def _set_first_login(self, body: Mapping[str, Any]) -> Answer:
        enabled = _one_of(body, {"enable": True, "disable": False})
        self.set_first_login(enabled)
        return 200, _switch(enabled)

    async def _list_blocked(self, _body: Mapping[str, Any]) -> Answer:
        blocked = sorted(self._accounts.blocked)
        return 200, {"blocked": [{"username": each} for each in blocked], "total": len(blocked)}

    async def _block(self, body: Mapping[str, Any]) -> Answer:
        address = self._accounts.canonical(_text(body, "username"))
        self.set_blocked(address, True)
        return 200, {"blocked": address}

    async def _unblock(self, body: Mapping[str, Any]) -> Answer:
        address = self._accounts.canonical(_text(body, "username"))
        self.set_blocked(address, False)
        return 200, {"unblocked": address}

    async def _service(self, service: str, _body: Mapping[str, Any]) -> Answer:
        return 200, _switch(getattr(self._offers, service))

    async def _set_service(self, service: str, body: Mapping[str, Any]) -> Answer:
        offered = _one_of(body, {"enable": True, "disable": False})
        self.set_offered(service, offered)
        return 200, _switch(offered)

    @property
    def _ports(self) -> Mapping[str, str]:
        """Settings of ports, and what they are when nobody sets them."""
        first = self._listeners.first_ports
        return {name: str(first[listener]) for name, listener in PORTS.items() if listener in first}

    async def _all_settings(self, _body: Mapping[str, Any]) -> Answer:
        return 200, {name: self._stated(name) for name in (*SETTINGS, *self._ports)}

    async def _setting(self, name: str, _body: Mapping[str, Any]) -> Answer:
        return 200, self._stated(name)

    async def _change_setting(self, name: str, body: Mapping[str, Any]) -> Answer:
        if _one_of(body, {"set": True, "reset": False}):
            value = _text(body, "value")
            if name in PORTS and not (PORT.fullmatch(value) and int(value) < 1 << 16):
                raise _Refused(400, f"{name} is a number of a port")
            self._set[name] = value
        else:
            self.reset(name)
        return 200, {**self._stated(name), "restart_required": name in PORTS}

    def _stated(self, name: str) -> Mapping[str, Any]:
        usual = SETTINGS.get(name) or self._ports.get(name)
        if usual is None:
            raise _Refused(404, f"no listener has the setting {name}")
        key = f"__{name.upper()}__"
        return {"key": key, "value": self._set.get(name, usual), "is_set": name in self._set}

    async def _reload(self, _body: Mapping[str, Any]) -> Answer:
        for name, first in self._ports.items():
            try:
                await self.move_listener(PORTS[name], int(self._set.get(name, first)))
            except OSError as error:
                raise _Refused(500, f"{name}: {error.strerror}") from error
        return 200, {
            "status": "reloaded",
            "message": "Listeners are where they were set; all else took effect at once.",
        }


def _envelope(
    status: int,
    resource: str | None = None,
    *,
    body: Mapping[str, Any] | None = None,
    error: str | None = None,
) -> Mapping[str, Any]:
    return {"status": status, "resource": resource, "body": body, "error": error}


def _object(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _Refused(400, "a JSON object is expected")
    return value


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str) or not value:
        raise _Refused(400, f"{name} is required")
    return value


def _one_of(body: Mapping[str, Any], actions: Mapping[str, bool]) -> bool:
    action = body.get("action")
    if action not in actions:
        raise _Refused(400, f"action must be {' or '.join(actions)}")
    return actions[str(action)]


def _switch(enabled: bool) -> Mapping[str, str]:
    return {"status": "enabled" if enabled else "disabled"}
