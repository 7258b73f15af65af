"""The shortcut for data of living channels, past `Turn`: where it goes, as long as nothing changes."""

from __future__ import annotations

from socket import socket

from ..allocations import Allocation, Channel
from ..core import Turn
from ..ledger import Tally
from .epoll import EpollLoop
from .mmsg import Batch

__all__ = ["FastPath", "Route"]


class Route:
    """Route of the data of one channel: looked up once, good until something changes or its time is over.

    `header` is the channel number that whoever is at the outlet knows the sender by; None: a peer, who gets the bare
    payload. `packets` and `volume` count by class; `also` is the other client's tally when the peer is its relay.
    """

    __slots__ = (
        *(
            "also",
            "changes",
            "descriptor",
            "header",
            "number",
            "outlet",
            "packets",
            "send",
            "until",
            "volume",
        ),
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
        self.send = outlet.send
        self.header = header
        self.packets = tally.packets
        self.volume = tally.bytes
        self.also = also


class FastPath:
    """State that connected sockets share: the loop with its clock, the buffers, and the routes between each other."""

    def __init__(self, loop: EpollLoop, turn: Turn) -> None:
        self.loop = loop
        self.batch = Batch()
        self.changes = 0
        """Counts whatever may make a `Route` wrong: relays, channels and sockets that come or go."""
        self.clients: dict[Allocation, socket] = {}
        """Connected to the client of each allocation over UDP."""
        self.peers: dict[Channel, socket] = {}
        """Connected to the peer of each channel that is no relay of ours."""
        self._turn = turn
        self._strategies = turn.strategies

    def route_to_peer(self, channel: Channel) -> Route | None:
        """Route by which data of `channel` leaves; None: `Turn` has to look at it."""
        strategies = self._strategies
        until = strategies.permissions.open_until(channel)
        if strategies.forwarding is not None or until <= self.loop.now:
            return None
        other = self._turn.allocations.by_relay.get(channel.peer)
        if other is None:
            outlet = self.peers.get(channel)
            if outlet is None:
                return None
            return Route(self.changes, until, channel.number, outlet, header=None, tally=channel.flow.to_peer)
        back = other.allocation.channel_of.get(channel.relay.address)
        client = self.clients.get(other.allocation)
        if back is None or client is None:
            return None
        until = min(until, strategies.permissions.open_until(back))
        if until <= self.loop.now:
            return None
        return Route(
            self.changes,
            until,
            channel.number,
            client,
            header=back.number,
            tally=channel.flow.to_peer,
            also=back.flow.to_client,
        )

    def route_to_client(self, channel: Channel) -> Route | None:
        """Route by which data from the peer of `channel` gets to the client; None: `Turn` has to look at it."""
        strategies = self._strategies
        until = strategies.permissions.open_until(channel)
        client = self.clients.get(channel.allocation)
        if strategies.forwarding is not None or until <= self.loop.now or client is None:
            return None
        number = channel.number
        return Route(self.changes, until, number, client, header=number, tally=channel.flow.to_client)
