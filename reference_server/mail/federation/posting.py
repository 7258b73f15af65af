"""Mail that is handed on by `POST /mxdeliv`, as madmail's servers do: one request for each recipient."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import SplitResult

from ..settings import Limits
from .conversation import Answer, Answers, Envelope, Fate

__all__ = ["Poster"]

PORTS = {"https": 443, "http": 80}
NOT_NOW = (404, 405, 408, 425, 429)
"""Statuses of a client's fault that are the server's: it has no exchanger at this URL now, or too much to do."""


@dataclass(frozen=True)
class Poster:
    """Hands mail to whoever is behind a URL."""

    url: SplitResult
    addresses: Sequence[str]
    tls: ssl.SSLContext | None
    limits: Limits

    async def deliver(self, envelope: Envelope) -> Answers:
        """Ask one address after the other until one takes the connection; what it says is the answer."""
        return {each: await self._post(envelope, each) for each in envelope.recipients}

    async def _post(self, envelope: Envelope, recipient: str) -> Answer:
        url, reason = self.url, "has no address"
        for address in self.addresses:
            try:
                async with asyncio.timeout(self.limits.peer_connect):
                    reader, writer = await asyncio.open_connection(
                        address,
                        url.port or PORTS[url.scheme],
                        ssl=self.tls,
                        server_hostname=url.hostname if self.tls else None,
                    )
            except (OSError, TimeoutError) as error:
                reason = _words(error)
                continue
            try:
                async with asyncio.timeout(self.limits.peer_message_end):
                    writer.write(_head(url, envelope, recipient) + envelope.content)
                    await writer.drain()
                    return _answer(url, await reader.readline())
            except (OSError, TimeoutError, ValueError) as error:
                return Answer(Fate.LATER, f"{url.hostname}: {_words(error)}")
            finally:
                writer.transport.abort()
        return Answer(Fate.LATER, f"{url.hostname}: {reason}")


def _head(url: SplitResult, envelope: Envelope, recipient: str) -> bytes:
    lines = (
        f"POST {url.path}{'?' + url.query if url.query else ''} HTTP/1.1",
        f"Host: {url.netloc.rpartition('@')[2]}",
        f"X-Mail-From: {envelope.sender}",
        f"X-Mail-To: {recipient}",
        f"Content-Length: {len(envelope.content)}",
        "Connection: close",
    )
    return "\r\n".join([*lines, "", ""]).encode()


def _answer(url: SplitResult, status_line: bytes) -> Answer:
    version, _, rest = status_line.decode("ascii", "replace").strip().partition(" ")
    status = rest[:3]
    if not version.startswith("HTTP/") or not status.isdecimal():
        return Answer(Fate.LATER, f"{url.hostname}: no answer of HTTP")
    text = f"{url.hostname}: HTTP {status}"
    if status[0] == "2":
        return Answer(Fate.DELIVERED, text)
    never = status[0] == "4" and int(status) not in NOT_NOW
    return Answer(Fate.NEVER if never else Fate.LATER, text)


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    return (isinstance(error, OSError) and error.strerror) or "the connection broke"
