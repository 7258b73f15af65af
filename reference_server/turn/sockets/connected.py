"""UDP sockets with one peer each: a client with an allocation, or the peer of a channel.

These are where the kernel sorts by sender, so that everything in a queue has one way to go. Their fast path knows
only data of living channels; `Turn` gets everything else, one datagram at a time, and the counters agree.

There are three ways to read, and each socket uses what fits its traffic: datagrams that come alone cost least with
plain calls, several at once with recvmmsg, and a flood of equal ones with UDP_GRO as well.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import groupby

from ..allocations import Allocation, Channel
from ..ledger import CLASS_OF, OTHER, AllocationRecord
from ..stun import Address
from . import segments
from .fast_path import FastPath, Route
from .mmsg import HEADER, SLOTS, STRIDE
from .udp import BUFFER, Arrive, Receive, address_of, bind_udp

__all__ = ["ChannelSocket", "ClientSocket"]

BATCHES = 4
"""Rounds of one socket before it is the turn of others."""
ALONE = 32
"""Most datagrams that are read one by one before it is seen again if there are more at once."""
FEW = 3
"""Fewer datagrams than this at once cost less one by one."""
QUEUE = SLOTS // 2
"""Datagrams of one size in a queue that look like a flood."""
FLOOD = 512
"""So many of those, and hardly any others, before UDP_GRO may be worth its price for the others."""
MOST_STRAYS = BUFFER // 256
"""More datagrams than fit into the kernel's buffer of a socket, in which each takes twice as much at the least."""
Stray = Callable[[bytes, Address], None]
"""Takes a datagram of somebody else, which a socket got before it was connected, and its sender."""
_HEAD = struct.Struct(">HH")
_unpack, _pack = _HEAD.unpack_from, _HEAD.pack_into


class Connected(ABC):
    """Raises `OSError` when there can be no such socket."""

    __slots__ = (
        *(
            "_alone",
            "_buffer",
            "_fast_path",
            "_flood",
            "_loop",
            "_pause",
            "_receive_into",
            "_record",
            "_room",
        ),
        *("_route", "_segmented", "_view", "descriptor", "socket"),
    )

    offset: int
    """Offset in a slot of the batch at which a datagram is received."""

    def __init__(
        self, fast_path: FastPath, bind: Address, remote: Address, record: AllocationRecord, stray: Stray
    ) -> None:
        batch = fast_path.batch
        self._fast_path = fast_path
        self._loop = fast_path.loop
        self._buffer = batch.buffer
        self._view = batch.view
        self._record = record
        self._room = batch.room_for_payload if self.offset else batch.room
        self._route: Route | None = None
        """That was used last."""
        self._pause = 1
        """Datagrams, and one more, that are read one by one when there are next too few for a batch."""
        self._alone = 0
        """Of those, what is left."""
        self._flood = 0
        self._segmented = False
        self.socket = bind_udp(bind, shared=True)
        try:
            self.socket.connect(remote)
        except OSError:
            self.socket.close()
            raise
        self.descriptor = self.socket.fileno()
        self._receive_into = self.socket.recv_into
        fast_path.loop.add(self.descriptor, self._ready)
        # Between bind and connect the kernel may have put datagrams of anybody here.
        with suppress(OSError):
            for _ in range(MOST_STRAYS):  # what comes later is the remote end's, who must not keep us here
                data, name = self.socket.recvfrom(65535)
                stray(data, address_of(name))

    def close(self) -> None:
        self._fast_path.loop.remove(self.descriptor)
        self.socket.close()

    @property
    def closed(self) -> bool:
        return self.socket.fileno() < 0

    @abstractmethod
    def _ready(self, _events: int) -> None:
        """Read one datagram and send it on, or call `_read_batches` when it is its turn.

        Each kind of socket has all of it in one function: for a datagram that comes alone, the calls between the
        parts and attributes of two kinds at one place of the code would cost as much as the parts.
        """

    def _read_batches(self) -> None:
        batch = self._fast_path.batch
        vector = batch.into_payload if self.offset else batch.into_start
        read = 0
        for _ in range(BATCHES):
            if self._segmented:
                sizes, joined = batch.receive_joined(self.descriptor, vector)
            else:
                sizes, joined = batch.receive(self.descriptor, vector), None
            read += len(sizes)
            if joined is not None:
                self._some_joined(sizes, joined)
            elif len(sizes) == 1:
                self._one(sizes[0])
            elif sizes:
                self._several(sizes, 0)
            if self.closed:  # a Refresh of LIFETIME 0 was among them
                return
            if not self._segmented:
                self._watch_for_flood(sizes)
            if len(sizes) < SLOTS:
                break
        if read >= FEW:
            self._pause = 1
        elif not self._segmented:
            # A burst may be on its way: there is no first pause, and the next ones are short.
            self._alone = self._pause - 1
            self._pause = min(2 * self._pause, ALONE)

    def _some_joined(self, sizes: list[int], joined: list[int]) -> None:
        """Some slots hold several datagrams of `joined` bytes each, the last one perhaps shorter."""
        for slot, (size, segment) in enumerate(zip(sizes, joined, strict=True)):
            if segment:
                self._joined(slot * STRIDE, size, segment)
            else:
                self._several([size], slot)
            if self.closed:
                return

    def _watch_for_flood(self, sizes: list[int]) -> None:
        if len(sizes) >= QUEUE and len(set(sizes)) == 1:
            self._flood += len(sizes)
        else:
            self._flood = max(0, self._flood - 8 * len(sizes))
        if self._flood >= FLOOD:
            self._segmented = segments.join_received(self.socket)

    def _send_one(self, route: Route, size: int) -> None:
        """Send the payload in the first slot on."""
        batch, header = self._fast_path.batch, route.header
        kind = CLASS_OF[batch.buffer[HEADER]] if size else OTHER
        route.packets[kind] += 1
        route.volume[kind] += size
        if route.also is not None:
            route.also.add(kind, 1, size)
        if header is None:
            data = batch.view[HEADER : HEADER + size]
        else:
            _HEAD.pack_into(batch.buffer, 0, header, size)
            data = batch.view[: HEADER + size]
        try:
            route.send(data)
        except OSError:
            self._send_again(route, data, size)

    def _send_again(self, route: Route, data: memoryview, size: int) -> None:
        if not segments.send_one(route.outlet, data):
            self._record.drop("not_sent", size)

    def _send_run(self, route: Route, sizes: list[int], first: int) -> None:
        """Send payloads of these sizes on, which lie in the slots from `first` on, equal neighbours together."""
        if len(sizes) < FEW:
            self._send_unequal(route, sizes, first)
            return
        runs = [(sizes[0], len(sizes))]
        if sizes.count(sizes[0]) != len(sizes):
            runs = [(size, len(list(equal))) for size, equal in groupby(sizes)]
        unequal: list[int] = []
        for size, count in runs:
            if count < FEW:
                unequal += [size] * count
                continue
            if unequal:
                self._send_unequal(route, unequal, first)
                first += len(unequal)
                unequal = []
            self._send_equal(route, first, count, size)
            first += count
        if unequal:
            self._send_unequal(route, unequal, first)

    def _send_unequal(self, route: Route, sizes: Sequence[int], first: int) -> None:
        batch, header = self._fast_path.batch, route.header
        buffer = batch.buffer
        start, end = first * STRIDE, (first + len(sizes)) * STRIDE
        self._count(route, buffer[start + HEADER : end : STRIDE], sizes)
        vector, more = (batch.from_payload, 0) if header is None else (batch.from_start, HEADER)
        for slot, size in enumerate(sizes, first):
            if header is not None:
                _HEAD.pack_into(buffer, slot * STRIDE, header, size)
            vector.sizes[2 * slot + 1] = size + more
        unsent = batch.send(route.descriptor, vector, first, first + len(sizes))
        if unsent:
            self._record.drop("not_sent", sum(sizes[-unsent:]), unsent)

    def _send_equal(self, route: Route, first: int, count: int, size: int) -> None:
        """Send `count` payloads of `size` bytes on, which lie in the slots from `first` on."""
        batch, header, stop = self._fast_path.batch, route.header, first + count
        self._count_equal(route, batch.buffer[first * STRIDE + HEADER : stop * STRIDE : STRIDE], size)
        vector, length = batch.from_payload, size
        if header is not None:
            batch.heads[first:stop] = array("I", _HEAD.pack(header, size)) * count
            vector, length = batch.from_start, HEADER + size
        unsent = batch.send_equal(route.descriptor, vector, first, stop, length)
        if unsent:
            self._record.drop("not_sent", unsent * size, unsent)

    def _send_segments(self, route: Route, start: int, step: int, count: int, size: int) -> None:
        """Send `count` payloads of `size` bytes on, which begin every `step` bytes from `start` of the buffer on."""
        batch = self._fast_path.batch
        places = range(start, start + count * step, step)
        self._count_equal(route, batch.buffer[start : places.stop : step], size)
        head = b"" if route.header is None else _HEAD.pack(route.header, size)
        unsent = segments.send(route.outlet, [batch.view[at : at + size] for at in places], head)
        if unsent:
            self._record.drop("not_sent", unsent * size, unsent)

    @staticmethod
    def _count_equal(route: Route, first_bytes: bytearray, size: int) -> None:
        """Count payloads of one size: the first byte of each tells its class, if it has one."""
        kinds, number = first_bytes.translate(CLASS_OF), len(first_bytes)
        kind = kinds[0] if size else OTHER
        if size and kinds.count(kind) != number:
            Connected._count(route, first_bytes, [size] * number)
            return
        route.packets[kind] += number
        route.volume[kind] += number * size
        if route.also is not None:
            route.also.add(kind, number, number * size)

    @staticmethod
    def _count(route: Route, first_bytes: bytearray, sizes: Sequence[int]) -> None:
        """The same of payloads of any sizes."""
        for kind, size in zip(first_bytes.translate(CLASS_OF), sizes, strict=True):
            place = kind if size else OTHER
            route.packets[place] += 1
            route.volume[place] += size
            if route.also is not None:
                route.also.add(place, 1, size)

    @abstractmethod
    def _one(self, size: int) -> None:
        """A datagram lies in the first slot."""

    @abstractmethod
    def _several(self, sizes: list[int], first: int) -> None:
        """Datagrams of these sizes lie in the slots from `first` on."""

    @abstractmethod
    def _joined(self, start: int, size: int, segment: int) -> None:
        """Datagrams of `segment` bytes, the last one perhaps shorter, lie one after the other in the slot at
        `start`."""


class ClientSocket(Connected):
    """The connected socket of a client with an allocation."""

    __slots__ = ("_allocation", "_five_tuple", "_receive")

    offset = 0

    def __init__(
        self, fast_path: FastPath, bind: Address, allocation: Allocation, receive: Receive, stray: Stray
    ) -> None:
        self._allocation = allocation
        self._five_tuple = allocation.five_tuple
        self._receive = receive
        super().__init__(fast_path, bind, allocation.five_tuple.client, allocation.record, stray)

    def send(self, data: bytes) -> None:
        if not segments.send_one(self.socket, data):
            self._record.drop("not_sent", len(data))

    def _ready(self, _events: int) -> None:
        if not self._alone:
            self._read_batches()
            return
        self._alone -= 1
        try:
            size = self._receive_into(self._room)
        except OSError:
            return  # nothing there, or an ICMP error that an earlier datagram caused
        buffer, route = self._buffer, self._route
        number, length = _unpack(buffer)
        if (
            route is None
            or route.number != number
            or route.until <= self._loop.now
            or not 0 < length <= size - HEADER
        ):
            self._one(size)
            return
        kind = CLASS_OF[buffer[HEADER]]
        route.packets[kind] += 1
        route.volume[kind] += length
        if route.header is None:
            data = self._view[HEADER : HEADER + length]
        else:
            _pack(buffer, 0, route.header, length)
            data = self._view[: HEADER + length]
        if route.also is not None:
            route.also.add(kind, 1, length)
        try:
            route.send(data)
        except OSError:
            self._send_again(route, data, length)

    def _route_of(self, number: int) -> Route | None:
        """None: `Turn` has to look at it."""
        fast, route = self._fast_path, self._route
        if route is None or route.number != number or route.until <= fast.loop.now:
            channel = self._allocation.channels.get(number)
            route = self._route = None if channel is None else fast.route_to_peer(channel)
        return route

    def _to_turn(self, start: int, size: int) -> None:
        self._receive(self._five_tuple, bytes(self._fast_path.batch.view[start : start + size]))

    def _one(self, size: int) -> None:
        number, length = _HEAD.unpack_from(self._fast_path.batch.buffer)
        route = self._route_of(number) if HEADER + length <= size else None
        if route is None:
            self._to_turn(0, size)
        else:
            self._send_one(route, length)

    def _several(self, sizes: list[int], first: int) -> None:
        if len(sizes) > FEW and self._all_alike(sizes, first):
            return
        buffer = self._fast_path.batch.buffer
        run: list[int] = []
        route: Route | None = None
        for slot, size in enumerate(sizes, first):
            number, length = _HEAD.unpack_from(buffer, slot * STRIDE)
            whole = HEADER + length <= size
            if run and route is not None and not (whole and number == route.number):
                self._send_run(route, run, slot - len(run))
                run = []
            if not run:
                route = self._route_of(number) if whole else None
            if route is None:
                self._to_turn(slot * STRIDE, size)
            else:
                run.append(length)
        if run and route is not None:
            self._send_run(route, run, first + len(sizes) - len(run))

    def _all_alike(self, sizes: list[int], first: int) -> bool:
        """Send them on in one piece if they have one size and one header. False: they have not, nothing was done."""
        batch, count = self._fast_path.batch, len(sizes)
        heads = batch.heads[first : first + count].tolist()
        if sizes.count(sizes[0]) != count or heads.count(heads[0]) != count:
            return False
        number, length = _HEAD.unpack_from(batch.buffer, first * STRIDE)
        route = self._route_of(number) if HEADER + length <= sizes[0] else None
        if route is not None:
            self._send_equal(route, first, count, length)
        return route is not None

    def _joined(self, start: int, size: int, segment: int) -> None:
        buffer = self._fast_path.batch.buffer
        stop = start + size
        while start < stop:
            number, length = _HEAD.unpack_from(buffer, start)
            end = min(start + segment, stop)
            route = self._route_of(number) if start + HEADER + length <= end else None
            if route is None:
                self._to_turn(start, end - start)
                start = end
            else:
                # those whose last byte is there too, as far as their headers are the same
                count = (stop - start - HEADER - length) // segment + 1
                columns = [buffer[start + at : start + count * segment : segment] for at in range(HEADER)]
                count = min(len(column) - len(column.lstrip(column[:1])) for column in columns)
                self._send_segments(route, start + HEADER, segment, count, length)
                start += count * segment


class ChannelSocket(Connected):
    """A socket on a relay's port that is connected to the peer of a channel."""

    __slots__ = ("_arrive", "_channel")

    offset = HEADER

    def __init__(
        self, fast_path: FastPath, bind: Address, channel: Channel, arrive: Arrive, stray: Stray
    ) -> None:
        self._channel = channel
        self._arrive = arrive
        super().__init__(fast_path, bind, channel.peer, channel.allocation.record, stray)

    def _ready(self, _events: int) -> None:
        if not self._alone:
            self._read_batches()
            return
        self._alone -= 1
        try:
            size = self._receive_into(self._room)
        except OSError:
            return  # nothing there, or an ICMP error that an earlier datagram caused
        route = self._route
        if route is None or route.until <= self._loop.now or not size:
            self._one(size)
            return
        buffer = self._buffer
        kind = CLASS_OF[buffer[HEADER]]
        route.packets[kind] += 1
        route.volume[kind] += size
        _pack(buffer, 0, route.number, size)
        try:
            route.send(self._view[: HEADER + size])
        except OSError:
            self._send_again(route, self._view[: HEADER + size], size)

    def _route_to_client(self) -> Route | None:
        """None: `Turn` has to look at it."""
        fast, route = self._fast_path, self._route
        if route is None or route.until <= fast.loop.now:
            route = self._route = fast.route_to_client(self._channel)
        return route

    def _to_turn(self, start: int, size: int) -> None:
        channel = self._channel
        data = bytes(self._fast_path.batch.view[start : start + size])
        self._arrive(channel.relay.address, channel.peer, data)

    def _one(self, size: int) -> None:
        route = self._route_to_client()
        if route is None:
            self._to_turn(HEADER, size)
        else:
            self._send_one(route, size)

    def _several(self, sizes: list[int], first: int) -> None:
        route = self._route_to_client()
        if route is not None:
            self._send_run(route, sizes, first)
            return
        for slot, size in enumerate(sizes, first):
            self._to_turn(slot * STRIDE + HEADER, size)

    def _joined(self, start: int, size: int, segment: int) -> None:
        route = self._route_to_client()
        whole, rest = divmod(size, segment)
        start += HEADER
        end = start + whole * segment
        if route is not None:
            self._send_segments(route, start, segment, whole, segment)
            if rest:
                self._send_segments(route, end, rest, 1, rest)
            return
        for each in range(start, end, segment):
            self._to_turn(each, segment)
        if rest:
            self._to_turn(end, rest)
