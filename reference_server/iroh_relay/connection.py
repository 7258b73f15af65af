"""One accepted TCP connection: moves bytes between its transport and the sans-IO parts."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from ..addresses import without_mapping
from ..ledger import ConnectionRecord
from .client import Client
from .http.http1 import MAX_HEAD, HttpConnection, Responder, Transport, Upgrade
from .http.websocket import WebSocket
from .hub import Hub
from .shell import Shell
from .v035 import frames as frames_035
from .v1 import frames as frames_v1

__all__ = ["Connection", "TlsConnection"]

MAX_MESSAGE = {
    Transport.WEBSOCKET: frames_035.MAX_MESSAGE,
    Transport.V1: frames_v1.MAX_MESSAGE,
    Transport.V2: frames_v1.MAX_MESSAGE,
}
"""Transports in WebSocket messages, and the size of the largest; the other transport has frames without a wrapping."""


class Connection(asyncio.BufferedProtocol):
    """HTTP first, then frames, as they are or in WebSocket messages.

    All connections read into the one buffer of the shell: asyncio calls `get_buffer`, reads and calls
    `buffer_updated` without anything in between, so that only an incomplete frame has to be kept per connection.
    """

    def __init__(self, shell: Shell, listener: str, responder: Responder) -> None:
        self._shell = shell
        self._listener = listener
        self._http: HttpConnection | None = HttpConnection(responder)
        self._websocket: WebSocket | None = None
        self._rest = b""
        self._timer: asyncio.TimerHandle | None = None
        self._closing = False
        self.hub: Hub
        """The hub of the client, once there is one."""
        self.client: Client | None = None
        self.token: str | None = None
        """The token that the client sent to be let in, a secret."""
        self.address = ""
        self.record: ConnectionRecord
        self.transport: asyncio.Transport

    # asyncio's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        host, port = (transport.get_extra_info("peername") or ("unknown", 0))[:2]
        self.address = without_mapping(host)
        self.record = self._shell.ledger.connection(self._listener, f"{self.address}:{port}")
        if self._shell.accept(self):
            self._wait(self._shell.limits.request_timeout)
        else:
            self.abort()

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # the buffer is what it is
        buffer = self._shell.view
        if self._http is not None:
            return buffer[:MAX_HEAD]
        kept = len(self._rest)
        buffer[:kept] = self._rest
        return buffer[kept:]

    def buffer_updated(self, nbytes: int) -> None:
        self.record.bytes_in += nbytes
        if self._closing:
            return
        if self._http is not None:
            self._speak_http(self._http, bytes(self._shell.view[:nbytes]))
        elif self._websocket is not None:
            self._unwrap(self._websocket, bytes(self._shell.view[len(self._rest) :][:nbytes]))
        else:
            self._take(self._shell.buffer, len(self._rest) + nbytes)

    def pause_writing(self) -> None:
        if self.client is None:
            self.abort()  # somebody sends requests and does not read the answers
        else:
            self._shell.blocked(self)

    def resume_writing(self) -> None:
        if self.client is not None and not self._closing:
            self._shell.drain(self)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._shell.lost(self, str(exc) if exc else "closed by the client")

    # The shell's side

    def write(self, data: bytes) -> None:
        """Send frames, translated where the client speaks WebSocket."""
        self._send(data if self._websocket is None else self._websocket.send(data))

    def unsent(self) -> int:
        return self.transport.get_write_buffer_size()

    def resume(self) -> None:
        """Take what was held back, and read on unless that was too much again."""
        self.transport.resume_reading()
        if self._rest:
            self._take(bytearray(self._rest), len(self._rest))

    def close(self) -> None:
        """End after what was written has gone out, at the latest when a write would time out."""
        if not self._closing:
            self._closing = True
            self._rest = b""
            self._wait(self._shell.limits.write_timeout)
            self.transport.close()

    def abort(self) -> None:
        self._closing = True
        self.record.bytes_out -= min(self.unsent(), self.record.bytes_out)  # less while hands are shaken
        self.transport.abort()

    # Bytes

    def _speak_http(self, http: HttpConnection, data: bytes) -> None:
        output = http.receive(data, time.time())
        if output.data:
            self._send(bytes(output.data))
        if output.close:
            self.close()
        elif output.upgrade is not None:
            self._upgrade(output.upgrade, output.trailing)
        elif output.requests:
            self._wait(self._shell.limits.request_timeout)

    def _upgrade(self, upgrade: Upgrade, trailing: bytes) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._http = None
        self.token = upgrade.token
        self.transport.set_write_buffer_limits(high=0)  # pause_writing as soon as the kernel takes no more
        max_message = MAX_MESSAGE.get(upgrade.transport)
        if max_message is not None:
            self._websocket = WebSocket(max_message)
        self._shell.upgraded(self, upgrade.transport)
        if self._websocket is not None:
            self._unwrap(self._websocket, trailing)
        else:
            self._take(bytearray(trailing), len(trailing))

    def _unwrap(self, websocket: WebSocket, data: bytes) -> None:
        assert self.client is not None
        run, reply = websocket.receive(data)
        if reply:
            self._send(reply)
        if run:
            run[:0] = self._rest
            self._take(run, len(run))
        if websocket.ended is not None:
            self._shell.perform(self.hub.end(self.client, websocket.ended))

    def _take(self, data: bytearray, end: int) -> None:
        assert self.client is not None
        now = self._shell.now()
        forwarded = self.hub.forward_few(self.client, data, end, now)
        if forwarded is not None:
            self._rest = b""
            self._shell.write(*forwarded)
            return
        taken, actions = self.hub.receive(self.client, data, end, now)
        self._rest = bytes(memoryview(data)[taken:end]) if taken < end else b""
        self._shell.perform(actions)

    def _send(self, data: bytes | bytearray) -> None:
        self.record.bytes_out += len(data)
        self.transport.write(data)

    def _wait(self, seconds: float) -> None:
        """End the connection if nothing cancels this in time."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._shell.loop.call_later(seconds, self.abort)


class TlsConnection(Connection):
    """One inside of TLS, which happens here in memory. It counts as a connection from its acceptance on.

    asyncio's own layer costs three times as much for a frame that comes alone, and its servers tell nobody of a
    connection before its handshake is over.
    """

    def __init__(self, shell: Shell, listener: str, responder: Responder, context: ssl.SSLContext) -> None:
        super().__init__(shell, listener, responder)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._read = cast(Callable[[int, memoryview], int], self._tls.read)
        """Fills a buffer, and returns how much that was: nothing after the client's good-bye."""
        self._established = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self._closing:
            self._wait(self._shell.limits.tls_handshake_timeout)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # the buffer is what it is
        return self._shell.sealed

    def buffer_updated(self, nbytes: int) -> None:
        self._incoming.write(self._shell.sealed[:nbytes])
        try:
            if not self._established:
                self._tls.do_handshake()
                self._established = True
                self._wait(self._shell.limits.request_timeout)
            while not self._closing and self._open_records():
                pass
        except ssl.SSLWantReadError:
            pass  # the handshake is not over yet
        except ssl.SSLError:
            self._flush()  # it has an alert for the client
            self.abort()
        if self._outgoing.pending:
            self._flush()  # of the handshake, or new keys

    def close(self) -> None:
        if not self._closing:
            with suppress(ssl.SSLError):  # it wants to read the client's good-bye, and nobody waits for that
                self._tls.unwrap()
            self._flush()
        super().close()

    def _open_records(self) -> bool:
        """Take what the records hold that are here. True if the buffer was too small, so that there may be more."""
        buffer = super().get_buffer(-1)
        size, room, ended = 0, len(buffer), False
        try:
            while not ended:
                more = self._read(room - size, buffer[size:])  # of one record
                size += more
                ended = not more
                if size == room or not self._incoming.pending:
                    break
        except ssl.SSLWantReadError:
            pass  # the last one is not whole yet
        if size:
            super().buffer_updated(size)
        if ended:
            self.close()
        return size == room

    def _send(self, data: bytes | bytearray) -> None:
        if self._closing:
            return  # after a fault its TLS takes nothing, and a frame of somebody else must not fail for that
        self.record.bytes_out += len(data)
        sent = self._tls.write(data)
        while sent < len(data):  # a record's worth at a time
            sent += self._tls.write(memoryview(data)[sent:])
        self._flush()

    def _flush(self) -> None:
        self.transport.write(self._outgoing.read())
