"""Small servers that stand before a right one, or in its place: another certificate, another greeting."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import Future

from harness.closing import Closing
from harness.hosts import Host

from .certificates import Issued

__all__ = ["Conversation", "Listener", "cuts_after", "passes_on", "says"]

Conversation = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
CHUNK = 65536


class Listener(Closing):
    """A TCP server on a machine, from construction to `close`, in a thread of this process."""

    def __init__(
        self, host: Host, address: tuple[str, int], talk: Conversation, certificate: Issued | None = None
    ) -> None:
        """`certificate`: it speaks TLS from the first byte."""
        self._talk = talk
        self._tls = _server_context(certificate) if certificate else None
        self._socket = host.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind(address)
        started: Future[None] = Future()
        self._thread = threading.Thread(target=self._live, args=(started,), name="front", daemon=True)
        self._thread.start()
        started.result()

    def close(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()

    def _live(self, started: Future[None]) -> None:
        asyncio.run(self._serve(started))

    async def _serve(self, started: Future[None]) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        self._loop.set_exception_handler(lambda _loop, _context: None)  # clients that leave, and no more
        server = await asyncio.start_server(self._connection, sock=self._socket, ssl=self._tls)
        started.set_result(None)
        await self._stopping.wait()
        server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, EOFError, ssl.SSLError, asyncio.CancelledError):
            await self._talk(reader, writer)
        writer.close()


def says(greeting: str, answers: Mapping[str, str] | None = None) -> Conversation:
    """Greets with one line and ends, or answers lines: `answers` has formats of the first word, by pattern."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"{greeting}\r\n".encode())
        await writer.drain()
        if answers is None:
            return
        while line := (await reader.readline()).decode(errors="replace").rstrip():
            first = line.partition(" ")[0]
            fitting = (text for pattern, text in answers.items() if re.search(pattern, line, re.IGNORECASE))
            writer.write(next(fitting, "{0} BAD unknown\r\n").format(first).encode())
            await writer.drain()

    return talk


def passes_on(host: Host, upstream: tuple[str, int], *, tls: bool = False) -> Conversation:
    """Passes every byte on to another server, over a TLS connection of its own with `tls`."""
    return cuts_after(None, host, upstream, tls=tls)


def cuts_after(most: int | None, host: Host, upstream: tuple[str, int], *, tls: bool = False) -> Conversation:
    """Passes on what clients send until it is more than `most` bytes, and what comes back."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = host.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, upstream)
        context = _anybody() if tls else None
        name = upstream[0] if tls else None
        back, forth = await asyncio.open_connection(sock=connection, ssl=context, server_hostname=name)
        copies = [
            asyncio.ensure_future(_copy(reader, forth, most)),
            asyncio.ensure_future(_copy(back, writer)),
        ]
        try:
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for copy in copies:
                copy.cancel()
            await asyncio.gather(*copies, return_exceptions=True)
            forth.close()

    return talk


async def _copy(source: asyncio.StreamReader, to: asyncio.StreamWriter, most: int | None = None) -> None:
    passed = 0
    while data := await source.read(CHUNK):
        passed += len(data)
        if most is not None and passed > most:
            return
        to.write(data)
        await to.drain()


def _server_context(certificate: Issued) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)
    return context


def _anybody() -> ssl.SSLContext:
    """The server behind is our own, on the same machine."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
