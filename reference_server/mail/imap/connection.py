"""IMAP over asyncio: carries bytes between a socket and an `ImapSession`, and asks the store what that asks."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from reference_server.ledger import ConnectionRecord, Ledger
from reference_server.mail.accounts import Accounts
from reference_server.mail.delivery import Notifier
from reference_server.mail.listener import TLS_SHUTDOWN
from reference_server.mail.mailbox import Refused
from reference_server.mail.offers import Offers
from reference_server.mail.rates import MemoryBudget
from reference_server.mail.settings import MailSettings
from reference_server.mail.store import Account
from reference_server.mail.store_thread import StoreThread, StoreUnavailable

from .backend import Backend
from .context import Profile
from .events import Event, FindMailbox, GetMetadata, LogIn, ReserveMemory, StartTls
from .session import ImapSession

__all__ = ["ImapConnection", "ImapServices"]

PIECE = 1 << 18
"""Bytes that are handed to the system at once."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImapServices:
    """State that all IMAP connections of a server share."""

    settings: MailSettings
    tls: ssl.SSLContext
    accounts: Accounts
    store: StoreThread
    notifier: Notifier
    ledger: Ledger
    profile: Profile
    memory: MemoryBudget
    turn_secret: str | None = field(repr=False)
    offers: Offers


class ImapConnection(asyncio.Protocol):
    """One client. Its task answers events in order and is the only one that changes the session's answers."""

    def __init__(self, services: ImapServices, record: ConnectionRecord, *, tls: bool) -> None:
        self._services = services
        self._record = record
        self._source = record.remote.rpartition(":")[0]
        self._tls = tls
        self._clock: Callable[[], float] = asyncio.get_running_loop().time
        self._account: Account | None = None
        self._watched: int | None = None
        self._reserved = 0
        self._something_happened = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._closed = asyncio.Event()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._session = ImapSession(self._services.profile, tls=self._tls, now=self._clock())
        self._task = asyncio.create_task(self._run())

    def data_received(self, data: bytes) -> None:
        self._record.bytes_in += len(data)
        self._session.receive_data(data, self._clock())
        if not self._session.wants_data:
            self._transport.pause_reading()
        self._something_happened.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._task.cancel()
        if self._watched is not None:
            self._services.notifier.unsubscribe(self._watched, self._mailbox_changed)
        self._reserve(0)
        self._closed.set()

    async def wait_closed(self) -> None:
        await self._closed.wait()

    # The task

    async def _run(self) -> None:
        try:
            await self._talk()
            self._transport.close()
            async with asyncio.timeout(self._services.settings.limits.stalled_write):
                await self._closed.wait()
        except (OSError, TimeoutError):
            # TLS failed, or nobody reads what was sent.
            log.info("IMAP: a client is gone", extra={"source": self._source})
            self._end()
        except Exception:
            log.exception("IMAP: a session failed", extra={"source": self._source})
            self._end()

    async def _talk(self) -> None:
        while True:
            event = self._session.next_event(self._clock())
            if event is not None:
                await self._answer(event)
            await self._send()
            if self._session.closed:
                return
            if self._session.busy or event is not None:
                await asyncio.sleep(0)  # a client that pipelines takes turns with the others
            else:
                await self._wait()

    def _end(self) -> None:
        """Also when TLS never came up: then nobody would call `connection_lost`."""
        self._transport.abort()
        self._closed.set()

    def _write(self, data: bytes | memoryview) -> None:
        self._record.bytes_out += len(data)
        self._transport.write(data)

    async def _send(self) -> None:
        """In pieces: TLS keeps the memory of the largest one for as long as the connection lives."""
        data = memoryview(self._session.data_to_send())
        for start in range(0, len(data), PIECE):
            self._write(data[start : start + PIECE])
            async with asyncio.timeout(self._services.settings.limits.stalled_write):
                await self._writable.wait()

    async def _wait(self) -> None:
        """For bytes, a change of the mailbox or the session's deadline."""
        if self._session.wants_data:
            self._transport.resume_reading()
        try:
            async with asyncio.timeout_at(self._session.next_deadline()):
                await self._something_happened.wait()
        except TimeoutError:
            self._session.tick(self._clock())
        self._something_happened.clear()

    def _mailbox_changed(self) -> None:
        self._session.mailbox_changed()
        self._something_happened.set()

    # Events

    async def _answer(self, event: Event[Any]) -> None:
        try:
            match event:
                case StartTls():
                    await self._start_tls()
                    self._session.answer(None)
                case LogIn():
                    self._session.answer(await self._log_in(event))
                case ReserveMemory():
                    self._session.answer(self._reserve(event.size))
                case _:
                    self._session.answer(await self._perform(event))
        except StoreUnavailable:
            self._session.refuse(Refused("UNAVAILABLE", "The store does not answer, try again later"))
        except Refused as reason:
            self._session.refuse(reason)

    async def _start_tls(self) -> None:
        """Nothing may run between the session's STARTTLS and `start_tls`, which takes over the socket at once:
        what is received from then on is TLS or an error, never a command in plain text."""
        self._write(self._session.data_to_send())
        transport = await asyncio.get_running_loop().start_tls(
            self._transport,
            self,
            self._services.tls,
            server_side=True,
            ssl_handshake_timeout=self._services.settings.limits.tls_handshake,
            ssl_shutdown_timeout=TLS_SHUTDOWN,
        )
        assert transport is not None
        self._transport = transport

    async def _log_in(self, event: LogIn) -> bool:
        account = await self._services.accounts.log_in(
            event.user, event.password, protocol="imap", source=self._source
        )
        if account is None:
            return False
        self._account = account
        self._record.identity = account.address
        return True

    async def _perform(self, event: Event[Any]) -> Any:
        services, account = self._services, self._account
        if isinstance(event, GetMetadata):
            services.ledger.event("metadata_read", user=self._record.identity, keys=list(event.keys))
        settings = services.offers.within(services.settings)
        quota = services.accounts.quota_of(account.address) if account else None
        answer = await services.store.run(
            lambda store: Backend(store, account, settings, services.turn_secret, quota).perform(event)
        )
        if isinstance(event, FindMailbox) and event.watch:
            self._watch(answer.value)
        services.notifier.publish(answer.changed)
        return answer.value

    def _watch(self, mailbox: int) -> None:
        """Before it is read, so that no message falls in between."""
        notifier = self._services.notifier
        if self._watched is not None:
            notifier.unsubscribe(self._watched, self._mailbox_changed)
        self._watched = mailbox
        notifier.subscribe(mailbox, self._mailbox_changed)

    def _reserve(self, size: int) -> bool:
        """0 gives everything back."""
        memory = self._services.memory
        if size and not memory.take(size):
            return False
        if not size:
            memory.give_back(self._reserved)
            self._reserved = 0
        self._reserved += size
        return True
