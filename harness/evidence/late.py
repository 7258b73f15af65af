"""Counts of others' programs that are of all their clients together, or come late, beside those at the server's edge.

Whoever relays says what it carried. Such a count tells no device from another, or comes when a path has been judged.
The devices' own edges are held against that edge elsewhere (`paths`), so that a chain of counts leads to each device.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from ..clients.relay.metrics import RelayMetrics
from ..clients.turn.ledger import NOTHING, Count
from ..clients.turn.sessions import TurnSession
from .flows import CHANNEL, SLACK, Counts, EdgeCounts, Endpoint
from .legs import Load
from .parties import Parties
from .verdicts import Hop

__all__ = ["Beside", "differing_sessions", "metrics_beside_edge"]

SHARE = 0.01
BESIDE = 4096
"""Bytes of each TCP connection that are no data frames: HTTP upgrade, log-in, pings; and those that nobody has read."""
NOT_READ = 0.1
"""Share of packets that may reach a host and not its program: sockets of a busy machine overflow."""


@dataclass(frozen=True)
class Beside:
    """One direction of what a relay says of all its clients, and what passed the edge of its host."""

    claimed: Hop
    seen: Hop
    agree: bool

    @property
    def hops(self) -> tuple[Hop, Hop]:
        return self.claimed, self.seen

    @property
    def contradiction(self) -> str:
        return "" if self.agree else f"{self.claimed}, but {self.seen}"


def metrics_beside_edge(metrics: RelayMetrics, edge: EdgeCounts | None, parties: Parties) -> Iterator[Beside]:
    """Both directions; nothing where nobody counted, or where the relay had other clients than these devices."""
    if edge is None:
        return
    streams = {
        ends: stream
        for ends, stream in edge.streams.items()
        if any(relay.is_at("tcp", ends.local) for relay in parties.relays)
    }
    if any(parties.device_at(ends.remote.address) is None for ends in streams):
        return
    beside = BESIDE * (1 + len(streams))
    for claimed, seen, words in (
        (metrics.taken, sum(each.received for each in streams.values()), ("from", "received from")),
        (metrics.given, sum(each.sent for each in streams.values()), ("to", "sent to")),
    ):
        yield Beside(
            Hop("metrics", f"the relay's metrics have {words[0]} all clients", Load(stream=claimed)),
            Hop("server", f"the server's edge {words[1]} all clients of the relay", Load(stream=seen)),
            claimed * (1 - SHARE) - BESIDE <= seen <= claimed * (1 + SHARE) + beside,
        )


def differing_sessions(sessions: Iterable[TurnSession], edge: EdgeCounts) -> list[str]:
    """A sentence for each session over UDP of which the server says another number of packets than passed that edge."""
    found = []
    for each in sessions:
        here = (_endpoint(each.client), _endpoint(each.server))
        for claimed, seen, words in (
            (each.from_client, _between(edge.rx, *here), "from"),
            (each.to_client, _between(edge.tx, *reversed(here)), "to"),
        ):
            least = seen.packets * (1 - NOT_READ) - SLACK
            if seen != NOTHING and not least <= claimed.packets <= seen.packets + SLACK:
                found.append(
                    f"the TURN server counted {claimed.packets} packets {words} {each.client}, "
                    f"and {seen.packets} passed the server's edge"
                )
    return found


def _between(counts: Counts, source: Endpoint, destination: Endpoint) -> Count:
    """All UDP of that direction, whatever it carried."""
    rows = (
        Count(count.packets, count.bytes + (CHANNEL * count.packets if flow.channel else 0))
        for flow, count in counts.rows.items()
        if (flow.source, flow.destination, flow.protocol) == (source, destination, "udp")
    )
    return sum(rows, start=NOTHING)


def _endpoint(text: str) -> Endpoint:
    """From `address:port`, where IPv6 has brackets."""
    address, _, port = text.rpartition(":")
    return Endpoint(address.strip("[]"), int(port))
