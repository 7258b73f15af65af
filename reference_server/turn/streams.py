"""TCP and TLS clients: frames out of a stream (RFC 8656, section 12.5 and RFC 8489, section 6.2.2)."""

from __future__ import annotations

import errno
import os
import select
import ssl
from contextlib import suppress
from socket import IPPROTO_TCP, TCP_NODELAY, socket
from typing import TYPE_CHECKING

from .allocations import FiveTuple
from .settings import Transport
from .stun import HEADER_SIZE
from .udp import address_of

if TYPE_CHECKING:
    from .shell import Shell

__all__ = ["FramingError", "StreamClient", "StreamListener", "take_frames"]

CHUNK = 65536
ACCEPTS = 64
"""Connections of one listener before it is the turn of others."""


class FramingError(Exception):
    """Neither STUN nor ChannelData: the connection cannot go on."""


def take_frames(buffer: bytearray) -> list[bytes]:
    """Remove the whole frames from the start of `buffer`; what remains is shorter than 64 KiB + 24."""
    frames = []
    start = 0
    while len(buffer) - start >= 4:
        first = buffer[start]
        length = buffer[start + 2] << 8 | buffer[start + 3]
        if first <= 0x3F:
            size = end = HEADER_SIZE + length
        elif first <= 0x4F:
            size = 4 + length
            end = (size + 3) // 4 * 4
        else:
            del buffer[:start]
            raise FramingError
        if len(buffer) - start < end:
            break
        frames.append(bytes(buffer[start : start + size]))
        start += end
    del buffer[:start]
    if buffer and buffer[0] > 0x4F:
        raise FramingError
    return frames


class StreamListener:
    def __init__(self, shell: Shell, bound: socket, transport: Transport, tls: ssl.SSLContext | None) -> None:
        bound.setblocking(False)
        self.socket = bound
        self.address = address_of(bound.getsockname())
        self.transport = transport
        self._shell = shell
        self._tls = tls
        self._spare = os.open(os.devnull, os.O_RDONLY)
        shell.loop.add(bound.fileno(), self._ready)

    def close(self) -> None:
        self._shell.loop.remove(self.socket.fileno())
        self.socket.close()
        os.close(self._spare)

    def _refuse_one(self) -> None:
        """Without descriptors nobody can be accepted, and epoll would report the same client for ever."""
        os.close(self._spare)
        with suppress(OSError):
            self.socket.accept()[0].close()
        self._spare = os.open(os.devnull, os.O_RDONLY)

    def _ready(self, _events: int) -> None:
        for _ in range(ACCEPTS):
            try:
                accepted, name = self.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    self._refuse_one()
                continue
            client = address_of(name)
            if not self._shell.admit(client):
                accepted.close()
                continue
            path = FiveTuple(self.transport, client, self.address)
            StreamClient(self._shell, accepted, path, self._tls)


class StreamClient:
    """One connection. `record` counts the bytes of its socket; `idle_since` is when it last had an allocation."""

    def __init__(self, shell: Shell, connection: socket, path: FiveTuple, tls: ssl.SSLContext | None) -> None:
        connection.setblocking(False)
        connection.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        self.path = path
        self.idle_since = shell.loop.now
        self._shell = shell
        self._socket = connection
        self._descriptor = connection.fileno()
        self._received = bytearray()
        self._plain = bytearray()
        """Before TLS."""
        self._unsent = bytearray()
        self._writing = False
        self._closed = False
        self._record = shell.turn.ledger.connection(path.transport, str(path.client))
        self._tls: ssl.SSLObject | None = None
        if tls is not None:
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = tls.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._established = tls is None
        shell.streams[path] = self
        shell.loop.add(self._descriptor, self._ready)

    def write(self, message: bytes) -> bool:
        """Queue a message with its padding; False when too much is waiting already and it was dropped."""
        if (
            self._closed
            or len(self._plain) + len(self._unsent) > self._shell.turn.settings.limits.write_queue
        ):
            return False
        self._plain += message + bytes(-len(message) % 4)
        self._shell.unflushed[self] = None
        return True

    def flush(self) -> None:
        """Send what `write` has queued since the last turn, as far as the client takes it."""
        if self._closed:
            return
        try:
            if self._tls is None:
                self._unsent += self._plain
                self._plain.clear()
            elif self._established and self._plain:
                self._tls.write(self._plain)
                self._plain.clear()
            self._send()
        except OSError:  # ssl.SSLError is one
            self.close()

    def close(self) -> None:
        """Ends its allocation, too."""
        if self._closed:
            return
        self._closed = True
        shell = self._shell
        shell.loop.remove(self._descriptor)
        self._socket.close()
        shell.streams.pop(self.path, None)
        shell.unflushed.pop(self, None)
        shell.leave(self.path.client)
        shell.turn.ledger.closed(self._record)
        shell.perform(shell.turn.disconnected(self.path, shell.loop.now))

    def _ready(self, events: int) -> None:
        try:
            if events & select.EPOLLOUT:
                self._send()
            if events & ~select.EPOLLOUT:
                self._read()
        except (OSError, FramingError):
            self.close()

    def _read(self) -> None:
        try:
            data = self._socket.recv(CHUNK)
        except BlockingIOError:
            return
        if not data:
            self.close()
            return
        self._record.bytes_in += len(data)
        if self._tls is None:
            self._received += data
        else:
            self._incoming.write(data)
            self._decrypt(self._tls)
        shell = self._shell
        for frame in take_frames(self._received):
            self._record.frames_in += 1
            shell.perform(shell.turn.receive(self.path, frame, shell.loop.now))

    def _decrypt(self, tls: ssl.SSLObject) -> None:
        with suppress(ssl.SSLWantReadError):
            if not self._established:
                tls.do_handshake()
                self._established = True
            while data := tls.read(CHUNK):
                self._received += data
            raise ssl.SSLZeroReturnError  # close_notify: the client waits for the end of the connection
        self._shell.unflushed[self] = None  # TLS may have something to say, too

    def _send(self) -> None:
        if self._tls is not None and self._outgoing.pending:
            self._unsent += self._outgoing.read()
        if self._unsent:
            with suppress(BlockingIOError):
                sent = self._socket.send(self._unsent)
                self._record.bytes_out += sent
                del self._unsent[:sent]
        if bool(self._unsent) is not self._writing:
            self._writing = bool(self._unsent)
            self._shell.loop.change(
                self._descriptor, select.EPOLLIN | (select.EPOLLOUT if self._writing else 0)
            )
