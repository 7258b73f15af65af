"""UDP sockets: listeners, one connected socket per client, one per relay, and one connected socket per channel.

Connected sockets are where the kernel sorts by sender, so that a batch has one way to go. Their fast path knows
only data of living channels; `Turn` gets everything else, one datagram at a time, and the counters agree.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from contextlib import suppress
from socket import (
    AF_INET,
    AF_INET6,
    IPPROTO_IPV6,
    IPV6_V6ONLY,
    SO_RCVBUF,
    SO_REUSEPORT,
    SO_SNDBUF,
    SOCK_DGRAM,
    SOL_SOCKET,
    socket,
)
from typing import TYPE_CHECKING, Any

from .actions import ToPeer
from .allocations import Allocation, Channel, FiveTuple
from .ledger import CLASS_OF, OTHER
from .mmsg import HEADER, SLOTS, STRIDE
from .settings import Transport, TurnSettings
from .stun import Address

if TYPE_CHECKING:
    from .shell import Shell

__all__ = ["ChannelSocket", "ClientSocket", "RelayTable", "UdpListener", "Way", "address_of", "bind_udp"]

BUFFER = 1 << 20
"""Of each socket in the kernel; the system's rmem_max may allow less."""
BATCHES = 4
"""Rounds of one socket before it is the turn of others."""
_HEAD = struct.Struct(">HH")


def bind_udp(address: Address, *, shared: bool = False) -> socket:
    """A UDP socket on `address`. Raises `OSError`.

    The first one of an address is bound without SO_REUSEPORT: a port that any other program has, be it another
    TURN server of the same user, is an error. Only afterwards it agrees to sharing with sockets that are `shared`.
    """
    result = socket(AF_INET6 if address.family == 2 else AF_INET, SOCK_DGRAM)
    try:
        if address.family == 2:
            result.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 1)
        if shared:
            result.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)
        result.bind(address)
        prepare(result)
    except OSError:
        result.close()
        raise
    return result


def prepare(bound: socket) -> None:
    bound.setblocking(False)
    bound.setsockopt(SOL_SOCKET, SO_REUSEPORT, 1)
    bound.setsockopt(SOL_SOCKET, SO_RCVBUF, BUFFER)
    bound.setsockopt(SOL_SOCKET, SO_SNDBUF, BUFFER)


def address_of(name: Any) -> Address:
    """From a socket name of either family."""
    return Address(name[0].partition("%")[0], name[1])


class Way:
    """Where data of one channel goes: looked up once, good until something changes or its time is over.

    With `back` the descriptor is the socket of another client of ours, whose relay is the peer, and who knows the
    sender as that channel.
    """

    __slots__ = ("back", "changes", "channel", "descriptor", "number", "until")

    def __init__(
        self, changes: int, until: float, channel: Channel, descriptor: int, back: Channel | None = None
    ) -> None:
        self.changes = changes
        self.until = until
        self.channel = channel
        self.number = channel.number
        self.descriptor = descriptor
        self.back = back


class UdpListener:
    """Where clients come first. What has an allocation gets a socket of its own, as long as there are descriptors."""

    def __init__(self, shell: Shell, bound: socket) -> None:
        prepare(bound)
        self.socket = bound
        self.address = address_of(bound.getsockname())
        self._shell = shell
        shell.loop.add(bound.fileno(), self._ready)

    def _ready(self, _events: int) -> None:
        for _ in range(SLOTS):
            try:
                data, name = self.socket.recvfrom(65535)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error for an earlier reply
            self.received(data, address_of(name))

    def received(self, data: bytes, client: Address) -> None:
        path = FiveTuple(Transport.UDP, client, self.address)
        self._shell.perform(self._shell.turn.receive(path, data, self._shell.loop.now))

    def send(self, data: bytes, client: Address) -> None:
        with suppress(OSError):
            self.socket.sendto(data, client)

    def close(self) -> None:
        self._shell.loop.remove(self.socket.fileno())
        self.socket.close()


class ClientSocket:
    """The connected socket of a client with an allocation. Raises `OSError` when there can be none."""

    __slots__ = ("_allocation", "_closed", "_path", "_shell", "_way", "descriptor", "socket")

    def __init__(self, shell: Shell, listener: UdpListener, allocation: Allocation) -> None:
        self._shell = shell
        self._allocation = allocation
        self._path = allocation.path
        self._closed = False
        self._way: Way | None = None
        """Of the channel that was used last."""
        self.socket = bind_udp(listener.address, shared=True)
        try:
            self.socket.connect(self._path.client)
        except OSError:
            self.socket.close()
            raise
        self.descriptor = self.socket.fileno()
        shell.loop.add(self.descriptor, self._ready)
        # Between bind and connect the kernel may have put datagrams of anybody here.
        with suppress(OSError):
            while True:
                data, name = self.socket.recvfrom(65535)
                shell.waiting.append((listener, data, address_of(name)))

    def send(self, data: bytes) -> None:
        try:
            self.socket.send(data)
        except OSError as error:
            if not isinstance(error, BlockingIOError):
                with suppress(OSError):  # an ICMP error of an earlier datagram was reported and is gone
                    self.socket.send(data)
                    return
            self._allocation.record.drop("not_sent", len(data))

    def close(self) -> None:
        self._closed = True
        self._shell.loop.remove(self.descriptor)
        self.socket.close()

    def _ready(self, _events: int) -> None:
        batch = self._shell.batch
        for _ in range(BATCHES):
            sizes = batch.receive(self.descriptor, batch.into_start)
            if sizes:
                self._forward(sizes)
            if len(sizes) < SLOTS or self._closed:  # a Refresh of LIFETIME 0 was among them
                return

    def _forward(self, sizes: list[int]) -> None:
        shell, buffer = self._shell, self._shell.batch.buffer
        slot, stop = 0, len(sizes)
        while slot < stop:
            number = buffer[slot * STRIDE] << 8 | buffer[slot * STRIDE + 1] if sizes[slot] >= HEADER else 0
            way = self._way
            if (
                way is None
                or way.number != number
                or way.changes != shell.changes
                or way.until <= shell.loop.now
            ):
                channel = self._allocation.channels.get(number)
                way = self._way = None if channel is None else shell.way_out(channel)
            start = slot
            if way is not None:
                slot = self._forward_run(way, sizes, slot)
            if slot == start:
                at = slot * STRIDE
                data = bytes(buffer[at : at + sizes[slot]])
                shell.perform(shell.turn.receive(self._path, data, shell.loop.now))
                slot += 1

    def _forward_run(self, way: Way, sizes: list[int], start: int) -> int:
        """Send the slots from `start` on that are data of one channel; returns the first one that is not."""
        batch, back, number = self._shell.batch, way.back, way.number
        buffer = batch.buffer
        vector = batch.from_payload if back is None else batch.from_start
        header = 0 if back is None else HEADER
        lengths = vector.sizes
        tally = way.channel.flow.to_peer
        packets, volume = tally.packets, tally.bytes
        slot = start
        for size in sizes[start:]:
            at = slot * STRIDE
            if size < HEADER:
                break
            named, length = _HEAD.unpack_from(buffer, at)
            if named != number or length + HEADER > size:
                break
            kind = CLASS_OF[buffer[at + HEADER]] if length else OTHER
            packets[kind] += 1
            volume[kind] += length
            lengths[2 * slot + 1] = length + header
            if back is not None:
                _HEAD.pack_into(buffer, at, back.number, length)
                back.flow.to_client.packets[kind] += 1
                back.flow.to_client.bytes[kind] += length
            slot += 1
        unsent = batch.send(way.descriptor, vector, start, slot)
        if unsent:
            lost = sum(lengths[2 * each + 1] for each in range(slot - unsent, slot))
            self._allocation.record.drop("not_sent", lost, unsent)
        return slot


class RelaySocket:
    """The unconnected socket of a relay: for peers without a channel, and for Send."""

    def __init__(self, shell: Shell, bind: Address, relay: Address) -> None:
        """`bind` is where it listens, `relay` what clients are told. Raises `OSError`."""
        self.address = relay
        self._shell = shell
        self.socket = bind_udp(bind)
        shell.loop.add(self.socket.fileno(), self._ready)

    def send(self, payload: bytes, peer: Address) -> bool:
        """Whether the kernel took it."""
        try:
            self.socket.sendto(payload, peer)
        except BlockingIOError:
            return False
        except OSError:
            try:
                self.socket.sendto(payload, peer)  # an ICMP error of an earlier datagram is gone now
            except OSError:
                return False
        return True

    def close(self) -> None:
        self._shell.loop.remove(self.socket.fileno())
        self.socket.close()

    def _ready(self, _events: int) -> None:
        shell = self._shell
        for _ in range(SLOTS):
            try:
                data, name = self.socket.recvfrom(65535)
            except BlockingIOError:
                return
            except OSError:
                continue
            shell.perform(shell.turn.arrive(self.address, address_of(name), data, shell.loop.now))


class RelayTable:
    """The relay sockets of a server, as `Turn` wants them (`RelaySockets`)."""

    def __init__(self, shell: Shell, settings: TurnSettings, hosts: Mapping[int, str]) -> None:
        """`hosts` are the addresses to bind, by family; the settings know the ones that clients are told."""
        self._shell = shell
        self._settings = settings
        self._hosts = hosts
        self._sockets: dict[Address, RelaySocket] = {}

    def open(self, family: int, port: int) -> bool:
        relay = self._told(family, port)
        try:
            self._sockets[relay] = RelaySocket(self._shell, self.bound(relay), relay)
        except OSError:
            return False
        return True

    def close(self, family: int, port: int) -> None:
        self._sockets.pop(self._told(family, port)).close()

    def close_all(self) -> None:
        for each in self._sockets.values():
            each.close()
        self._sockets.clear()

    def send(self, action: ToPeer) -> bool:
        """Whether the kernel took it."""
        sender = self._sockets.get(action.relay)
        return sender is not None and sender.send(action.payload, action.peer)

    def bound(self, relay: Address) -> Address:
        """Where the sockets of a relay are bound."""
        return Address(self._hosts[relay.family], relay.port)

    def _told(self, family: int, port: int) -> Address:
        host = self._settings.relay_host(family)
        assert host is not None
        return Address(host, port)


class ChannelSocket:
    """A socket on a relay's port that is connected to the peer of a channel. Raises `OSError`."""

    __slots__ = ("_channel", "_shell", "_way", "descriptor", "socket")

    def __init__(self, shell: Shell, bind: Address, channel: Channel) -> None:
        self._shell = shell
        self._channel = channel
        self._way: Way | None = None
        self.socket = bind_udp(bind, shared=True)
        try:
            self.socket.connect(channel.peer)
        except OSError:
            self.socket.close()
            raise
        self.descriptor = self.socket.fileno()
        shell.loop.add(self.descriptor, self._ready)
        with suppress(OSError):
            while True:
                data, name = self.socket.recvfrom(65535)
                shell.arrived.append((channel.relay.address, address_of(name), data))

    def close(self) -> None:
        self._shell.loop.remove(self.descriptor)
        self.socket.close()

    def _ready(self, _events: int) -> None:
        shell, batch = self._shell, self._shell.batch
        for _ in range(BATCHES):
            sizes = batch.receive(self.descriptor, batch.into_payload)
            if not sizes:
                return
            way = self._way
            if way is None or way.changes != shell.changes or way.until <= shell.loop.now:
                way = self._way = shell.way_in(self._channel)
            if way is None:
                channel, turn = self._channel, shell.turn
                for data in batch.datagrams(sizes, HEADER):
                    shell.perform(turn.arrive(channel.relay.address, channel.peer, data, shell.loop.now))
            else:
                self._forward(way, sizes)
            if len(sizes) < SLOTS:
                return

    def _forward(self, way: Way, sizes: list[int]) -> None:
        batch, number = self._shell.batch, way.number
        buffer, vector = batch.buffer, batch.from_start
        lengths = vector.sizes
        tally = self._channel.flow.to_client
        packets, volume = tally.packets, tally.bytes
        for slot, size in enumerate(sizes):
            at = slot * STRIDE
            _HEAD.pack_into(buffer, at, number, size)
            kind = CLASS_OF[buffer[at + HEADER]] if size else OTHER
            packets[kind] += 1
            volume[kind] += size
            lengths[2 * slot + 1] = size + HEADER
        unsent = batch.send(way.descriptor, vector, 0, len(sizes))
        if unsent:
            self._channel.allocation.record.drop("not_sent", sum(sizes[-unsent:]), unsent)
