"""UDP sockets with one peer each: a client with an allocation, or the peer of a channel.

These are where the kernel sorts by sender, so that everything in a queue has one way to go. Their fast path knows
only data of living channels; `Turn` gets everything else, one datagram at a time, and the counters agree.

There are three ways to read, and each socket uses what fits its traffic: datagrams that come alone cost least with
plain calls, several at once with recvmmsg, and a flood of equal ones with UDP_GRO.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from socket import socket
from typing import TYPE_CHECKING

from . import segments
from .allocations import Allocation, Channel
from .ledger import CLASS_OF, OTHER, AllocationRecord, Tally
from .mmsg import HEADER, SLOTS, STRIDE
from .stun import Address
from .udp import UdpListener, address_of, bind_udp

if TYPE_CHECKING:
    from .shell import Shell

__all__ = ["ChannelSocket", "ClientSocket", "Way"]

BATCHES = 4
"""Rounds of one socket before it is the turn of others."""
ALONE = 16
"""How many datagrams are read one by one before it is seen again whether there are more at once."""
QUEUE = SLOTS // 2
"""Datagrams of one size in a queue that look like a flood."""
FLOOD = 512
"""So many of those, and hardly any others, before UDP_GRO may be worth its price for the others."""
_HEAD = struct.Struct(">HH")


class Way:
    """Where data of one channel goes: looked up once, good until something changes or its time is over.

    `header` is the channel number that whoever is at the outlet knows the sender by; None: a peer, who gets the bare
    payload. `packets` and `volume` count by class; `also` is the other client's tally when the peer is its relay.
    """

    __slots__ = (
        *("also", "changes", "descriptor", "header", "number", "outlet", "packets", "until", "volume"),
    )

    def __init__(
        self,
        changes: int,
        until: float,
        number: int,
        outlet: socket,
        *,
        header: int | None,
        tally: Tally,
        also: Tally | None = None,
    ) -> None:
        self.changes = changes
        self.until = until
        self.number = number
        self.outlet = outlet
        self.descriptor = outlet.fileno()
        self.header = header
        self.packets = tally.packets
        self.volume = tally.bytes
        self.also = also


class Connected(ABC):
    """Raises `OSError` when there can be no such socket."""

    __slots__ = (
        *("_alone", "_flood", "_record", "_room", "_segmented", "_shell", "_way", "descriptor", "socket"),
    )

    offset: int
    """Where in a slot of the batch a datagram is received."""

    def __init__(self, shell: Shell, bind: Address, remote: Address, record: AllocationRecord) -> None:
        self._shell = shell
        self._record = record
        self._room = shell.batch.room_for_payload if self.offset else shell.batch.room
        self._way: Way | None = None
        """That was used last."""
        self._alone = ALONE
        self._flood = 0
        self._segmented = False
        self.socket = bind_udp(bind, shared=True)
        try:
            self.socket.connect(remote)
        except OSError:
            self.socket.close()
            raise
        self.descriptor = self.socket.fileno()
        shell.loop.add(self.descriptor, self._ready)
        # Between bind and connect the kernel may have put datagrams of anybody here.
        with suppress(OSError):
            while True:
                data, name = self.socket.recvfrom(65535)
                self._stray(data, address_of(name))

    def close(self) -> None:
        self._shell.loop.remove(self.descriptor)
        self.socket.close()

    @property
    def closed(self) -> bool:
        return self.socket.fileno() < 0

    def _ready(self, _events: int) -> None:
        if not self._alone and not self._segmented:
            self._read_batches()
            return
        try:
            if self._segmented:
                size, segment = segments.receive(self.socket, self._room)
            else:
                self._alone -= 1
                size = segment = self.socket.recv_into(self._room)
        except OSError:
            return  # nothing there, or an ICMP error that an earlier datagram caused
        if size <= segment:
            self._one(size)
        else:
            self._joined(size, segment)

    def _read_batches(self) -> None:
        batch = self._shell.batch
        vector = batch.into_payload if self.offset else batch.into_start
        read = 0
        for _ in range(BATCHES):
            sizes = batch.receive(self.descriptor, vector)
            read += len(sizes)
            if sizes:
                self._several(sizes)
            if self.closed:  # a Refresh of LIFETIME 0 was among them
                return
            self._watch_for_flood(sizes)
            if len(sizes) < SLOTS or self._segmented:
                break
        if read < 2:
            self._alone = ALONE

    def _watch_for_flood(self, sizes: list[int]) -> None:
        if len(sizes) >= QUEUE and len(set(sizes)) == 1:
            self._flood += len(sizes)
        else:
            self._flood = max(0, self._flood - 8 * len(sizes))
        if self._flood >= FLOOD:
            self._segmented = segments.join_received(self.socket)

    def _send_one(self, way: Way, size: int) -> None:
        """Send the payload in the first slot on."""
        batch, header = self._shell.batch, way.header
        kind = CLASS_OF[batch.buffer[HEADER]] if size else OTHER
        way.packets[kind] += 1
        way.volume[kind] += size
        if way.also is not None:
            way.also.add(kind, 1, size)
        start = HEADER
        if header is not None:
            start = 0
            _HEAD.pack_into(batch.buffer, 0, header, size)
        data = batch.view[start : HEADER + size]
        try:
            way.outlet.send(data)
        except OSError:
            if not segments.send_one(way.outlet, data):
                self._record.drop("not_sent", size)

    def _send_run(self, way: Way, sizes: Sequence[int], first: int) -> None:
        """Send payloads of these sizes on, which lie in the slots from `first` on."""
        batch, header = self._shell.batch, way.header
        buffer = batch.buffer
        vector, more = (batch.from_payload, 0) if header is None else (batch.from_start, HEADER)
        lengths, packets, volume, also = vector.sizes, way.packets, way.volume, way.also
        for slot, size in enumerate(sizes, first):
            at = slot * STRIDE
            kind = CLASS_OF[buffer[at + HEADER]] if size else OTHER
            packets[kind] += 1
            volume[kind] += size
            if also is not None:
                also.add(kind, 1, size)
            if header is not None:
                _HEAD.pack_into(buffer, at, header, size)
            lengths[2 * slot + 1] = size + more
        unsent = batch.send(way.descriptor, vector, first, first + len(sizes))
        if unsent:
            self._record.drop("not_sent", sum(sizes[-unsent:]), unsent)

    def _send_equal(self, way: Way, start: int, step: int, count: int, size: int) -> None:
        """Send `count` payloads of `size` bytes on, which lie in the first slot, `step` bytes from start to start."""
        batch = self._shell.batch
        end = start + count * step
        kinds = batch.buffer[start:end:step].translate(CLASS_OF) if size else bytearray([OTHER]) * count
        for kind in set(kinds):
            number = kinds.count(kind)
            way.packets[kind] += number
            way.volume[kind] += number * size
            if way.also is not None:
                way.also.add(kind, number, number * size)
        head = b"" if way.header is None else _HEAD.pack(way.header, size)
        unsent = segments.send(
            way.outlet, [batch.view[at : at + size] for at in range(start, end, step)], head
        )
        if unsent:
            self._record.drop("not_sent", unsent * size, unsent)

    @abstractmethod
    def _stray(self, data: bytes, sender: Address) -> None:
        """A datagram of somebody else."""

    @abstractmethod
    def _one(self, size: int) -> None:
        """A datagram lies in the first slot."""

    @abstractmethod
    def _several(self, sizes: list[int]) -> None:
        """Datagrams of these sizes lie in the first slots."""

    @abstractmethod
    def _joined(self, size: int, segment: int) -> None:
        """Datagrams of `segment` bytes, the last one perhaps shorter, lie one after the other in the first slot."""


class ClientSocket(Connected):
    """The connected socket of a client with an allocation."""

    __slots__ = ("_allocation", "_listener", "_path")

    offset = 0

    def __init__(self, shell: Shell, listener: UdpListener, allocation: Allocation) -> None:
        self._listener = listener
        self._allocation = allocation
        self._path = allocation.path
        super().__init__(shell, listener.address, allocation.path.client, allocation.record)

    def send(self, data: bytes) -> None:
        if not segments.send_one(self.socket, data):
            self._record.drop("not_sent", len(data))

    def _stray(self, data: bytes, sender: Address) -> None:
        self._shell.waiting.append((self._listener, data, sender))

    def _way_of(self, number: int) -> Way | None:
        """None: `Turn` has to look at it."""
        shell, way = self._shell, self._way
        if way is None or way.number != number or way.changes != shell.changes or way.until <= shell.loop.now:
            channel = self._allocation.channels.get(number)
            way = self._way = None if channel is None else shell.way_out(channel)
        return way

    def _to_turn(self, start: int, size: int) -> None:
        shell = self._shell
        data = bytes(shell.batch.view[start : start + size])
        shell.perform(shell.turn.receive(self._path, data, shell.loop.now))

    def _one(self, size: int) -> None:
        number, length = _HEAD.unpack_from(self._shell.batch.buffer)
        way = self._way_of(number) if HEADER + length <= size else None
        if way is None:
            self._to_turn(0, size)
        else:
            self._send_one(way, length)

    def _several(self, sizes: list[int]) -> None:
        buffer = self._shell.batch.buffer
        run: list[int] = []
        way: Way | None = None
        for slot, size in enumerate(sizes):
            number, length = _HEAD.unpack_from(buffer, slot * STRIDE)
            whole = HEADER + length <= size
            if run and way is not None and not (whole and number == way.number):
                self._send_run(way, run, slot - len(run))
                run = []
            if not run:
                way = self._way_of(number) if whole else None
            if way is None:
                self._to_turn(slot * STRIDE, size)
            else:
                run.append(length)
        if run and way is not None:
            self._send_run(way, run, len(sizes) - len(run))

    def _joined(self, size: int, segment: int) -> None:
        buffer = self._shell.batch.buffer
        start = 0
        while start < size:
            number, length = _HEAD.unpack_from(buffer, start)
            end = min(start + segment, size)
            way = self._way_of(number) if start + HEADER + length <= end else None
            if way is None:
                self._to_turn(start, end - start)
                start = end
            else:
                # those whose last byte is there too, as far as their headers are the same
                count = (size - start - HEADER - length) // segment + 1
                columns = [buffer[start + at : start + count * segment : segment] for at in range(HEADER)]
                count = min(len(column) - len(column.lstrip(column[:1])) for column in columns)
                self._send_equal(way, start + HEADER, segment, count, length)
                start += count * segment


class ChannelSocket(Connected):
    """A socket on a relay's port that is connected to the peer of a channel."""

    __slots__ = ("_channel",)

    offset = HEADER

    def __init__(self, shell: Shell, bind: Address, channel: Channel) -> None:
        self._channel = channel
        super().__init__(shell, bind, channel.peer, channel.allocation.record)

    def _stray(self, data: bytes, sender: Address) -> None:
        self._shell.arrived.append((self._channel.relay.address, sender, data))

    def _way_in(self) -> Way | None:
        """None: `Turn` has to look at it."""
        shell, way = self._shell, self._way
        if way is None or way.changes != shell.changes or way.until <= shell.loop.now:
            way = self._way = shell.way_in(self._channel)
        return way

    def _to_turn(self, start: int, size: int) -> None:
        shell, channel = self._shell, self._channel
        data = bytes(shell.batch.view[start : start + size])
        shell.perform(shell.turn.arrive(channel.relay.address, channel.peer, data, shell.loop.now))

    def _one(self, size: int) -> None:
        way = self._way_in()
        if way is None:
            self._to_turn(HEADER, size)
        else:
            self._send_one(way, size)

    def _several(self, sizes: list[int]) -> None:
        way = self._way_in()
        if way is not None:
            self._send_run(way, sizes, 0)
            return
        for slot, size in enumerate(sizes):
            self._to_turn(slot * STRIDE + HEADER, size)

    def _joined(self, size: int, segment: int) -> None:
        way = self._way_in()
        whole, rest = divmod(size, segment)
        end = HEADER + whole * segment
        if way is not None:
            self._send_equal(way, HEADER, segment, whole, segment)
            if rest:
                self._send_equal(way, end, rest, 1, rest)
            return
        for start in range(HEADER, end, segment):
            self._to_turn(start, segment)
        if rest:
            self._to_turn(end, rest)
