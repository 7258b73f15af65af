"""Accepts TCP connections within limits, with or without TLS, and hands them to protocols."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from typing import Protocol, cast

from reference_server.addresses import without_mapping
from reference_server.ledger import ConnectionRecord, Ledger

from .settings import Limits

__all__ = ["TLS_SHUTDOWN", "Admission", "Connection", "Listener"]

BACKLOG = 128
ACCEPT_PAUSE = 1.0
"""Seconds without accepting when the process is out of file descriptors; as asyncio does."""
TLS_SHUTDOWN = 2.0
"""Seconds that a client has to answer the end of TLS."""

log = logging.getLogger(__name__)


class Connection(Protocol):
    """An `asyncio.Protocol` that says when it is over."""

    async def wait_closed(self) -> None:
        """Return after `connection_lost`."""


class Admission:
    """Counts the connections of a service, all and per source address, from accept to close."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._sources: Counter[str] = Counter()

    def enter(self, source: str) -> bool:
        if (
            self._sources.total() >= self._limits.connections
            or self._sources[source] >= self._limits.connections_per_source
        ):
            return False
        self._sources[source] += 1
        return True

    def leave(self, source: str) -> None:
        self._sources[source] -= 1
        if not self._sources[source]:
            del self._sources[source]


class Listener:
    """One port. `tls` is for TLS from the first byte on; a protocol that starts it later does that itself.

    The bytes that protocols count on their `ConnectionRecord` are those inside TLS.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[ConnectionRecord], Connection],
        *,
        tls: ssl.SSLContext | None,
        admission: Admission,
        limits: Limits,
        ledger: Ledger,
    ) -> None:
        self._name = name
        self._make = make
        self._tls = tls
        self._admission = admission
        self._limits = limits
        self._ledger = ledger
        self._accepting: asyncio.Task[None] | None = None
        self._connections: set[asyncio.Task[None]] = set()

    def open(self, host: str, port: int) -> int:
        """Bind, begin to accept, and return the port. Raises `OSError` that names the address."""
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.setblocking(False)
            listening.bind((host, port))
            listening.listen(BACKLOG)
        except OSError as error:
            listening.close()
            raise OSError(error.errno, f"{error.strerror} ({self._name}, {host} port {port})") from error
        self._accepting = asyncio.create_task(self._accept(listening))
        return cast(int, listening.getsockname()[1])

    async def close(self) -> None:
        """Stop accepting, cut every connection, and return when none is left."""
        tasks = [task for task in (self._accepting, *self._connections) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with listening:
            while True:
                try:
                    sock, address = await loop.sock_accept(listening)
                except OSError as error:
                    log.warning("%s: cannot accept: %s", self._name, error)
                    await asyncio.sleep(ACCEPT_PAUSE)
                    continue
                source = without_mapping(address[0])
                if self._admission.enter(source):
                    task = asyncio.create_task(self._serve(sock, source, address[1]))
                    self._connections.add(task)
                    task.add_done_callback(self._connections.discard)
                else:
                    about = {"source": source}
                    log.warning("%s: too many connections, one is turned away", self._name, extra=about)
                    sock.close()

    async def _serve(self, sock: socket.socket, source: str, port: int) -> None:
        record = self._ledger.connection(self._name, f"{source}:{port}")
        try:
            await self._run_connection(sock, record)
        except (OSError, TimeoutError):
            log.info("%s: no TLS with a client", self._name, extra={"source": source})
        except Exception:
            log.exception("%s: a connection failed", self._name, extra={"source": source})
        finally:
            self._admission.leave(source)
            self._ledger.closed(record)

    async def _run_connection(self, sock: socket.socket, record: ConnectionRecord) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = self._make(record)
        timeouts = (
            {"ssl_handshake_timeout": self._limits.tls_handshake, "ssl_shutdown_timeout": TLS_SHUTDOWN}
            if self._tls
            else {}
        )
        transport, _ = await asyncio.get_running_loop().connect_accepted_socket(
            lambda: cast(asyncio.Protocol, connection), sock, ssl=self._tls, **timeouts
        )
        try:
            await connection.wait_closed()
        finally:
            transport.abort()
            await connection.wait_closed()
