"""IMAP over asyncio: carries bytes between a socket and an `ImapSession`, and asks the store what that asks."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from reference_server.ledger import ConnectionRecord, Ledger
from reference_server.mail.accounts import Accounts
from reference_server.mail.delivery import Notifier
from reference_server.mail.listener import TLS_SHUTDOWN
from reference_server.mail.mailbox import Part
from reference_server.mail.settings import MailSettings
from reference_server.mail.store import Account, Store, StoreThread, StoreUnavailable

from .events import (
    ChangeFlags,
    Event,
    Expunge,
    FetchMessages,
    GetMetadata,
    GetQuota,
    GetStatus,
    LogIn,
    OpenMailbox,
    Refresh,
    StartTls,
)
from .metadata import server_metadata
from .session import ImapSession
from .states import AllowedCommands

__all__ = ["ImapConnection", "ImapServices"]

FETCH_BATCH = 100
"""Messages that are read at once when only their headers are wanted; with their text it is one."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImapServices:
    """What all IMAP connections of a server share."""

    settings: MailSettings
    tls: ssl.SSLContext
    accounts: Accounts
    store: StoreThread
    notifier: Notifier
    ledger: Ledger
    allowed_commands: AllowedCommands


class ImapConnection(asyncio.Protocol):
    """One client. Its task answers events in order and is the only one that changes the session's answers."""

    def __init__(self, services: ImapServices, record: ConnectionRecord, *, tls: bool) -> None:
        self._services = services
        self._record = record
        self._tls = tls
        self._clock: Callable[[], float] = asyncio.get_running_loop().time
        self._account: Account | None = None
        self._watched: int | None = None
        self._something_happened = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._closed = asyncio.Event()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        services = self._services
        self._session = ImapSession(
            tls=self._tls,
            dialect=services.settings.dialect,
            limits=services.settings.limits,
            now=self._clock(),
            allowed=services.allowed_commands,
        )
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
            log.info("%s: gone", self._record.remote)  # TLS failed, or nobody reads what was sent
            self._end()
        except Exception:
            log.exception("%s: IMAP session failed", self._record.remote)
            self._end()

    async def _talk(self) -> None:
        while True:
            event = self._session.next_event(self._clock())
            if event is not None:
                await self._answer(event)
            await self._send()
            if self._session.closed:
                return
            if event is None:
                await self._wait()

    def _end(self) -> None:
        """Also when TLS never came up: then nobody would call `connection_lost`."""
        self._transport.abort()
        self._closed.set()

    def _flush(self) -> None:
        if data := self._session.data_to_send():
            self._record.bytes_out += len(data)
            self._transport.write(data)

    async def _send(self) -> None:
        self._flush()
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

    async def _answer(self, event: Event) -> None:
        try:
            match event:
                case StartTls():
                    await self._start_tls()
                case LogIn():
                    await self._log_in(event)
                case GetMetadata():
                    self._get_metadata(event)
                case _:
                    await self._ask_store(event)
        except StoreUnavailable:
            self._session.failed()

    async def _start_tls(self) -> None:
        """Nothing may run between the session's STARTTLS and `start_tls`, which takes over the socket at once:
        what is received from then on is TLS or an error, never a command in plain text."""
        self._flush()
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
        self._session.tls_started()

    async def _log_in(self, event: LogIn) -> None:
        account = await self._services.accounts.log_in(event.user, event.password, protocol="imap")
        if account is None:
            self._session.login_refused()
            return
        self._account = account
        self._record.identity = event.user.lower()
        self._session.logged_in()

    def _get_metadata(self, event: GetMetadata) -> None:
        entries = {} if event.mailbox else server_metadata(self._services.settings, event.keys)
        self._services.ledger.event("metadata_read", user=self._record.identity, keys=list(event.keys))
        self._session.metadata(entries)

    async def _ask_store(self, event: Event) -> None:
        session, store, account = self._session, self._services.store, self._account
        assert account is not None  # nothing else is allowed before login
        match event:
            case OpenMailbox():
                self._watch(account)
                session.opened(await store.run(Store.open_mailbox, account.id, event.name))
            case GetStatus():
                session.status(await store.run(Store.status, account.id, event.name))
            case Refresh():
                session.refreshed(await store.run(Store.flags, event.mailbox))
            case FetchMessages():
                await self._fetch(event)
            case ChangeFlags():
                changed = await store.run(
                    Store.change_flags, event.mailbox, event.uids, event.change, event.flags
                )
                session.flags_changed(changed)
                self._publish(event.mailbox)
            case Expunge():
                session.expunged(await store.run(Store.expunge, event.mailbox))
                self._publish(event.mailbox)
            case GetQuota():
                used = await store.run(Store.used_bytes, account.id)
                session.quota(used, self._services.settings.limits.quota)

    def _watch(self, account: Account) -> None:
        """Before the mailbox is read, so that no message falls in between. There is only the inbox."""
        if self._watched is None:
            self._watched = account.inbox
            self._services.notifier.subscribe(account.inbox, self._mailbox_changed)

    def _publish(self, mailbox: int) -> None:
        self._services.notifier.publish([mailbox])

    async def _fetch(self, event: FetchMessages) -> None:
        """In batches, each sent before the next is read: a large mailbox does not have to fit in memory."""
        step = 1 if event.part is Part.ALL else FETCH_BATCH
        for start in range(0, len(event.uids), step):
            messages = await self._services.store.run(
                Store.fetch,
                event.mailbox,
                event.uids[start : start + step],
                event.part,
                mark_seen=event.mark_seen,
            )
            for message in messages:
                self._session.fetched(message)
            await self._send()
        self._session.fetch_done()
        if event.mark_seen:
            self._publish(event.mailbox)
