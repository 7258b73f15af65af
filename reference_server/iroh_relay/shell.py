"""The part that owns time and sockets: does what the hub asks for, for all connections of one relay."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable

from ..ledger import Ledger
from .access import Access
from .actions import Action, AskAccess, Close, PauseReading, ResumeReading, Write
from .client import Client
from .connection import Connection
from .http import Transport
from .hub import Hub
from .limits import RelayLimits

__all__ = ["Shell"]

READ_BUFFER = 512 * 1024
"""Bytes that one read may bring. Larger reads mean longer runs, hence fewer writes; the longest frame is 64 kB."""


class Shell:
    """Made inside a running event loop."""

    def __init__(self, hub: Hub, access: Access, limits: RelayLimits, ledger: Ledger) -> None:
        self.hub = hub
        self.limits = limits
        self.ledger = ledger
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time
        self.buffer = bytearray(READ_BUFFER)
        self.view = memoryview(self.buffer)
        self._access = access
        self._connections: set[Connection] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._of_client: dict[Client, Connection] = {}
        self._per_address: Counter[str] = Counter()
        self._asking: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def accept(self, connection: Connection) -> bool:
        """Whether there is room for one more."""
        self._connections.add(connection)
        self._empty.clear()
        self._per_address[connection.address] += 1
        return (
            len(self._connections) <= self.limits.max_connections
            and self._per_address[connection.address] <= self.limits.max_connections_per_address
        )

    def lost(self, connection: Connection, reason: str) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()
        self._per_address[connection.address] -= 1
        if not self._per_address[connection.address]:
            del self._per_address[connection.address]
        self.ledger.closed(connection.record)
        if connection.client is not None:
            self._of_client.pop(connection.client, None)
            self.perform(self.hub.disconnected(connection.client, reason))

    def upgraded(self, connection: Connection, transport: Transport) -> Client:
        if transport is Transport.WEBSOCKET:
            self.hub.counters.websocket_accepts += 1
        else:
            self.hub.counters.relay_accepts += 1
        client = self.hub.connect(connection.record, self.now())
        self._of_client[client] = connection
        self._set_timer()
        return client

    def blocked(self, client: Client, unsent: int) -> None:
        self.hub.blocked(client, unsent, self.now())
        self._set_timer()

    def drain(self, connection: Connection) -> None:
        """Write what is queued, until the socket is full again."""
        assert connection.client is not None
        while not connection.unsent() and (data := self.hub.drain(connection.client)):
            connection.write(data)

    def perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            connection = self._of_client.get(action.client)
            if connection is None:
                continue  # it was lost in the meantime
            match action:
                case Write(_, data):
                    connection.write(data)
                case AskAccess(client):
                    connection.transport.pause_reading()
                    task = self.loop.create_task(self._ask(client))
                    self._asking.add(task)
                    task.add_done_callback(self._asking.discard)
                case PauseReading():
                    connection.transport.pause_reading()
                case ResumeReading():
                    connection.resume()
                case Close(_, flush):
                    connection.close() if flush else connection.abort()
        self._set_timer()

    async def close(self) -> None:
        """End every connection at once, and wait until they are gone."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._asking:
            task.cancel()
        for connection in tuple(self._connections):
            connection.abort()
        await self._empty.wait()

    async def _ask(self, client: Client) -> None:
        allowed = await self._access.allows(client.key)
        self.perform(self.hub.decide(client, allowed, self.now()))

    def _set_timer(self) -> None:
        deadline = self.hub.next_deadline()
        if self._timer is not None:
            if self._timer.when() == deadline:
                return
            self._timer.cancel()
        self._timer = None if deadline is None else self.loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self.perform(self.hub.expire(self.now(), lambda client: self._of_client[client].unsent()))
