"""The part that owns time and sockets: does what the hub asks for, for all connections of one relay."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Protocol

from ..ledger import ConnectionRecord, Ledger
from .access import Access
from .actions import Action, AskAccess, Close, PauseReading, ResumeReading, Write
from .client import Client
from .http.http1 import Transport
from .hub import Hub
from .limits import RelayLimits

__all__ = ["Shell"]

VERSIONS = {Transport.V1: 1, Transport.V2: 2}
READ_BUFFER = 512 * 1024
"""Bytes that one read may bring. Larger reads mean longer runs, hence fewer writes; the longest frame is 64 kB."""
SEALED_BUFFER = READ_BUFFER // 2
"""The same inside of TLS: what its records hold fits behind an incomplete frame."""


class Connection(Protocol):
    """One accepted TCP connection, as far as the shell has to do with it."""

    hub: Hub
    """The hub of the client, once there is one."""
    client: Client | None
    token: str | None
    """The token that the client sent to be let in, a secret."""
    address: str
    record: ConnectionRecord
    transport: asyncio.Transport

    def write(self, data: bytes) -> None:
        """Send frames, translated where the client speaks WebSocket."""

    def unsent(self) -> int:
        """Bytes that wait in front of the socket."""

    def resume(self) -> None:
        """Take what was held back, and read on unless that was too much again."""

    def close(self) -> None:
        """End after what was written has gone out, at the latest when a write would time out."""

    def abort(self) -> None:
        """End at once."""


class Shell:
    """Made inside a running event loop."""

    def __init__(
        self, hubs: Mapping[Transport, Hub], access: Access, limits: RelayLimits, ledger: Ledger
    ) -> None:
        """`hubs`: who has the clients of each transport."""
        self._hub_of = hubs
        self._hubs = tuple(dict.fromkeys(hubs.values()))
        self.limits = limits
        self.ledger = ledger
        self.loop = asyncio.get_running_loop()
        self.now = self.loop.time
        self.buffer = bytearray(READ_BUFFER)
        self.view = memoryview(self.buffer)
        self.sealed = memoryview(bytearray(SEALED_BUFFER))
        self._access = access
        self._connections: set[Connection] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._of_client: dict[Client, Connection] = {}
        self._per_address: Counter[str] = Counter()
        self._asking: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf

    def accept(self, connection: Connection) -> bool:
        """Count one more connection; False when there is no room for it."""
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
            self.perform(connection.hub.disconnected(connection.client, reason))

    def upgraded(self, connection: Connection, transport: Transport) -> None:
        """The connection has left HTTP: make it a client."""
        hub = connection.hub = self._hub_of[transport]
        if transport is Transport.DERP:
            hub.counters.relay_accepts += 1
        else:
            hub.counters.websocket_accepts += 1
        client, actions = hub.connect(connection.record, self.now(), VERSIONS.get(transport, 0))
        connection.client = client
        self._of_client[client] = connection
        self.perform(actions)

    def blocked(self, connection: Connection) -> None:
        """The connection's socket takes no more for now."""
        assert connection.client is not None
        connection.hub.blocked(connection.client, connection.unsent(), self.now())
        self._set_timer()

    def drain(self, connection: Connection) -> None:
        """Write what is queued, until the socket is full again."""
        assert connection.client is not None
        while not connection.unsent() and (data := connection.hub.drain(connection.client)):
            connection.write(data)

    def write(self, client: Client, data: bytes) -> None:
        """Send frames to a client, unless it was lost in the meantime."""
        connection = self._of_client.get(client)
        if connection is not None:
            connection.write(data)

    def perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            connection = self._of_client.get(action.client)
            if connection is None:
                continue  # it was lost in the meantime
            if isinstance(action, Write):  # nearly all of them
                connection.write(action.data)
                continue
            match action:
                case AskAccess(client):
                    connection.transport.pause_reading()
                    task = self.loop.create_task(self._ask(connection, client))
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

    async def _ask(self, connection: Connection, client: Client) -> None:
        allowed = await self._access.allows(client.key, connection.token)
        self.perform(connection.hub.decide(client, allowed, self.now()))

    def _set_timer(self) -> None:
        deadline = min([hub.next_deadline() for hub in self._hubs])
        if deadline == self._due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = deadline
        self._timer = None if deadline == math.inf else self.loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        self._timer, self._due = None, math.inf
        for hub in self._hubs:
            self.perform(hub.expire(self.now(), lambda client: self._of_client[client].unsent()))
