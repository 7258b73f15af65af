"""Packets that one look may send, counted where they leave: each datagram, and every segment of a TCP connection.

The kernel counts the segments of a connection (`tcpi_segs_out` of TCP_INFO, Linux 4.2), acknowledgements among them. A
look has one allowance, and its parts have shares of it. What would send more is stopped, and says so.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from typing import Any

from ..hosts import Socket

__all__ = ["MOST_PACKETS", "Allowance", "OutOfPackets", "counted", "counted_tls"]

MOST_PACKETS = 200
"""Of one look, towards the server and the name server of this machine."""
HANDSHAKE = 3
"""Packets that must be left for a new connection: a SYN, the same again after a second, and an ACK."""
ENDING = 2
"""Packets of ours that follow when a connection has been closed: FIN, and the ACK of the other side's."""
SEGS_OUT = struct.Struct("136xI")
"""Of `struct tcp_info` (linux/tcp.h)."""
BUFFER = 16 * 1024
"""Bytes that the kernel takes, and acknowledges, before anybody asks for them."""


class OutOfPackets(Exception):
    """A look has sent all that it may. No `OSError`: nothing about the server follows from it."""


class Allowance:
    """A number of packets that may still be sent. Several threads may use it."""

    def __init__(self, packets: int) -> None:
        self._left = packets
        self._lock = threading.Lock()

    @property
    def left(self) -> int:
        return max(self._left, 0)

    def take(self, packets: int) -> None:
        """Before they are sent. Raises `OutOfPackets`."""
        with self._lock:
            if self._left < packets:
                raise OutOfPackets("all packets that a look may send have been sent")
            self._left -= packets

    def account_for(self, packets: int) -> None:
        """They have left already, as acknowledgements do. Raises `OutOfPackets` if they were too many."""
        with self._lock:
            self._left -= packets
            if self._left < 0:
                raise OutOfPackets("all packets that a look may send have been sent")


def counted(plain: Socket, allowance: Allowance) -> Socket:
    """The same socket, which counts what it sends."""
    kind = _Stream if plain.type == socket.SOCK_STREAM else _Datagrams
    family, type_, protocol = plain.family, plain.type, plain.proto
    found = kind(family, type_, protocol, fileno=plain.detach())
    found.allowance = allowance
    return found


def counted_tls(context: ssl.SSLContext) -> ssl.SSLContext:
    """The same settings, for connections over sockets that count."""
    context.sslsocket_class = _Tls
    return context


class _Datagrams(socket.socket):
    allowance: Allowance

    def send(self, *args: Any) -> int:
        self.allowance.take(1)
        return super().send(*args)

    def sendall(self, *args: Any) -> None:
        self.allowance.take(1)
        super().sendall(*args)

    def sendto(self, *args: Any) -> int:
        self.allowance.take(1)
        return super().sendto(*args)


class _Meter:
    """Segments of one connection that have been accounted for."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._sent = 0

    def begin(self) -> None:
        """A connection is about to be made; its end is paid for as well."""
        self._allowance.take(HANDSHAKE + ENDING)
        self._sent = HANDSHAKE

    def read(self, connection: socket.socket) -> None:
        """Account for what has left since the last time. Raises `OutOfPackets` where nothing is left, either."""
        since = max(_segments(connection) - self._sent, 0)
        self._sent += since
        self._allowance.account_for(since)

    def failed(self, connection: socket.socket) -> None:
        """No connection came about: of what was paid for, only requests for one have left."""
        self._allowance.take(max(_segments(connection), 1) - HANDSHAKE - ENDING)
        self._sent = HANDSHAKE


def _segments(connection: socket.socket) -> int:
    try:
        told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, SEGS_OUT.size)
    except OSError:  # it is closed
        return 0
    return int(SEGS_OUT.unpack(told)[0]) if len(told) == SEGS_OUT.size else 0


_handed_over: dict[int, _Meter] = {}
"""Meters of sockets on their way into a session of TLS, by file descriptor."""


class _Stream(socket.socket):
    allowance: Allowance
    _meter: _Meter | None = None

    def connect(self, *args: Any) -> None:
        self._meter = _Meter(self.allowance)
        with _closing_if_too_much(self):
            self._meter.begin()
        self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        try:
            super().connect(*args)
        except OSError:
            self._meter.failed(self)
            raise

    def sendall(self, *args: Any) -> None:
        self._read_meter()
        super().sendall(*args)
        self._read_meter()

    def recv(self, *args: Any) -> bytes:
        data = super().recv(*args)
        self._read_meter()
        return data

    def recv_into(self, *args: Any) -> int:
        count = super().recv_into(*args)
        self._read_meter()
        return count

    def detach(self) -> int:
        if self._meter is not None:
            _handed_over[self.fileno()] = self._meter
        return super().detach()

    def close(self) -> None:
        with contextlib.suppress(OutOfPackets):
            self._read_meter()
        super().close()

    def _read_meter(self) -> None:
        if self._meter is not None:
            with _closing_if_too_much(self):
                self._meter.read(self)


class _Tls(ssl.SSLSocket):
    """A session over such a socket: `ssl` makes it with the other's file descriptor, and reads and sends by these."""

    _meter: _Meter | None = None

    def do_handshake(self, *args: Any) -> None:
        self._meter = _handed_over.pop(self.fileno(), None)
        try:
            super().do_handshake(*args)
        finally:
            self._read_meter()

    def read(self, *args: Any) -> Any:
        data = super().read(*args)
        self._read_meter()
        return data

    def send(self, *args: Any) -> int:
        self._read_meter()
        count = super().send(*args)
        self._read_meter()
        return count

    def close(self) -> None:
        with contextlib.suppress(OutOfPackets):
            self._read_meter()
        super().close()

    def _read_meter(self) -> None:
        if self._meter is not None:
            with _closing_if_too_much(self):
                self._meter.read(self)


@contextlib.contextmanager
def _closing_if_too_much(connection: socket.socket) -> Iterator[None]:
    """Whoever uses the connection does not expect such an end of it."""
    try:
        yield
    except OutOfPackets:
        socket.socket.close(connection)
        raise
