"""UDP sockets that hear everybody: listeners, and one per relay. The others are in `connected`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from socket import (
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPV6_V6ONLY,
    SO_RCVBUF,
    SO_REUSEPORT,
    SO_SNDBUF,
    SOCK_DGRAM,
    SOL_SOCKET,
    socket,
)
from typing import Any

from ..actions import ToPeer
from ..allocations import FiveTuple
from ..settings import Transport, TurnSettings
from ..stun import Address, AddressFamily
from .epoll import EpollLoop

__all__ = ["Arrive", "Receive", "RelayTable", "UdpListener", "address_of", "bind_udp"]

Receive = Callable[[FiveTuple, bytes], None]
"""Takes one datagram, or one frame of a stream, from a client."""
Arrive = Callable[[Address, Address, bytes], None]
"""Takes one datagram at a relay's address, from a peer: relay, peer, payload."""

MTU_DISCOVER = {
    AddressFamily.IPV4: (IPPROTO_IP, 10, 1),
    AddressFamily.IPV6: (IPPROTO_IPV6, 23, 1),
}
"""Level, number of IP_MTU_DISCOVER (IPV6_MTU_DISCOVER), and its value by default; ip(7), ipv6(7)."""
PROBE = 3
"""Value: never fragmented, whatever is known of the path. What does not even fit the link is EMSGSIZE."""
BUFFER = 1 << 20
"""Of each socket in the kernel; the system's rmem_max may allow less."""
AT_ONCE = 64
"""Datagrams of one socket before it is the turn of others."""


def bind_udp(address: Address, *, shared: bool = False) -> socket:
    """A UDP socket on `address`. Raises `OSError`.

    The first one of an address is bound without SO_REUSEPORT: a port that any other program has, be it another
    TURN server of the same user, is an error. Only afterwards it agrees to sharing with sockets that are `shared`.
    """
    result = socket(address.family.socket_family, SOCK_DGRAM)
    try:
        if address.family is AddressFamily.IPV6:
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


class UdpListener:
    """Socket that clients come to first. Those with an allocation get their own, as long as there are descriptors."""

    def __init__(self, loop: EpollLoop, bound: socket, receive: Receive) -> None:
        prepare(bound)
        self.socket = bound
        self.address = address_of(bound.getsockname())
        self._loop = loop
        self._receive = receive
        loop.add(bound.fileno(), self._ready)

    def _ready(self, _events: int) -> None:
        for _ in range(AT_ONCE):
            try:
                data, name = self.socket.recvfrom(65535)
            except BlockingIOError:
                return
            except OSError:
                continue  # an ICMP error for an earlier reply
            self.received(data, address_of(name))

    def received(self, data: bytes, client: Address) -> None:
        self._receive(FiveTuple(Transport.UDP, client, self.address), data)

    def send(self, data: bytes, client: Address) -> None:
        with suppress(OSError):
            self.socket.sendto(data, client)

    def close(self) -> None:
        self._loop.remove(self.socket.fileno())
        self.socket.close()


class RelaySocket:
    """The unconnected socket of a relay: for peers without a channel, and for Send."""

    def __init__(self, loop: EpollLoop, bind: Address, relay: Address, arrive: Arrive) -> None:
        """`bind` is where it listens, `relay` what clients are told. Raises `OSError`."""
        self.address = relay
        self._loop = loop
        self._arrive = arrive
        self.socket = bind_udp(bind)
        loop.add(self.socket.fileno(), self._ready)

    def send(self, payload: bytes, peer: Address) -> bool:
        """Send a datagram; False when the kernel did not take it."""
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

    def send_whole(self, payload: bytes, peer: Address) -> bool:
        """Send a datagram that nobody may fragment; False also when it does not fit the link."""
        level, option, usual = MTU_DISCOVER[peer.family]
        self.socket.setsockopt(level, option, PROBE)
        try:
            return self.send(payload, peer)
        finally:
            self.socket.setsockopt(level, option, usual)

    def close(self) -> None:
        self._loop.remove(self.socket.fileno())
        self.socket.close()

    def _ready(self, _events: int) -> None:
        for _ in range(AT_ONCE):
            try:
                data, name = self.socket.recvfrom(65535)
            except BlockingIOError:
                return
            except OSError:
                continue
            self._arrive(self.address, address_of(name), data)


class RelayTable:
    """The relay sockets of a server, as `Turn` wants them (`RelaySockets`)."""

    def __init__(
        self, loop: EpollLoop, settings: TurnSettings, hosts: Mapping[AddressFamily, str], arrive: Arrive
    ) -> None:
        """`hosts` are the addresses to bind, by family; the settings know the ones that clients are told."""
        self._loop = loop
        self._arrive = arrive
        self._settings = settings
        self._hosts = hosts
        self._sockets: dict[Address, RelaySocket] = {}

    def open(self, family: AddressFamily, port: int) -> bool:
        relay = self._told(family, port)
        try:
            self._sockets[relay] = RelaySocket(self._loop, self.bound(relay), relay, self._arrive)
        except OSError:
            return False
        return True

    def close(self, family: AddressFamily, port: int) -> None:
        self._sockets.pop(self._told(family, port)).close()

    def close_all(self) -> None:
        for each in self._sockets.values():
            each.close()
        self._sockets.clear()

    def send(self, action: ToPeer) -> bool:
        """Send a datagram; False when the kernel did not take it."""
        sender = self._sockets.get(action.relay)
        if sender is None:
            return False
        send = sender.send_whole if action.dont_fragment else sender.send
        return send(action.payload, action.peer)

    def bound(self, relay: Address) -> Address:
        """Address to which the sockets of a relay are bound."""
        return Address(self._hosts[relay.family], relay.port)

    def _told(self, family: AddressFamily, port: int) -> Address:
        host = self._settings.relay_host(family)
        assert host is not None
        return Address(host, port)
