"""Shims at the socket, which stand between clients and a right service and spoil it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import tempfile
import threading
from pathlib import Path

__all__ = ["ProxyWithoutUpgrade", "answer_stun", "tls_as_somebody_else"]

MAX_HEAD = 16 * 1024
HEAD_WITHIN = 30.0
PAGE = b"<html><body>It works!</body></html>\n"
ANSWER = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    % len(PAGE)
) + PAGE


class ProxyWithoutUpgrade:
    """A reverse proxy that was not told to pass on `Upgrade`: such requests get a page, others pass."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        self._upstream = upstream
        self._server: asyncio.Server | None = None

    async def listen(self, host: str, port: int) -> None:
        self._server = await asyncio.start_server(self._serve, host, port, limit=MAX_HEAD)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(HEAD_WITHIN):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(ANSWER if b"\r\nupgrade:" in head.lower() else await self._ask_upstream(head))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client has gone, or sent no HTTP: like any proxy, close
        finally:
            writer.close()

    async def _ask_upstream(self, head: bytes) -> bytes:
        """One request and its whole answer; a request line is all that a probe has."""
        request_line = head.partition(b"\r\n")[0]
        reader, writer = await asyncio.open_connection(*self._upstream)
        try:
            writer.write(request_line + b"\r\nHost: relay\r\nConnection: close\r\n\r\n")
            return await reader.read()
        finally:
            writer.close()


def answer_stun(descriptor: int) -> None:
    """Answer Binding requests, and nothing else, on an inherited UDP socket until the process ends."""
    threading.Thread(target=_answer_stun, args=(socket.socket(fileno=descriptor),), daemon=True).start()


def _answer_stun(bound: socket.socket) -> None:
    from reference_server.iroh_relay import stun  # noqa: PLC0415 - needed by one mutant alone

    while True:
        data, sender = bound.recvfrom(2048)
        if (answer := stun.answer(data, *sender)) is not None:
            bound.sendto(answer, sender)


def tls_as_somebody_else(host: str) -> int:
    """A TLS port at `host` whose certificate is for another name; nobody who verifies it gets to what lies behind.

    It is there until the process ends.
    """
    from reference_server.tls import issue_development_certificate  # noqa: PLC0415 - cryptography is slow to load

    with tempfile.TemporaryDirectory() as directory:
        files = issue_development_certificate(Path(directory), ["somebody-else.example"])
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate_file, files.key_file)
    listener = socket.create_server((host, 0))
    threading.Thread(target=_shake_hands, args=(listener, context), daemon=True).start()
    port: int = listener.getsockname()[1]
    return port


def _shake_hands(listener: socket.socket, context: ssl.SSLContext) -> None:
    while True:
        connection, _ = listener.accept()
        connection.settimeout(HEAD_WITHIN)
        with contextlib.suppress(OSError), context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(1)
