"""UDP sockets that hear everybody: listeners, and one per relay. The others are in `connected`."""

from __future__ import annotations

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
from .allocations import FiveTuple
from .settings import Transport, TurnSettings
from .stun import Address

if TYPE_CHECKING:
    from .shell import Shell

__all__ = ["RelayTable", "UdpListener", "address_of", "bind_udp"]

BUFFER = 1 << 20
"""Of each socket in the kernel; the system's rmem_max may allow less."""
AT_ONCE = 64
"""Datagrams of one socket before it is the turn of others."""


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


class UdpListener:
    """Where clients come first. What has an allocation gets a socket of its own, as long as there are descriptors."""

    def __init__(self, shell: Shell, bound: socket) -> None:
        prepare(bound)
        self.socket = bound
        self.address = address_of(bound.getsockname())
        self._shell = shell
        shell.loop.add(bound.fileno(), self._ready)

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
        path = FiveTuple(Transport.UDP, client, self.address)
        self._shell.perform(self._shell.turn.receive(path, data, self._shell.loop.now))

    def send(self, data: bytes, client: Address) -> None:
        with suppress(OSError):
            self.socket.sendto(data, client)

    def close(self) -> None:
        self._shell.loop.remove(self.socket.fileno())
        self.socket.close()


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
        for _ in range(AT_ONCE):
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
