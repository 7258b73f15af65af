"""The shortcut for data of living channels, past `Turn`: where it goes, as long as nothing changes."""

from __future__ import annotations

from collections.abc import Callable
from socket import socket

from ..allocations import Allocation, Channel
from ..core import Turn
from ..ledger import Tally
from .epoll import EpollLoop
from .mmsg import Batch

__all__ = ["FastPath", "Route"]

OVER = 0.0
"""A time before every turn of the loop."""


class Route:
    """Route of the data of one channel: looked up once, good until its time is over, which is at once when something
    changes.

    `header` is the channel number that whoever is at the outlet knows the sender by; None: a peer, who gets the bare
    payload. `packets` and `volume` count by class; `also` is the other client's tally when the peer is its relay.
    """

    __slots__ = (
        *(
            "also",
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
        until: float,
        number: int,
        outlet: socket,
        *,
        header: int | None,
        tally: Tally,
        also: Tally | None = None,
    ) -> None:
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
        self._to_peer: dict[Channel, Route] = {}
        self._to_client: dict[Channel, Route] = {}
        """Routes that may be in use."""
        self.clients: dict[Allocation, socket] = {}
        """Connected to the client of each allocation over UDP."""
        self.peers: dict[Channel, socket] = {}
        """Connected to the peer of each channel that is no relay of ours."""
        self._turn = turn
        self._strategies = turn.strategies

    def changed(self) -> None:
        """A relay, a channel or a socket has come or gone: no route is good any more."""
        for routes in (self._to_peer, self._to_client):
            for route in routes.values():
                route.until = OVER
            routes.clear()

    def route_to_peer(self, channel: Channel) -> Route | None:
        """Route by which data of `channel` leaves; None: `Turn` has to look at it."""
        return self._known(self._to_peer, self._new_route_to_peer, channel)

    def route_to_client(self, channel: Channel) -> Route | None:
        """Route by which data from the peer of `channel` gets to the client; None: `Turn` has to look at it."""
        return self._known(self._to_client, self._new_route_to_client, channel)

    def _known(
        self, routes: dict[Channel, Route], find: Callable[[Channel], Route | None], channel: Channel
    ) -> Route | None:
        route = routes.get(channel)
        if route is None or route.until <= self.loop.now:
            route = find(channel)
            if route is not None:
                routes[channel] = route
        return route

    def _new_route_to_peer(self, channel: Channel) -> Route | None:
        strategies = self._strategies
        until = strategies.permissions.open_until(channel)
        if strategies.forwarding is not None or until <= self.loop.now:
            return None
        other = self._turn.allocations.by_relay.get(channel.peer)
        if other is None:
            outlet = self.peers.get(channel)
            if outlet is None:
                return None
            return Route(until, channel.number, outlet, header=None, tally=channel.flow.to_peer)
        back = other.allocation.channel_of.get(channel.relay.address)
        client = self.clients.get(other.allocation)
        if back is None or client is None:
            return None
        until = min(until, strategies.permissions.open_until(back))
        if until <= self.loop.now:
            return None
        return Route(
            until,
            channel.number,
            client,
            header=back.number,
            tally=channel.flow.to_peer,
            also=back.flow.to_client,
        )

    def _new_route_to_client(self, channel: Channel) -> Route | None:
        strategies = self._strategies
        until = strategies.permissions.open_until(channel)
        client = self.clients.get(channel.allocation)
        if strategies.forwarding is not None or until <= self.loop.now or client is None:
            return None
        number = channel.number
        return Route(until, number, client, header=number, tally=channel.flow.to_client)
