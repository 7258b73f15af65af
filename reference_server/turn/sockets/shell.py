"""The part between `Turn` and the kernel: owns the sockets and does what `Turn` asks for."""

from __future__ import annotations

import socket
import ssl
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from ..actions import Action, AllocationEnded, AllocationMade, ChannelEnded, ChannelMade, ToClient, ToPeer
from ..allocations import Allocation, Channel, FiveTuple
from ..core import Strategies, Turn
from ..ledger import TurnLedger
from ..settings import Listen, Transport, TurnSettings
from ..stun import Address, AddressFamily
from .connected import ChannelSocket, ClientSocket
from .epoll import EpollLoop
from .fast_path import FastPath
from .streams import StreamListener, Streams
from .udp import RelayTable, UdpListener

__all__ = ["Shell"]

BACKLOG = 512


class Shell:
    """The sockets of one server, served by one thread."""

    def __init__(
        self,
        settings: TurnSettings,
        strategies: Strategies,
        ledger: TurnLedger,
        *,
        listeners: Mapping[Listen, socket.socket],
        relay_hosts: Mapping[AddressFamily, str],
        tls: ssl.SSLContext | None,
    ) -> None:
        """`listeners` are bound sockets, `relay_hosts` where relays of each address family are bound."""
        self.loop = EpollLoop(after=self._after_turn)
        self._relays = RelayTable(self.loop, settings, relay_hosts, self._arrive)
        self._turn = Turn(settings, strategies, self._relays, ledger)
        self._fast_path = FastPath(self.loop, self._turn)
        self._streams = Streams(
            self.loop,
            settings.limits,
            ledger,
            receive=self._receive,
            disconnected=self._disconnected,
        )
        self._strays: deque[Callable[[], None]] = deque()
        """Work for datagrams that a socket got before it was connected to somebody else."""
        self._clients: dict[Allocation, ClientSocket] = {}
        self._channels: dict[Channel, ChannelSocket] = {}
        self._udp: dict[Address, UdpListener] = {}
        self._stream_listeners: list[StreamListener] = []
        for listen, bound in listeners.items():
            if listen.transport is Transport.UDP:
                listener = UdpListener(self.loop, bound, self._receive)
                self._udp[listener.address] = listener
            else:
                bound.listen(BACKLOG)
                context = tls if listen.transport is Transport.TLS else None
                self._stream_listeners.append(StreamListener(self._streams, bound, listen.transport, context))

    def start(self) -> None:
        self.loop.start()

    def close(self) -> None:
        """Stop the thread and close every socket."""
        self.loop.call(self._close_sockets)
        self.loop.stop()

    def _close_sockets(self) -> None:
        self._streams.close_all()
        for client in self._clients.values():
            client.close()
        for channel in self._channels.values():
            channel.close()
        self._relays.close_all()
        for udp_listener in self._udp.values():
            udp_listener.close()
        for stream_listener in self._stream_listeners:
            stream_listener.close()

    # What the sockets report

    def _receive(self, five_tuple: FiveTuple, data: bytes) -> None:
        self._perform(self._turn.receive(five_tuple, data, self.loop.now))

    def _arrive(self, relay: Address, peer: Address, payload: bytes) -> None:
        self._perform(self._turn.arrive(relay, peer, payload, self.loop.now))

    def _disconnected(self, five_tuple: FiveTuple) -> None:
        self._perform(self._turn.disconnected(five_tuple, self.loop.now))

    # Actions

    def _perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case ToClient():
                    self._to_client(action)
                case ToPeer():
                    if not self._relays.send(action):
                        self._not_sent(action)
                case AllocationMade():
                    self._fast_path.changed()
                    self._allocation_made(action.allocation)
                case AllocationEnded():
                    self._fast_path.changed()
                    self._allocation_ended(action.allocation)
                case ChannelMade():
                    self._fast_path.changed()
                    self._channel_made(action.channel)
                case ChannelEnded():
                    self._fast_path.changed()
                    self._channel_ended(action.channel)

    def _to_client(self, action: ToClient) -> None:
        five_tuple = action.five_tuple
        allocation = self._turn.allocations.by_five_tuple.get(five_tuple)
        if five_tuple.transport is not Transport.UDP:
            stream = self._streams.get(five_tuple)
            if (stream is None or not stream.write(action.data)) and allocation is not None:
                allocation.record.drop("slow_client", len(action.data))
            return
        client = None if allocation is None else self._clients.get(allocation)
        if client is not None:
            client.send(action.data)
        else:
            self._udp[five_tuple.server].send(action.data, five_tuple.client)

    def _not_sent(self, action: ToPeer) -> None:
        relay = self._turn.allocations.by_relay.get(action.relay)
        if relay is not None:
            relay.allocation.record.drop("not_sent", len(action.payload))

    def _allocation_made(self, allocation: Allocation) -> None:
        five_tuple = allocation.five_tuple
        if five_tuple.transport is not Transport.UDP:
            return
        listener = self._udp[five_tuple.server]

        def stray(data: bytes, sender: Address) -> None:
            self._strays.append(lambda: listener.received(data, sender))

        with suppress(OSError):  # without descriptors the listener's socket has to do
            client = ClientSocket(self._fast_path, listener.address, allocation, self._receive, stray)
            self._clients[allocation] = client
            self._fast_path.clients[allocation] = client.socket

    def _allocation_ended(self, allocation: Allocation) -> None:
        if client := self._clients.pop(allocation, None):
            del self._fast_path.clients[allocation]
            client.close()
        if stream := self._streams.get(allocation.five_tuple):
            stream.idle_since = self.loop.now

    def _channel_made(self, channel: Channel) -> None:
        """Peers that are relays of ours, or that only such a relay would make reachable, need no socket."""
        if not channel.reachable or channel.peer in self._turn.allocations.by_relay:
            return
        relay = channel.relay.address

        def stray(data: bytes, sender: Address) -> None:
            self._strays.append(lambda: self._arrive(relay, sender, data))

        with suppress(OSError):
            peer = ChannelSocket(self._fast_path, self._relays.bound(relay), channel, self._arrive, stray)
            self._channels[channel] = peer
            self._fast_path.peers[channel] = peer.socket

    def _channel_ended(self, channel: Channel) -> None:
        if peer := self._channels.pop(channel, None):
            del self._fast_path.peers[channel]
            peer.close()

    # Time

    def _after_turn(self) -> float | None:
        while self._strays:
            self._strays.popleft()()
        turn, now = self._turn, self.loop.now
        deadline = turn.next_deadline()
        if deadline is not None and deadline <= now:
            self._perform(turn.expire(now))
            deadline = turn.next_deadline()
        sweep = self._streams.after_turn(turn.allocations.by_five_tuple)
        if deadline is None or sweep is None:
            return sweep if deadline is None else deadline
        return min(deadline, sweep)
