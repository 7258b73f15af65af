"""TCP and TLS clients: frames out of a stream (RFC 8656, section 12.5 and RFC 8489, section 6.2.2)."""

from __future__ import annotations

import errno
import os
import select
import ssl
from collections import Counter
from collections.abc import Callable, Container
from contextlib import suppress
from socket import IPPROTO_TCP, TCP_NODELAY, socket

from ..allocations import FiveTuple, source_of
from ..ledger import TurnLedger
from ..settings import Limits, Transport
from ..stun import HEADER_SIZE
from .epoll import EpollLoop
from .udp import Receive, address_of

__all__ = ["FramingError", "StreamListener", "Streams", "take_frames"]

CHUNK = 65536
ACCEPTS = 64
"""Connections of one listener before it is the turn of others."""
SWEEP = 1.0
"""Seconds between two looks for connections that are too slow."""


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
        elif first <= 0x7F:
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
    if buffer and buffer[0] > 0x7F:
        raise FramingError
    return frames


class Streams:
    """Every TCP and TLS connection of a server, with the bounds on their number and their slowness."""

    def __init__(
        self,
        loop: EpollLoop,
        limits: Limits,
        ledger: TurnLedger,
        *,
        receive: Receive,
        disconnected: Callable[[FiveTuple], None],
    ) -> None:
        self.loop = loop
        self.limits = limits
        self.ledger = ledger
        self.receive = receive
        self.disconnected = disconnected
        self._open: dict[FiveTuple, StreamClient] = {}
        self._unflushed: dict[StreamClient, None] = {}
        self._of_source: Counter[str] = Counter()
        self._next_sweep = loop.now + SWEEP

    def get(self, five_tuple: FiveTuple) -> StreamClient | None:
        return self._open.get(five_tuple)

    def accept(self, connection: socket, five_tuple: FiveTuple, tls: ssl.SSLContext | None) -> None:
        """Serve one more connection, or close it when there are too many, or too many from there."""
        limits, source = self.limits, source_of(five_tuple.client)
        if len(self._open) >= limits.connections or self._of_source[source] >= limits.connections_per_source:
            connection.close()
            return
        self._of_source[source] += 1
        self._open[five_tuple] = StreamClient(self, connection, five_tuple, tls)

    def flush_later(self, client: StreamClient) -> None:
        """At the end of this turn of the loop."""
        self._unflushed[client] = None

    def forget(self, client: StreamClient) -> None:
        self._open.pop(client.five_tuple, None)
        self._unflushed.pop(client, None)
        source = source_of(client.five_tuple.client)
        self._of_source[source] -= 1
        if not self._of_source[source]:
            del self._of_source[source]

    def after_turn(self, allocated: Container[FiveTuple]) -> float | None:
        """Send what was queued in this turn, and close connections that have been without an allocation for too long.

        Time at which it wants to be called again; None while there is nobody to be slow.
        """
        if not self._open:
            return None
        if self._next_sweep <= self.loop.now:
            self._sweep(allocated)
        unflushed, self._unflushed = self._unflushed, {}
        for client in unflushed:
            client.flush()
        return self._next_sweep

    def _sweep(self, allocated: Container[FiveTuple]) -> None:
        now = self.loop.now
        self._next_sweep = now + SWEEP
        for five_tuple, client in list(self._open.items()):
            if now - client.idle_since > self.limits.half_open and five_tuple not in allocated:
                client.close()

    def close_all(self) -> None:
        for client in list(self._open.values()):
            client.close()


class StreamListener:
    """One listening socket of TCP or, with a context, TLS."""

    def __init__(
        self, streams: Streams, bound: socket, transport: Transport, tls: ssl.SSLContext | None
    ) -> None:
        bound.setblocking(False)
        self.socket = bound
        self.address = address_of(bound.getsockname())
        self.transport = transport
        self._streams = streams
        self._tls = tls
        self._spare = os.open(os.devnull, os.O_RDONLY)
        streams.loop.add(bound.fileno(), self._ready)

    def close(self) -> None:
        self._streams.loop.remove(self.socket.fileno())
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
            self._streams.accept(
                accepted, FiveTuple(self.transport, address_of(name), self.address), self._tls
            )


class StreamClient:
    """One connection. `record` counts the bytes of its socket; `idle_since` is when it last had an allocation."""

    def __init__(
        self, streams: Streams, connection: socket, five_tuple: FiveTuple, tls: ssl.SSLContext | None
    ) -> None:
        connection.setblocking(False)
        connection.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        self.five_tuple = five_tuple
        self.idle_since = streams.loop.now
        self._streams = streams
        self._socket = connection
        self._descriptor = connection.fileno()
        self._received = bytearray()
        self._plain: list[bytes] = []
        self._plain_size = 0
        """Before TLS."""
        self._unsent = bytearray()
        self._writing = False
        self._closed = False
        self._record = streams.ledger.connection(five_tuple.transport, str(five_tuple.client))
        self._tls: ssl.SSLObject | None = None
        if tls is not None:
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = tls.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._established = tls is None
        streams.loop.add(self._descriptor, self._ready)

    def write(self, message: bytes) -> bool:
        """Queue a message with its padding; False when too much is waiting already and it was dropped."""
        if self._closed or self._plain_size + len(self._unsent) > self._streams.limits.write_queue:
            return False
        padded = message + bytes(-len(message) % 4)
        self._plain.append(padded)
        self._plain_size += len(padded)
        self._streams.flush_later(self)
        return True

    def flush(self) -> None:
        """Send what `write` has queued since the last turn, as far as the client takes it."""
        if self._closed:
            return
        try:
            if self._tls is None:
                self._unsent += b"".join(self._plain)
                self._written()
            elif self._established:
                for message in self._plain:  # a record each: some clients read no further message out of one
                    self._tls.write(message)
                self._written()
            self._send()
        except OSError:  # ssl.SSLError is one
            self.close()

    def _written(self) -> None:
        self._plain.clear()
        self._plain_size = 0

    def close(self) -> None:
        """Ends its allocation, too."""
        if self._closed:
            return
        self._closed = True
        streams = self._streams
        streams.loop.remove(self._descriptor)
        self._socket.close()
        streams.forget(self)
        streams.ledger.closed(self._record)
        streams.disconnected(self.five_tuple)

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
        for frame in take_frames(self._received):
            self._record.frames_in += 1
            self._streams.receive(self.five_tuple, frame)

    def _decrypt(self, tls: ssl.SSLObject) -> None:
        with suppress(ssl.SSLWantReadError):
            if not self._established:
                tls.do_handshake()
                self._established = True
            while data := tls.read(CHUNK):
                self._received += data
            raise ssl.SSLZeroReturnError  # close_notify: the client waits for the end of the connection
        self._streams.flush_later(self)  # TLS may have something to say, too

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
            events = select.EPOLLIN | (select.EPOLLOUT if self._writing else 0)
            self._streams.loop.change(self._descriptor, events)
