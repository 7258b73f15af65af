"""madmail's admin API, as far as it is about accounts and their mail: one JSON object to `POST /api/admin`, one back.

    {"method": "POST", "resource": "/admin/queue", "headers": {"Authorization": "Bearer TOKEN"},
     "body": {"action": "purge_user", "username": "alice@chatmail.test"}}

The status is in the answer; that of HTTP is 200. What is switched is forgotten at the next start.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from reference_server.errors import ConfigurationError

from .accounts import Accounts
from .delivery import Notifier
from .mailbox import Purged
from .offers import Offers
from .store_thread import StoreThread, StoreUnavailable

__all__ = ["AdminApi", "read_token"]

PATH = b"/api/admin"
MIN_TOKEN = 16
"""Characters; a shorter one could be guessed."""
SETTINGS = {"language": "en"}
"""Kept for whoever asks, with what they are when nobody sets them: the pages of a test server have one language."""
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


class AdminApi:
    """Answers whoever has the token."""

    def __init__(
        self, token: str, accounts: Accounts, store: StoreThread, notifier: Notifier, offers: Offers
    ) -> None:
        self._token = token
        self._accounts = accounts
        self._store = store
        self._notifier = notifier
        self._offers = offers
        self._set: dict[str, str] = {}
        self._resources: dict[tuple[str, str], Callable[[Mapping[str, Any]], Awaitable[Answer]]] = {
            ("GET", "/admin/status"): self._status,
            ("GET", "/admin/accounts"): self._list_accounts,
            ("DELETE", "/admin/accounts"): self._delete_account,
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
        for name in SETTINGS:
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

    async def _all_settings(self, _body: Mapping[str, Any]) -> Answer:
        return 200, {name: self._stated(name) for name in SETTINGS}

    async def _setting(self, name: str, _body: Mapping[str, Any]) -> Answer:
        return 200, self._stated(name)

    async def _change_setting(self, name: str, body: Mapping[str, Any]) -> Answer:
        if _one_of(body, {"set": True, "reset": False}):
            self._set[name] = _text(body, "value")
        else:
            self.reset(name)
        return 200, self._stated(name)

    def _stated(self, name: str) -> Mapping[str, Any]:
        return {"key": name, "value": self._set.get(name, SETTINGS[name]), "is_set": name in self._set}

    async def _reload(self, _body: Mapping[str, Any]) -> Answer:
        return 200, {"status": "reloaded", "message": "Everything here takes effect at once."}


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
