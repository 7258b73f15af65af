"""Capture of the packets at the edges, as a pcapng file without secrets, and of the TCP streams in it.

Sockets of AF_PACKET at the outer ends of links; one thread reads them all. The file is an explanation for people: no
verdict comes from it. From what passes come the bytes of TCP streams, which counters of packets cannot tell, and where
there is no `nft` these counters, too.

Format: draft-ietf-opsawg-pcapng. An interface is named after the host behind it; `inbound` is what that host sent.
"""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import socket
import struct
import threading
import time
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO, NamedTuple

from ..closing import Closing
from ..network.links import Link
from .flows import Connection, EdgeCounts, Stream
from .frames import SNAP, Streams, harmless_part, tcp_segment
from .tally import Tally

__all__ = ["Capture", "PcapngWriter"]

ETH_P_ALL = 3
SOL_PACKET, PACKET_STATISTICS = 263, 6
SO_RCVBUFFORCE, SO_TIMESTAMPNS = 33, 35
TIMESPEC = struct.Struct("@qq")
RECEIVE_BUFFER = 8 * 1024 * 1024
MOST_AT_ONCE = 100_000
"""Frames that are read before anybody else gets a turn."""
PAUSE = 0.02
"""Seconds between two looks, so that one wake-up is for several frames: the buffers hold what comes meanwhile."""
LARGEST_FILE = 64 * 1024 * 1024
"""Bytes; what comes later is looked at, but not written."""


class PcapngWriter:
    """Writes frames of several Ethernet interfaces. Times are nanoseconds of unix time."""

    LINKTYPE_ETHERNET = 1
    NANOSECONDS = 9

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.size = 0
        self._block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))

    def interface(self, name: str) -> None:
        """Describe the next interface; the first has number 0."""
        described = struct.pack("<HHI", self.LINKTYPE_ETHERNET, 0, SNAP)
        self._block(
            1, described + _option(2, name.encode()) + _option(9, bytes([self.NANOSECONDS])) + _option(0)
        )

    def frame(self, interface: int, time: int, data: bytes, length: int, *, inbound: bool) -> None:
        """`length`: of the whole frame, of which `data` is the beginning."""
        header = struct.pack("<IIIII", interface, time >> 32, time & 0xFFFFFFFF, len(data), length)
        flags = struct.pack("<I", 1 if inbound else 2)
        self._block(6, header + _padded(data) + _option(2, flags) + _option(0))

    def dropped(self, interface: int, time: int, frames: int) -> None:
        """Say how many frames of an interface nobody has read."""
        header = struct.pack("<III", interface, time >> 32, time & 0xFFFFFFFF)
        self._block(5, header + _option(5, struct.pack("<Q", frames)) + _option(0))

    def _block(self, kind: int, body: bytes) -> None:
        length = len(body) + 12
        self._stream.write(struct.pack("<II", kind, length) + body + struct.pack("<I", length))
        self.size += length


def _option(code: int, value: bytes = b"") -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


class Capture(Closing):
    """Looks on at the outer ends of links."""

    def __init__(self, file: Path | None = None) -> None:
        """`file`: is made anew. Raises `OSError`."""
        self._open = contextlib.ExitStack()
        self._lock = threading.Lock()
        self._edges: list[_Edge] = []
        self._selector = self._open.enter_context(contextlib.closing(selectors.DefaultSelector()))
        self._end = os.eventfd(0, os.EFD_NONBLOCK)
        self._open.callback(os.close, self._end)
        self._selector.register(self._end, selectors.EVENT_READ, None)
        self._writer = PcapngWriter(self._open.enter_context(file.open("wb"))) if file is not None else None
        self._thread = threading.Thread(target=self._live, name="capture", daemon=True)
        self._thread.start()

    def watch(self, name: str, link: Link, *, counting: bool = False) -> None:
        """Look on at one more link of the host `name`. Raises `OSError` where this user may not.

        `counting`: for `counts`, which costs as much again as looking on.
        """
        with self._lock:
            edge = _Edge(name, len(self._edges), link, Tally() if counting else None)
            self._open.callback(edge.socket.close)
            self._edges.append(edge)
            if self._writer is not None:
                self._writer.interface(name)
        self._selector.register(edge.socket, selectors.EVENT_READ, edge)

    def streams(self, names: Collection[str]) -> dict[str, dict[Connection, Stream]]:
        """The TCP streams of these hosts, with everything that had passed their edges at one and the same moment."""
        found: dict[str, dict[Connection, Stream]] = {name: {} for name in names}
        with self._lock:
            moment = time.time_ns()
            for edge in self._edges:
                if edge.name in found:
                    edge.drain(self._writer, until=moment)
                    found[edge.name] |= edge.streams.read()
        return found

    def counts(self, name: str) -> EdgeCounts:
        """Every packet that has passed the edge of a host by now."""
        with self._lock:
            for edge in self._of(name):
                edge.drain(self._writer)
            return sum((edge.counts() for edge in self._of(name)), start=EdgeCounts())

    def frames(self, names: Collection[str]) -> int:
        """Number of frames that have passed the edges of these hosts by now, without those that were dropped."""
        with self._lock:
            edges = [edge for edge in self._edges if edge.name in names]
            for edge in edges:
                edge.drain(self._writer)
            return sum(edge.frames for edge in edges)

    def dropped(self, name: str) -> int:
        """Frames at the edge of a host that came faster than they were read."""
        with self._lock:
            return sum(edge.dropped() for edge in self._of(name))

    def close(self) -> None:
        """Read what is left and close the file. A second call does nothing."""
        if self._thread.is_alive():
            os.eventfd_write(self._end, 1)
            self._thread.join()
            for edge in self._edges:
                edge.drain(self._writer)
                edge.finish(self._writer)
        self._open.close()

    def _of(self, name: str) -> list[_Edge]:
        return [edge for edge in self._edges if edge.name == name]

    def _live(self) -> None:
        while True:
            ready: list[_Edge | None] = [key.data for key, _events in self._selector.select()]
            for edge in ready:
                if edge is None:
                    return
                with self._lock:
                    edge.drain(self._writer)
            select.select([self._end], [], [], PAUSE)


class _Frame(NamedTuple):
    data: bytes
    """The beginning of it."""
    length: int
    """Of the whole frame."""
    time: int
    """Nanoseconds of unix time."""
    sent: bool
    """By the host; the others were delivered to it."""


class _Edge:
    """One socket, bound to the outer end of one link."""

    def __init__(self, name: str, number: int, link: Link, tally: Tally | None) -> None:
        self.name = name
        self._tally = tally
        self.streams = Streams()
        self.frames = 0
        self._number = number
        self._dropped = 0
        self._last = 0
        self._buffer = bytearray(SNAP)
        self._next: _Frame | None = None
        """Received, and not looked at yet."""
        # Without a protocol it hears nothing until it is bound, so no frame of another interface gets in.
        self.socket = link.upstream.socket(socket.AF_PACKET, socket.SOCK_RAW)
        try:
            self.socket.setblocking(False)
            self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            try:
                self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
            except PermissionError:
                self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            self.socket.bind((link.outer, ETH_P_ALL))
        except BaseException:
            self.socket.close()
            raise

    def drain(self, writer: PcapngWriter | None, *, until: int | None = None) -> None:
        """Look at what has come; `until`: but at nothing that came later, in nanoseconds of unix time."""
        for _ in range(MOST_AT_ONCE):
            frame, self._next = self._next or self._receive(), None
            if frame is None:
                return
            if until is not None and frame.time > until:
                self._next = frame
                return
            self.frames += 1
            if self._tally is not None:
                self._tally.observe(frame.data, frame.length, outgoing=frame.sent)
            if (segment := tcp_segment(frame.data)) is not None:
                self.streams.observe(segment, outgoing=frame.sent)
            if writer is not None and writer.size < LARGEST_FILE:
                self._last = frame.time
                writer.frame(
                    self._number, frame.time, harmless_part(frame.data), frame.length, inbound=frame.sent
                )

    def _receive(self) -> _Frame | None:
        """The next frame; None: there is none by now."""
        for _ in range(MOST_AT_ONCE):
            try:
                length, ancillary, _flags, address = self.socket.recvmsg_into(
                    [self._buffer], socket.CMSG_SPACE(TIMESPEC.size), socket.MSG_TRUNC
                )
            except BlockingIOError:
                return None
            except OSError:  # the link has been taken down; it may come back
                continue
            # What leaves the outer end enters the host.
            sent = address[2] != socket.PACKET_OUTGOING
            return _Frame(bytes(self._buffer[: min(length, SNAP)]), length, _time(ancillary), sent)
        return None

    def counts(self) -> EdgeCounts:
        return self._tally.read(self._missed()) if self._tally is not None else EdgeCounts()

    def dropped(self) -> int:
        return self._missed() + self.streams.forgotten

    def _missed(self) -> int:
        """The kernel's own count, which starts again with every reading."""
        statistics = self.socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        self._dropped += struct.unpack("@II", statistics)[1]
        return self._dropped

    def finish(self, writer: PcapngWriter | None) -> None:
        if writer is not None:
            writer.dropped(self._number, self._last, self.dropped())


def _time(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
            seconds, nanoseconds = TIMESPEC.unpack(data)
            return int(seconds) * 10**9 + int(nanoseconds)
    return 0
