"""From an accepted message to mailboxes, and the news of it to those who wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from .outgoing import OutgoingMail
from .store import Account, NewMessage
from .store_thread import StoreThread

__all__ = ["Delivery", "DurableDelivery", "Notifier"]

MAX_BATCH = 64


class Notifier:
    """Tells the sessions of a mailbox that it changed. What changed they ask the store."""

    def __init__(self) -> None:
        self._listeners: dict[int, set[Callable[[], None]]] = {}

    def subscribe(self, mailbox: int, listener: Callable[[], None]) -> None:
        self._listeners.setdefault(mailbox, set()).add(listener)

    def unsubscribe(self, mailbox: int, listener: Callable[[], None]) -> None:
        listeners = self._listeners.get(mailbox, set())
        listeners.discard(listener)
        if not listeners:
            self._listeners.pop(mailbox, None)

    def publish(self, mailboxes: Iterable[int]) -> None:
        for mailbox in mailboxes:
            for listener in tuple(self._listeners.get(mailbox, ())):
                listener()


class Delivery(Protocol):
    """Takes responsibility for messages: what `deliver` returns from is answered with 250."""

    async def deliver(
        self,
        accounts: Sequence[Account],
        content: bytes,
        *,
        outgoing: OutgoingMail | None = None,
        digest: bytes | None = None,
    ) -> None:
        """Put it into the inbox of each, and into the queue for those elsewhere; of mail with a `digest` that came
        before, see `NewMessage`. Raises `StoreUnavailable` when it is not in all of them."""

    async def close(self) -> None:
        """Wait for what was begun."""


class DurableDelivery:
    """Returns when the message is on the disk in every mailbox.

    Messages that come while the disk is busy share the next commit.
    """

    def __init__(self, store: StoreThread, notifier: Notifier) -> None:
        self._store = store
        self._notifier = notifier
        self._waiting: list[tuple[NewMessage, asyncio.Future[None]]] = []
        self._writer: asyncio.Task[None] | None = None

    async def deliver(
        self,
        accounts: Sequence[Account],
        content: bytes,
        *,
        outgoing: OutgoingMail | None = None,
        digest: bytes | None = None,
    ) -> None:
        inboxes = dict.fromkeys(account.inbox for account in accounts)
        message = NewMessage(tuple(inboxes), content, int(time.time()), digest, outgoing)
        stored: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((message, stored))
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write())
        await stored

    async def close(self) -> None:
        if self._writer is not None:
            await self._writer

    async def _write(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            messages = [message for message, _stored in batch]
            try:
                await self._deliver(messages)
            except Exception as error:
                _settle(batch, error)
            else:
                _settle(batch, None)
                self._notifier.publish({box for message in messages for box in message.mailboxes})

    async def _deliver(self, messages: Sequence[NewMessage]) -> None:
        await self._store.run(lambda store: store.deliver(messages))


def _settle(batch: Sequence[tuple[NewMessage, asyncio.Future[None]]], error: Exception | None) -> None:
    for _message, stored in batch:
        if stored.done():  # the connection ended while it waited
            continue
        if error is None:
            stored.set_result(None)
        else:
            stored.set_exception(error)
