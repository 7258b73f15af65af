"""From counters at edges to legs: what went between each device and whoever was at the other end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from ..clients.turn.ledger import Count
from .flows import CHANNEL, MEDIA, EdgeCounts, Endpoint, Flow, PacketClass
from .parties import Parties, Site

__all__ = ["Leg", "Load", "Measure", "Way", "datagrams", "legs_of", "media", "total"]

Measure = Callable[[Flow, Count], Count | None]
"""Function that gives the part of a row of counters that counts; None: nothing."""


@dataclass(frozen=True)
class Load:
    """UDP packets with the bytes of their payload, and bytes that went over TCP."""

    packets: int = 0
    bytes: int = 0
    stream: int = 0

    def __add__(self, other: Load) -> Load:
        return Load(self.packets + other.packets, self.bytes + other.bytes, self.stream + other.stream)

    def __bool__(self) -> bool:
        return self != EMPTY

    def __str__(self) -> str:
        parts = [f"{self.packets} packets/{self.bytes} bytes"] if self.packets or not self.stream else []
        return " and ".join(parts + ([f"{self.stream} bytes over TCP"] if self.stream else []))

    @property
    def all_bytes(self) -> int:
        return self.bytes + self.stream


EMPTY = Load()


class Way(StrEnum):
    """Kind of traffic that a leg is part of."""

    DIRECT = "direct"
    RELAYED = "relayed"
    FOREIGN = "foreign"


@dataclass(frozen=True)
class Leg:
    """Traffic of one party for another. At least one end is a device whose edge was watched.

    `attempted`: counted where it left, `delivered`: where it arrived; None where nobody counted.
    """

    source: str
    target: str
    way: Way
    by: str = ""
    """Name of the relay: the end that is no device."""
    attempted: Load | None = None
    delivered: Load | None = None

    @property
    def carrier(self) -> str:
        """`direct`, or who stands between the devices."""
        return self.by or Way.DIRECT.value

    def merged(self, other: Leg) -> Leg:
        return replace(
            self,
            attempted=_sum(self.attempted, other.attempted),
            delivered=_sum(self.delivered, other.delivered),
        )


def media(flow: Flow, count: Count) -> Count | None:
    """For calls: what ICE carries as data."""
    return count if flow.kind in MEDIA else None


def datagrams(flow: Flow, count: Count) -> Count | None:
    """For iroh: all UDP but STUN and the probes of disco.

    The first byte of a QUIC packet with a short header is 64 to 127 (RFC 9000 section 17.3), so the classes of ICE are
    chance, and what looks like ChannelData has no such header.
    """
    if (
        flow.protocol != "udp"
        or flow.kind is PacketClass.DISCO
        or (flow.kind is PacketClass.STUN and not flow.channel)
    ):
        return None
    return Count(count.packets, count.bytes + CHANNEL * count.packets) if flow.channel else count


def legs_of(
    edges: Mapping[str, EdgeCounts], parties: Parties, measure: Measure, *, control: int
) -> tuple[Leg, ...]:
    """All legs of the devices whose edges were watched, by name.

    `control`: a TCP connection with no more bytes than these in a direction carried nothing but its own set-up.
    """
    found: dict[tuple[str, str], Leg] = {}
    for device in parties.devices:
        if (edge := edges.get(device.name)) is not None:
            for leg in (
                *_datagram_legs(device.name, edge, parties, measure),
                *_stream_legs(device.name, edge, parties),
            ):
                key = leg.source, leg.target
                found[key] = found[key].merged(leg) if key in found else leg
    kept = (_without_control(leg, control) for leg in found.values())
    return tuple(leg for leg in kept if leg.attempted or leg.delivered)


def total(legs: Iterable[Leg], way: Way | None = None) -> Load:
    """All that was delivered, or what was delivered on one way."""
    return sum(
        (leg.delivered for leg in legs if leg.delivered is not None and way in (None, leg.way)), start=EMPTY
    )


def _datagram_legs(name: str, edge: EdgeCounts, parties: Parties, measure: Measure) -> Iterator[Leg]:
    for counts, outgoing in ((edge.tx, True), (edge.rx, False)):
        for flow, count in counts.rows.items():
            remote = flow.destination if outgoing else flow.source
            if (counted := measure(flow, count)) is None:
                continue
            if (known := _way(name, parties, flow.protocol, remote)) is not None:
                yield _leg(name, *known, Load(counted.packets, counted.bytes), outgoing=outgoing)


def _stream_legs(name: str, edge: EdgeCounts, parties: Parties) -> Iterator[Leg]:
    for (_local, remote), stream in edge.streams.items():
        if (known := _way(name, parties, "tcp", remote)) is not None:
            yield _leg(name, *known, Load(stream=stream.sent), outgoing=True)
            yield _leg(name, *known, Load(stream=stream.received), outgoing=False)


def _way(name: str, parties: Parties, protocol: str, remote: Endpoint) -> tuple[str, Way] | None:
    """Name of that device's other end, and the kind of traffic that it makes; None: it carries nothing."""
    owner = parties.owner(protocol, remote, seen_by=name)
    if owner is None:
        return remote.address, Way.FOREIGN
    if isinstance(owner, Site):
        return (owner.name, Way.RELAYED) if owner in parties.relays else None
    return owner.name, Way.DIRECT


def _leg(name: str, remote: str, way: Way, load: Load, *, outgoing: bool) -> Leg:
    by = "" if way is Way.DIRECT else remote
    if outgoing:
        return Leg(name, remote, way, by, attempted=load)
    return Leg(remote, name, way, by, delivered=load)


def _sum(one: Load | None, other: Load | None) -> Load | None:
    return other if one is None else one if other is None else one + other


def _without_control(leg: Leg, control: int) -> Leg:
    def stripped(load: Load | None) -> Load | None:
        return replace(load, stream=0) if load is not None and load.stream <= control else load

    return replace(leg, attempted=stripped(leg.attempted), delivered=stripped(leg.delivered))
