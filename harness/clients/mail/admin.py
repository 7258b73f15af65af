"""madmail's admin API (2.23, `crates/chatmail-admin`): one JSON object to `POST /api/admin` over HTTPS, one back."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import plain
from ...hosts import Host
from ...target import Target
from .web import HttpsConnection

__all__ = ["AdminClient", "AdminError", "AdminReply"]

MAX_ANSWER = 4 * 1024 * 1024
WITHIN = 30.0


class AdminError(Exception):
    """There is no answer, or none that the API gives. The text has the server's words."""


@dataclass(frozen=True)
class AdminReply:
    """An answer: its status is as of HTTP, and `error` the server's words for a refusal."""

    status: int
    body: Mapping[str, Any]
    error: str

    @property
    def ok(self) -> bool:
        return self.status in (http.client.OK, http.client.CREATED)

    def __str__(self) -> str:
        return f"{self.status} {self.error or dict(self.body)}"[:300]


class AdminClient:
    """Asks with a token, that of the target by default."""

    def __init__(self, host: Host, target: Target, *, token: str | None = None) -> None:
        assert target.admin is not None
        self._host = host
        self._target = target
        self._path = target.admin.path
        self._token = target.admin.token if token is None else token

    def ask(self, resource: str, method: str = "GET", **body: Any) -> AdminReply:
        """One question. An empty token asks without one. Raises `AdminError` where no answer of the API comes."""
        asked = {"method": method, "resource": resource, "headers": self._headers(), "body": body}
        answer = self._post(json.dumps(asked).encode())
        try:
            data = json.loads(answer)
            error = data.get("error") or ""
            return AdminReply(int(data["status"]), data.get("body") or {}, str(error))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AdminError(f"the admin API answered {resource} with something else") from error

    def do(self, resource: str, method: str = "POST", **body: Any) -> Mapping[str, Any]:
        """One question that must be answered. Raises `AdminError` with the words of a refusal."""
        reply = self.ask(resource, method, **body)
        if not reply.ok:
            raise AdminError(f"the admin API refuses {method} {resource}: {reply}")
        return reply.body

    def _headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def _post(self, body: bytes) -> bytes:
        target = self._target
        connection = HttpsConnection(self._host, target.host, target.https, target.ssl_context(), WITHIN)
        try:
            connection.request("POST", self._path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            content = answer.read(MAX_ANSWER)
        except (OSError, http.client.HTTPException) as error:
            raise AdminError(f"no answer of the admin API: {plain(error)}") from error
        finally:
            connection.close()
        if answer.status != http.client.OK:
            raise AdminError(f"the admin API answered with HTTP {answer.status}")
        return content
