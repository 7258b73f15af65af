"""Access to the relay: everybody, an allowlist, a denylist, who knows a token, or whom an HTTP service names."""

from __future__ import annotations

import asyncio
import hmac
import logging
import ssl
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

import h11

__all__ = ["Access", "Allowlist", "Denylist", "Everyone", "HttpAccess", "SharedToken"]

log = logging.getLogger(__name__)
MAX_ANSWER = 4096


class Access(Protocol):
    async def allows(self, key: bytes, token: str | None, /) -> bool:
        """True when the owner of this node ID (32 bytes, already proved) may use the relay.

        `token` is what the client sent with its upgrade request; clients of generation 0.35 cannot send one.
        """


@dataclass(frozen=True, slots=True)
class Everyone:
    async def allows(self, _key: bytes, _token: str | None, /) -> bool:
        return True


@dataclass(frozen=True, slots=True)
class Allowlist:
    keys: frozenset[bytes]

    async def allows(self, key: bytes, _token: str | None, /) -> bool:
        return key in self.keys


@dataclass(frozen=True, slots=True)
class Denylist:
    keys: frozenset[bytes]

    async def allows(self, key: bytes, _token: str | None, /) -> bool:
        return key not in self.keys


@dataclass(frozen=True, slots=True)
class SharedToken:
    """Whoever knows one of these tokens."""

    tokens: tuple[str, ...] = field(repr=False)

    async def allows(self, _key: bytes, token: str | None, /) -> bool:
        sent = (token or "").encode()
        matches = [hmac.compare_digest(sent, known.encode()) for known in self.tokens]  # each, for equal time
        return any(matches)


@dataclass(frozen=True, slots=True)
class HttpAccess:
    """POST with `X-Iroh-NodeId`; status 200 and a body of exactly `true` is a yes, anything else a no."""

    url: str
    bearer_token: str | None = None
    timeout: float = 5.0

    def __repr__(self) -> str:
        return f"HttpAccess({self.url!r})"  # the token is a secret

    async def allows(self, key: bytes, _token: str | None, /) -> bool:
        try:
            async with asyncio.timeout(self.timeout):
                return await self._ask(key.hex())
        except (OSError, TimeoutError, h11.ProtocolError) as error:
            log.warning("access service %s: %s; access denied", self.url, str(error) or "no answer in time")
            return False

    async def _ask(self, node_id: str) -> bool:
        url = urlsplit(self.url)
        tls = ssl.create_default_context() if url.scheme == "https" else None
        port = url.port or (443 if tls else 80)
        reader, writer = await asyncio.open_connection(url.hostname, port, ssl=tls)
        try:
            connection = h11.Connection(h11.CLIENT)
            headers = [("Host", url.netloc.rpartition("@")[2]), ("X-Iroh-NodeId", node_id)]
            headers += [("Content-Length", "0"), ("Connection", "close")]
            if self.bearer_token is not None:
                headers.append(("Authorization", f"Bearer {self.bearer_token}"))
            target = (url.path or "/") + (f"?{url.query}" if url.query else "")
            writer.write(connection.send(h11.Request(method="POST", target=target, headers=headers)) or b"")
            writer.write(connection.send(h11.EndOfMessage()) or b"")
            return await _is_yes(connection, reader)
        finally:
            writer.close()


async def _is_yes(connection: h11.Connection, reader: asyncio.StreamReader) -> bool:
    status, body = 0, b""
    while len(body) <= MAX_ANSWER:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(MAX_ANSWER))
        elif isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += event.data
        elif not isinstance(event, h11.InformationalResponse):
            break
    return status == 200 and body == b"true"
