"""A name server on a host: UDP and TCP port 53 (RFC 1035, 4.2). What it says is up to `Names`."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import cast

from ..closing import Closing
from ..hosts import Host
from .names import Answer, Forward, Names, Refusal

__all__ = ["NameServer"]

PORT = 53
MOST_LATE = 1000
"""Answers that are held back at once; beyond, there is silence."""
MOST_CONNECTIONS = 50
IDLE = 10.0
"""Seconds in which a TCP connection must bring a query."""
LENGTH = 2
"""Octets before each message over TCP (RFC 1035, 4.2.2)."""


class NameServer(Closing):
    """It answers from construction to `close`, in a thread of this process."""

    def __init__(
        self, host: Host, addresses: Sequence[str], names: Names, outside: Host | None = None
    ) -> None:
        """`outside`: looks up the names that are not in `names`.

        Raises `OSError` where port 53 of one of these addresses of the host cannot be had.
        """
        self.names = names
        self._outside = outside
        self._forwarded: set[asyncio.Task[None]] = set()
        self._late = 0
        self._connections: set[asyncio.Task[None]] = set()
        self._datagrams: list[socket.socket] = []
        self._listeners: list[socket.socket] = []
        with contextlib.ExitStack() as undo:
            for address in addresses:
                family = socket.AF_INET6 if ":" in address else socket.AF_INET
                for kind, sockets in (
                    (socket.SOCK_DGRAM, self._datagrams),
                    (socket.SOCK_STREAM, self._listeners),
                ):
                    each = undo.enter_context(host.socket(family, kind))
                    each.bind((address, PORT))
                    sockets.append(each)
            undo.pop_all()  # asyncio closes them
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._live, args=(started,), name="lab names", daemon=True)
        self._thread.start()
        started.result()

    def close(self) -> None:
        """A second call does nothing."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    def _live(self, started: Future[None]) -> None:
        try:
            asyncio.run(self._serve(started))
        except BaseException as error:
            if started.done():
                raise
            for each in (*self._datagrams, *self._listeners):
                each.close()
            started.set_exception(error)

    async def _serve(self, started: Future[None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        transports = []
        for each in self._datagrams:
            transport, _ = await self._loop.create_datagram_endpoint(lambda: _Datagrams(self), sock=each)
            transports.append(transport)
        servers = [await asyncio.start_server(self._connection, sock=each) for each in self._listeners]
        started.set_result(None)
        await self._stopping.wait()
        for server in servers:
            server.close()
        for transport in transports:
            transport.close()
        await asyncio.sleep(0)  # what was accepted a moment ago has begun now, and can be ended
        ending = (*self._connections, *self._forwarded)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)

    def datagram(self, transport: asyncio.DatagramTransport, data: bytes, asker: tuple[str, int]) -> None:
        """A query came over UDP."""
        answer = self.names.answer(data, asker[0], udp=True, outside=self._outside is not None)
        if answer is None:
            return
        if isinstance(answer, Forward):
            if len(self._forwarded) < MOST_LATE:
                task = self._loop.create_task(self._forward_datagram(transport, answer, asker))
                self._forwarded.add(task)
                task.add_done_callback(self._forwarded.discard)
        elif not answer.after:
            transport.sendto(answer.wire, asker)
        elif self._late < MOST_LATE:
            self._late += 1
            self._loop.call_later(answer.after, self._send_late, transport, answer.wire, asker)

    async def _forward_datagram(
        self, transport: asyncio.DatagramTransport, question: Forward, asker: tuple[str, int]
    ) -> None:
        answer = await self._forward(question)
        if not transport.is_closing():
            transport.sendto(answer.wire, asker)

    async def _forward(self, question: Forward) -> Answer:
        assert self._outside is not None
        try:
            return question.answer(await asyncio.to_thread(self._outside.resolve, question.name))
        except socket.gaierror as error:
            none = error.errno in (socket.EAI_NONAME, socket.EAI_NODATA)
            return question.answer(Refusal.NXDOMAIN if none else Refusal.SERVFAIL)

    def _send_late(self, transport: asyncio.DatagramTransport, wire: bytes, asker: tuple[str, int]) -> None:
        self._late -= 1
        if not transport.is_closing():
            transport.sendto(wire, asker)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            if len(self._connections) < MOST_CONNECTIONS:
                self._connections.add(task)
                with contextlib.suppress(OSError, EOFError, TimeoutError, asyncio.CancelledError):
                    await self._queries(reader, writer)  # cancelled is how `close` ends it
        finally:
            self._connections.discard(task)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _queries(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asker = writer.get_extra_info("peername")[0]
        while True:
            async with asyncio.timeout(IDLE):
                length = int.from_bytes(await reader.readexactly(LENGTH), "big")
                query = await reader.readexactly(length)
            answer = self.names.answer(query, asker, udp=False, outside=self._outside is not None)
            if answer is None:
                continue
            if isinstance(answer, Forward):
                answer = await self._forward(answer)
            await asyncio.sleep(answer.after)
            writer.write(len(answer.wire).to_bytes(LENGTH, "big") + answer.wire)
            async with asyncio.timeout(IDLE):
                await writer.drain()


class _Datagrams(asyncio.DatagramProtocol):
    def __init__(self, server: NameServer) -> None:
        self._server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._server.datagram(self._transport, data, addr)
