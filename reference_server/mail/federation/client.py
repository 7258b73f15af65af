"""A connection to another server, on which a conversation is held: sockets, TLS and deadlines."""

from __future__ import annotations

import asyncio
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..settings import Limits, OutgoingTls
from .conversation import Answer, Answers, Conversation, Envelope, Fate, HostFailed, Say, converse
from .replies import NotSmtp, Reply, ReplyReader
from .routes import Route

__all__ = ["Client", "TlsFailed"]

READ = 65536
PIECE = 1 << 18
"""Bytes of a message that are handed to the socket at once."""


class TlsFailed(HostFailed):
    """A server that offers TLS, and does not come to terms with us."""


class _Lost(Exception):
    """The connection ended, or the server did not answer in time."""


@dataclass(frozen=True)
class Client:
    """Hands mail to other servers."""

    own_name: str
    own_address: str
    """The one that the others see, where it is of the same family: mail of `user@[ADDRESS]` comes from nowhere else."""
    port: int
    limits: Limits
    authorities: tuple[Path, ...]
    """Files of CAs that are believed besides the system's."""

    async def deliver(self, routes: Sequence[Route], envelope: Envelope, tls: OutgoingTls) -> Answers:
        """Try one host after the other, each address of it, until one says something about the mail.

        Where none does, everybody gets it later, and the last reason is the answer.
        """
        reason = "there is no host to ask"
        for route in routes:
            for address in route.addresses:
                try:
                    return await self._at(route.host, address, envelope, tls)
                except HostFailed as error:
                    reason = f"{route.host} ({address}) {error}"
        return dict.fromkeys(envelope.recipients, Answer(Fate.LATER, reason))

    async def _at(self, host: str, address: str, envelope: Envelope, tls: OutgoingTls) -> Answers:
        try:
            return await self._hold(host, address, envelope, tls)
        except TlsFailed:
            if tls.is_required:
                raise
            return await self._hold(host, address, envelope, OutgoingTls.NEVER)

    async def _hold(self, host: str, address: str, envelope: Envelope, tls: OutgoingTls) -> Answers:
        try:
            async with asyncio.timeout(self.limits.peer_connect):
                reader, writer = await asyncio.open_connection(
                    address, self.port, local_addr=self._source_for(address)
                )
        except (OSError, TimeoutError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else "no answer"
            raise HostFailed(f"is not reached at port {self.port}: {reason}") from error
        connection = _Connection(reader, writer, self.limits)
        try:
            return await connection.hold(
                converse(envelope, self.own_name, tls), envelope, self.context(tls), host
            )
        finally:
            writer.transport.abort()

    def _source_for(self, address: str) -> tuple[str, int] | None:
        own = ipaddress.ip_address(self.own_address)
        same_family = own.version == ipaddress.ip_address(address).version
        return (self.own_address, 0) if same_family and not own.is_unspecified else None

    def context(self, tls: OutgoingTls) -> ssl.SSLContext:
        """Of a connection under this rule."""
        context = ssl.create_default_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if tls is not OutgoingTls.VERIFY:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        for file in self.authorities:
            context.load_verify_locations(file)
        return context


class _Connection:
    """One conversation on one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, limits: Limits) -> None:
        self._reader, self._writer, self._limits = reader, writer, limits
        self._replies = ReplyReader()
        self._waiting: list[Reply] = []

    async def hold(
        self, conversation: Conversation, envelope: Envelope, context: ssl.SSLContext, host: str
    ) -> Answers:
        replies: Sequence[Reply] = ()
        step = next(conversation)
        said = b""
        while True:
            try:
                if isinstance(step, Say):
                    said = step.data[:4]
                    replies = await self._say(step)
                else:
                    await self._start_tls(context, host)
                    replies = ()
                step = conversation.send(replies)
            except StopIteration as end:
                answers: Answers = end.value
                return answers
            except (_Lost, NotSmtp) as error:
                if said == b"QUIT":  # everything is said already
                    return _without_last_word(conversation, error)
                if isinstance(step, Say) and step.is_message:  # nobody knows whether it was taken (RFC 1047)
                    return dict.fromkeys(envelope.recipients, Answer(Fate.LATER, f"{host} {error}"))
                raise HostFailed(str(error)) from error

    async def _say(self, step: Say) -> Sequence[Reply]:
        within = self._limits.peer_message_end if step.is_message else self._limits.peer_reply
        try:
            for start in range(0, len(step.data), PIECE):
                self._writer.write(step.data[start : start + PIECE])
                async with asyncio.timeout(self._limits.peer_reply):
                    await self._writer.drain()
            async with asyncio.timeout(within):
                while len(self._waiting) < step.replies:
                    data = await self._reader.read(READ)
                    if not data:
                        raise _Lost("closed the connection")
                    self._waiting += self._replies.feed(data)
        except TimeoutError:
            raise _Lost("does not answer in time") from None
        except OSError as error:
            raise _Lost(f"cut the connection ({error.strerror or 'it is lost'})") from error
        replies, self._waiting = self._waiting[: step.replies], self._waiting[step.replies :]
        return replies

    async def _start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """What came before TLS and is not read yet is forgotten: somebody in between may have said it."""
        self._waiting, self._replies = [], ReplyReader()
        try:
            await self._writer.start_tls(
                context, server_hostname=host, ssl_handshake_timeout=self._limits.tls_handshake
            )
        except ssl.SSLCertVerificationError as error:
            raise TlsFailed(f"has a certificate that is not trusted: {error.verify_message}") from error
        except (OSError, TimeoutError) as error:
            raise TlsFailed("does not come to terms about TLS") from error


def _without_last_word(conversation: Conversation, error: Exception) -> Answers:
    try:
        conversation.send([])
    except StopIteration as end:
        answers: Answers = end.value
        return answers
    raise AssertionError("nothing is said after QUIT") from error
