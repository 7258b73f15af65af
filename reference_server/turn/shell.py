"""Everything between `Turn` and the kernel: owns the sockets and does what `Turn` asks for."""

from __future__ import annotations

import socket
import ssl
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from contextlib import suppress

from .actions import Action, AllocationEnded, AllocationMade, ChannelEnded, ChannelMade, ToClient, ToPeer
from .allocations import Allocation, Channel, FiveTuple, source_of
from .connected import ChannelSocket, ClientSocket, Way
from .epoll import EpollLoop
from .ledger import TurnLedger
from .mmsg import Batch
from .server import Strategies, Turn
from .settings import Listen, Transport, TurnSettings
from .streams import StreamClient, StreamListener
from .stun import Address
from .udp import RelayTable, UdpListener

__all__ = ["Shell"]

BACKLOG = 512
SWEEP = 1.0
"""Seconds between two looks for connections that are too slow."""


class Shell:
    """The sockets of one server, served by one thread."""

    def __init__(
        self,
        settings: TurnSettings,
        strategies: Strategies,
        ledger: TurnLedger,
        *,
        listeners: Mapping[Listen, socket.socket],
        relay_hosts: Mapping[int, str],
        tls: ssl.SSLContext | None,
    ) -> None:
        """`listeners` are bound sockets, `relay_hosts` where relays of each address family are bound."""
        self.loop = EpollLoop(deadline=self._deadline, after=self._after_turn)
        self._relays = RelayTable(self, settings, relay_hosts)
        self.turn = Turn(settings, strategies, self._relays, ledger)
        self.batch = Batch()
        self.streams: dict[FiveTuple, StreamClient] = {}
        self.unflushed: dict[StreamClient, None] = {}
        self.waiting: deque[tuple[UdpListener, bytes, Address]] = deque()
        """Datagrams of clients that a socket got before it was connected to another one."""
        self.arrived: deque[tuple[Address, Address, bytes]] = deque()
        """The same at relays: relay, peer, payload."""
        self.changes = 0
        """Counts whatever may make a `Way` wrong: relays, channels and sockets that come or go."""
        self._settings = settings
        self._clients: dict[Allocation, ClientSocket] = {}
        self._channels: dict[Channel, ChannelSocket] = {}
        self._of_source: Counter[str] = Counter()
        self._next_sweep = self.loop.now + SWEEP
        self._udp: dict[Address, UdpListener] = {}
        self._stream_listeners: list[StreamListener] = []
        for listen, bound in listeners.items():
            if listen.transport is Transport.UDP:
                listener = UdpListener(self, bound)
                self._udp[listener.address] = listener
            else:
                bound.listen(BACKLOG)
                context = tls if listen.transport is Transport.TLS else None
                self._stream_listeners.append(StreamListener(self, bound, listen.transport, context))

    def start(self) -> None:
        self.loop.start()

    def close(self) -> None:
        """Stop the thread and close every socket."""
        self.loop.call(self._close_sockets)
        self.loop.stop()

    def _close_sockets(self) -> None:
        for stream in list(self.streams.values()):
            stream.close()
        for client in self._clients.values():
            client.close()
        for channel in self._channels.values():
            channel.close()
        self._relays.close_all()
        for udp_listener in self._udp.values():
            udp_listener.close()
        for stream_listener in self._stream_listeners:
            stream_listener.close()

    # The fast path's questions

    def way_out(self, channel: Channel) -> Way | None:
        """How data of `channel` leaves; None: `Turn` has to look at it."""
        strategies = self.turn.strategies
        until = strategies.permissions.open_until(channel)
        if strategies.forwarding is not None or until <= self.loop.now:
            return None
        other = self.turn.allocations.by_relay.get(channel.peer)
        if other is None:
            outlet = self._channels.get(channel)
            if outlet is None:
                return None
            flow = channel.flow.to_peer
            return Way(self.changes, until, channel.number, outlet.socket, header=None, tally=flow)
        back = other.allocation.channel_of.get(channel.relay.address)
        client = self._clients.get(other.allocation)
        if back is None or client is None:
            return None
        until = min(until, strategies.permissions.open_until(back))
        if until <= self.loop.now:
            return None
        return Way(
            self.changes,
            until,
            channel.number,
            client.socket,
            header=back.number,
            tally=channel.flow.to_peer,
            also=back.flow.to_client,
        )

    def way_in(self, channel: Channel) -> Way | None:
        """How data from the peer of `channel` gets to the client; None: `Turn` has to look at it."""
        strategies = self.turn.strategies
        until = strategies.permissions.open_until(channel)
        client = self._clients.get(channel.allocation)
        if strategies.forwarding is not None or until <= self.loop.now or client is None:
            return None
        number, flow = channel.number, channel.flow.to_client
        return Way(self.changes, until, number, client.socket, header=number, tally=flow)

    # Actions

    def perform(self, actions: Iterable[Action]) -> None:
        for action in actions:
            match action:
                case ToClient():
                    self._to_client(action)
                case ToPeer():
                    if not self._relays.send(action):
                        self._not_sent(action)
                case AllocationMade():
                    self.changes += 1
                    self._allocation_made(action.allocation)
                case AllocationEnded():
                    self.changes += 1
                    self._allocation_ended(action.allocation)
                case ChannelMade():
                    self.changes += 1
                    self._channel_made(action.channel)
                case ChannelEnded():
                    self.changes += 1
                    if channel_socket := self._channels.pop(action.channel, None):
                        channel_socket.close()

    def _to_client(self, action: ToClient) -> None:
        path = action.path
        allocation = self.turn.allocations.by_path.get(path)
        if path.transport is not Transport.UDP:
            stream = self.streams.get(path)
            if (stream is None or not stream.write(action.data)) and allocation is not None:
                allocation.record.drop("slow_client", len(action.data))
            return
        client = None if allocation is None else self._clients.get(allocation)
        if client is not None:
            client.send(action.data)
        else:
            self._udp[path.server].send(action.data, path.client)

    def _not_sent(self, action: ToPeer) -> None:
        relay = self.turn.allocations.by_relay.get(action.relay)
        if relay is not None:
            relay.allocation.record.drop("not_sent", len(action.payload))

    def _allocation_made(self, allocation: Allocation) -> None:
        path = allocation.path
        if path.transport is Transport.UDP:
            with suppress(OSError):  # without descriptors the listener's socket has to do
                self._clients[allocation] = ClientSocket(self, self._udp[path.server], allocation)

    def _allocation_ended(self, allocation: Allocation) -> None:
        if client := self._clients.pop(allocation, None):
            client.close()
        if stream := self.streams.get(allocation.path):
            stream.idle_since = self.loop.now

    def _channel_made(self, channel: Channel) -> None:
        """Peers that are relays of ours, or that only such a relay would make reachable, need no socket."""
        if channel.reachable and channel.peer not in self.turn.allocations.by_relay:
            with suppress(OSError):
                self._channels[channel] = ChannelSocket(
                    self, self._relays.bound(channel.relay.address), channel
                )

    # Connections

    def admit(self, client: Address) -> bool:
        """Whether one more connection from there is welcome; `leave` ends it."""
        limits = self._settings.limits
        source = source_of(client)
        if (
            len(self.streams) >= limits.connections
            or self._of_source[source] >= limits.connections_per_source
        ):
            return False
        self._of_source[source] += 1
        return True

    def leave(self, client: Address) -> None:
        source = source_of(client)
        self._of_source[source] -= 1
        if not self._of_source[source]:
            del self._of_source[source]

    # Time

    def _deadline(self) -> float | None:
        known = self.turn.next_deadline()
        sweep = self._next_sweep if self.streams else None
        return min((each for each in (known, sweep) if each is not None), default=None)

    def _after_turn(self) -> None:
        now = self.loop.now
        while self.waiting:
            listener, data, client = self.waiting.popleft()
            listener.received(data, client)
        while self.arrived:
            relay, peer, payload = self.arrived.popleft()
            self.perform(self.turn.arrive(relay, peer, payload, now))
        deadline = self.turn.next_deadline()
        if deadline is not None and deadline <= now:
            self.perform(self.turn.expire(now))
        if self._next_sweep <= now:
            self._next_sweep = now + SWEEP
            self._sweep(now)
        unflushed, self.unflushed = self.unflushed, {}
        for stream in unflushed:
            stream.flush()

    def _sweep(self, now: float) -> None:
        patience = self._settings.limits.half_open
        for path, stream in list(self.streams.items()):
            if now - stream.idle_since > patience and path not in self.turn.allocations.by_path:
                stream.close()
