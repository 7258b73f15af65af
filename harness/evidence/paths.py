"""Path of the bytes of a phase, by witnesses that must agree. Pure functions of what was counted.

Witnesses are the counters at the edges (outside the clients), the clients' own counts, and the ledger of the relay.
One alone proves nothing, and two that contradict each other prove that one of them is wrong: that is a verdict of its
own kind, never averaged away.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ..calls.peers import Stats
from ..clients.control import AcceptedConnection, ServiceLedger
from ..clients.relay.metrics import RelayMetrics
from ..clients.turn.ledger import NOTHING, Count
from .flows import MEDIA, SLACK, EdgeCounts, Endpoint
from .late import metrics_beside_edge
from .legs import Leg, Load, Measure, Way, datagrams, legs_of, media, total
from .parties import ObservedDevice, Parties
from .verdicts import FEWEST_WITNESSES, Hop, ObservedPath, PathVerdict, conclude

__all__ = [
    "ClientCounts",
    "ObservedPath",
    "PathVerdict",
    "RelayedBytes",
    "client_counts",
    "of_call",
    "of_realtime",
    "transferred",
    "turn_carried",
]

SERVER_EDGE = "counters at the server's edge"
PACKET = 1500
"""Bytes, at most, of a packet."""
FRAMING = 44
"""Bytes, at most, that TURN over TLS adds to a packet: ChannelData with padding 7, TLS record 29, and some."""
CONTROL = 8192
"""Bytes of a TCP connection to a TURN server that is only kept: TLS handshake, allocations, permissions, refreshes."""
QUIET = 1000
"""Bytes for each device that pass in a phase in which nothing is said: pings of relays and QUIC's keep-alives."""
MINOR = 0.05
"""Share of the bytes below which a way of realtime data is no part of the verdict: set-up, keep-alives."""
TLS_FACTOR = 1.3
"""Largest factor by which TLS expands small frames of a relay."""
TLS_HANDSHAKES = 65536
GOODBYES = 4
"""Packets with which a peer ends a call: RTCP BYE, SCTP ABORT, close_notify. Nobody hears them who was faster."""
GOODBYE = 100
"""Bytes of one, at most; sound has more."""
READ_SLACK = 0.01
ON_ITS_WAY = 4096
"""Bytes of TCP that may pass while two edges are read one after the other."""
UNREAD = 4096
"""Bytes that a relay's kernel may have acknowledged before the relay has read them."""


# Calls


@dataclass(frozen=True)
class ClientCounts:
    """Traffic that a client says it sent and received."""

    sent: Count
    received: Count


SILENT = ClientCounts(NOTHING, NOTHING)


def client_counts(
    stats: Mapping[str, Stats], before: Mapping[str, Stats] | None = None
) -> dict[str, ClientCounts]:
    """Counts of call agents, by device; with `before`, since that reading."""
    found = {}
    for name, each in stats.items():
        now = _said(each)
        then = _said(before[name]) if before and name in before else SILENT
        found[name] = ClientCounts(now.sent - then.sent, now.received - then.received)
    return found


def turn_carried(
    ledger: ServiceLedger, parties: Parties, before: ServiceLedger | None = None
) -> dict[str, Count]:
    """Traffic that the ledger of a TURN server says it took over from each device, without connectivity checks.

    It asks no client. Devices that share an outer address cannot be told apart by it: use
    `harness.calls.balance.carried_by_sender` for those.
    """
    now = _turn_carried(ledger, parties)
    then = _turn_carried(before, parties) if before is not None else {}
    return {name: count - then.get(name, NOTHING) for name, count in now.items()}


def of_call(
    edges: Mapping[str, EdgeCounts],
    parties: Parties,
    agents: Mapping[str, ClientCounts] | None,
    ledger: Mapping[str, Count] | None,
    *,
    server: EdgeCounts | None = None,
    lost: Mapping[str, int] | None = None,
    phase: str = "media",
) -> ObservedPath:
    """The way of a call; `parties` has its two devices and no more.

    `edges`: by name of the device, counted in this phase; other names are ignored. `agents`: see `client_counts`; None
    where they cannot be asked. `ledger`: see `turn_carried`; None without a ledger. `server`: counts at the edge of
    the server's host, which is no witness where its own account does not add up; None where nobody counted there.
    `lost`: packets of each sender that the lab itself took away. Raises nothing: what cannot be told is `not proven`.
    """
    legs = legs_of(edges, parties, media, control=CONTROL)
    at_server = AtServer.of(None if server is None or server.problems else server, parties, media)
    witnesses = _witnesses(
        edges, parties, {"agents": agents, SERVER_EDGE: at_server.witness, "the relay's ledger": ledger}
    )
    hops: list[Hop] = []
    contradictions: list[str] = []
    for sender, receiver in itertools.permutations([each.name for each in parties.devices], 2):
        found = _call_hops((sender, receiver), legs, agents, ledger, at_server)
        hops += found.values()
        contradictions += _call_contradictions(found, (lost or {}).get(sender, 0))
    return conclude(
        phase,
        legs,
        [leg for leg in legs if leg.delivered or leg.way is Way.FOREIGN],
        hops=hops,
        witnesses=witnesses,
        contradictions=contradictions,
        doubts=_doubts(edges, parties, witnesses),
    )


def _call_hops(
    ends: tuple[str, str],
    legs: Iterable[Leg],
    agents: Mapping[str, ClientCounts] | None,
    ledger: Mapping[str, Count] | None,
    at_server: AtServer,
) -> dict[str, Hop]:
    """One direction of a call, from sender to receiver: everybody who counted it, in the order of the way."""
    sender, receiver = ends
    arriving = [leg for leg in legs if leg.target == receiver]
    leaving = [leg.attempted for leg in legs if leg.source == sender]
    hops = {}
    if agents is not None:
        hops["sent"] = Hop("agents", f"{sender} sent", _load(agents.get(sender, SILENT).sent))
    hops["left"] = Hop("edges", f"{sender}'s edge sent", _sum(leaving))
    if sender in at_server.came:
        up = [leg.attempted for leg in legs if leg.source == sender and leg.way is Way.RELAYED]
        hops["up"] = Hop("edges", f"{sender}'s edge sent to relays", _sum(up))
        hops["entered"] = Hop("server", f"the server's edge received from {sender}", at_server.came[sender])
    if ledger is not None:
        carried = _load(ledger.get(sender, NOTHING))
        hops["carried"] = Hop("ledger", f"the relay's ledger has from {sender}", carried)
    if receiver in at_server.went:
        hops["left server"] = Hop("server", f"the server's edge sent to {receiver}", at_server.went[receiver])
    hops["relayed"] = Hop("edges", f"{receiver}'s edge received from relays", total(arriving, Way.RELAYED))
    hops["arrived"] = Hop("edges", f"{receiver}'s edge received", total(arriving))
    if agents is not None:
        hops["got"] = Hop("agents", f"{receiver} received", _load(agents.get(receiver, SILENT).received))
    return hops


def _call_contradictions(hops: Mapping[str, Hop], lost: int) -> Iterator[str]:
    """Pairs of hops that differ by more than what was on its way, and lost by the lab."""
    for one, other, between in (
        ("sent", "left", lost),  # a queue of the lab may stand before the counters
        ("left", "arrived", lost),
        ("up", "entered", lost),
        ("left server", "relayed", lost),
        ("carried", "relayed", lost),
        ("arrived", "got", lost),  # or behind them
        ("sent", "got", lost),
    ):
        if one in hops and other in hops:
            yield from _differ(hops[one], hops[other], between)


def _differ(reference: Hop, other: Hop, lost: int) -> Iterator[str]:
    """One sentence if `other` cannot be what became of `reference` on its way."""
    wanted, seen = reference.load, other.load
    # Packets cannot be told in a stream, and a stream has framing that datagrams do not have.
    framing = FRAMING * max(wanted.packets, seen.packets) + CONTROL
    spare = SLACK * PACKET
    fewest = wanted.all_bytes - lost * PACKET - spare - (framing if wanted.stream else 0)
    most = wanted.all_bytes + spare + (framing if seen.stream else 0)
    missing = wanted.packets - seen.packets
    are_goodbyes = wanted.bytes - seen.bytes <= missing * GOODBYE
    unheard = lost + SLACK + (GOODBYES if are_goodbyes else 0)
    packets_agree = bool(wanted.stream or seen.stream) or -SLACK <= missing <= unheard
    if not packets_agree or not fewest <= seen.all_bytes <= most:
        yield f"{reference}, but {other}"


def _said(stats: Stats) -> ClientCounts:
    traffic = stats.traffic
    return ClientCounts(
        Count(traffic.packets_sent, traffic.bytes_sent),
        Count(traffic.packets_received, traffic.bytes_received),
    )


def _load(count: Count) -> Load:
    return Load(count.packets, count.bytes)


def _turn_carried(ledger: ServiceLedger, parties: Parties) -> dict[str, Count]:
    """From the allocation of the sender. What comes to an allocation from none of ours is of the other device."""
    relayed = {address for each in ledger.allocations for address in each.relayed}
    found = {each.name: NOTHING for each in parties.devices}
    for allocation in ledger.allocations:
        owner = parties.device_at(_address(allocation.client))
        if owner is None:
            continue
        for peer in allocation.peers:
            found[owner.name] += _media(peer.to_peer)
            if peer.peer not in relayed:
                sender = next((each for each in parties.devices if each != owner), owner)
                found[sender.name] += _media(peer.to_client)
    return found


def _media(classes: Mapping[str, Count]) -> Count:
    return sum((count for name, count in classes.items() if name in MEDIA), start=NOTHING)


# Realtime data


@dataclass(frozen=True)
class RelayedBytes:
    """Bytes that a relay took from devices, and gave to them."""

    taken: int
    given: int


def transferred(ledger: ServiceLedger, parties: Parties, before: ServiceLedger | None = None) -> RelayedBytes:
    """Bytes of an iroh relay's TCP connections with devices, by its ledger; with `before`, since that reading."""
    now = _transferred(ledger.connections, parties)
    then = _transferred(before.connections if before is not None else (), parties)
    return RelayedBytes(now.taken - then.taken, now.given - then.given)


def of_realtime(
    edges: Mapping[str, EdgeCounts],
    parties: Parties,
    arrived: int | None,
    ledger: RelayedBytes | None,
    *,
    metrics: RelayMetrics | None = None,
    server: EdgeCounts | None = None,
    tls: bool = False,
    phase: str = "established",
) -> ObservedPath:
    """The way of what nodes of iroh had for each other: QUIC over UDP, or over TCP to a relay.

    `arrived`: bytes of the messages that the apps got, which is less than what the edges must have seen; None where
    nobody counts. `ledger`: see `transferred`. `metrics`: see `late.metrics_beside_edge`. `server`: see `of_call`.
    `tls`: the bytes of the ledger are those inside TLS. Raises nothing.
    """
    legs = legs_of(edges, parties, datagrams, control=0)
    at_server = AtServer.of(server, parties, datagrams)
    by_metrics = () if metrics is None else tuple(metrics_beside_edge(metrics, server, parties))
    further = {
        "the apps": arrived,
        SERVER_EDGE: at_server.witness,
        "the relay's ledger": ledger,
        "the relay's metrics": by_metrics or None,
    }
    witnesses = _witnesses(edges, parties, further)
    hops = _realtime_hops(legs, arrived, ledger)
    both_edges = _hops_at_server(legs, at_server)
    return conclude(
        phase,
        legs,
        _carrying(legs, arrived, QUIET * len(parties.devices)),
        hops=[
            *hops.values(),
            *itertools.chain.from_iterable((*both_edges, *(each.hops for each in by_metrics))),
        ],
        witnesses=witnesses,
        contradictions=[
            *_realtime_contradictions(hops, tls=tls),
            *(
                f"{seen}, but {counted}"
                for seen, counted in both_edges
                if abs(seen.load.stream - counted.load.stream) > ON_ITS_WAY
            ),
            *(each.contradiction for each in by_metrics if each.contradiction),
        ],
        doubts=_doubts(edges, parties, witnesses),
    )


def _hops_at_server(legs: Iterable[Leg], at_server: AtServer) -> list[tuple[Hop, Hop]]:
    """Counts of the same streams at the edge of a device and at that of the server, one pair for each direction."""
    relayed = [leg for leg in legs if leg.way is Way.RELAYED]
    pairs = []
    for name, came in at_server.came.items():
        up = _sum(leg.attempted for leg in relayed if leg.source == name)
        down = total(leg for leg in relayed if leg.target == name)
        pairs += [
            (
                Hop("edges", f"{name}'s edge sent to the relay", up),
                Hop("server", f"the server's edge received from {name}", came),
            ),
            (
                Hop("edges", f"{name}'s edge received from the relay", down),
                Hop("server", f"the server's edge sent to {name}", at_server.went[name]),
            ),
        ]
    return pairs


def _carrying(legs: Iterable[Leg], arrived: int | None, quiet: int) -> list[Leg]:
    """The legs of those ways that carried more than what also passes when nothing is said."""
    ways: dict[Way, list[Leg]] = {}
    for leg in legs:
        if leg.delivered:
            ways.setdefault(leg.way, []).append(leg)
    sums = {way: total(of_way).all_bytes for way, of_way in ways.items()}
    least = MINOR * sum(sums.values())
    if not arrived:
        least = max(least, quiet)
    return [leg for way, of_way in ways.items() if sums[way] > least for leg in of_way]


def _realtime_hops(legs: Iterable[Leg], arrived: int | None, ledger: RelayedBytes | None) -> dict[str, Hop]:
    direct = [leg for leg in legs if leg.way is Way.DIRECT]
    relayed = [leg for leg in legs if leg.way is Way.RELAYED]
    hops = {
        "all": Hop("edges", "the devices' edges received", total(legs)),
        "sent": Hop("edges", "the devices' edges sent directly", _sum(leg.attempted for leg in direct)),
        "got": Hop("edges", "the devices' edges received directly", total(direct)),
        "up": Hop("edges", "the devices' edges sent to the relay", _sum(leg.attempted for leg in relayed)),
        "down": Hop("edges", "the devices' edges received from the relay", total(relayed)),
    }
    if arrived is not None:
        hops["apps"] = Hop("apps", "the apps got", Load(stream=arrived))
    if ledger is not None:
        hops["taken"] = Hop("ledger", "the relay's ledger has from devices", Load(stream=ledger.taken))
        hops["given"] = Hop("ledger", "the relay's ledger has to devices", Load(stream=ledger.given))
    return hops


def _realtime_contradictions(hops: Mapping[str, Hop], *, tls: bool) -> Iterator[str]:
    if hops["got"].load.bytes > hops["sent"].load.bytes + SLACK * PACKET:
        yield f"{hops['sent']}, but {hops['got']}"
    if "apps" in hops and hops["apps"].load.all_bytes > hops["all"].load.all_bytes:
        yield f"{hops['apps']}, but {hops['all']}"
    for claimed, seen in (("taken", "up"), ("given", "down")):
        if claimed in hops:
            claim, fact = hops[claimed].load.stream, hops[seen].load.stream
            most = claim * TLS_FACTOR + TLS_HANDSHAKES if tls else claim * (1 + READ_SLACK)
            if not claim * (1 - READ_SLACK) - UNREAD <= fact <= most + UNREAD:
                yield f"{hops[claimed]}, but {hops[seen]}"


def _transferred(connections: Iterable[AcceptedConnection], parties: Parties) -> RelayedBytes:
    ours = [each for each in connections if parties.device_at(_address(each.remote)) is not None]
    return RelayedBytes(sum(each.bytes_in for each in ours), sum(each.bytes_out for each in ours))


# Both


@dataclass(frozen=True)
class AtServer:
    """Counts at the edge of the server's host, by device: what came from it to a relay, and what went to it.

    Bytes of TCP are those that the other end acknowledged: what a router on the way swallowed is in neither edge.
    """

    came: Mapping[str, Load]
    went: Mapping[str, Load]
    knows_all: bool
    """No device is left out."""

    @property
    def witness(self) -> AtServer | None:
        """Itself, if it can say something about every device."""
        return self if self.knows_all else None

    @classmethod
    def of(cls, edge: EdgeCounts | None, parties: Parties, measure: Measure) -> AtServer:
        """Without the devices that share an outer address with another: they cannot be told apart there."""
        if edge is None:
            return cls({}, {}, knows_all=False)
        alone = [each for each in parties.devices if not _shares_an_address(each, parties)]
        came, went = ({each.name: Load() for each in alone} for _ in range(2))
        for rows, loads, outgoing in ((edge.rx.rows, came, False), (edge.tx.rows, went, True)):
            for flow, count in rows.items():
                own, remote = (flow.source, flow.destination)[:: 1 if outgoing else -1]
                name = _device_name(parties, flow.protocol, own, remote)
                if name in loads and (counted := measure(flow, count)) is not None:
                    loads[name] += Load(counted.packets, counted.bytes)
        for (own, remote), stream in edge.streams.items():
            name = _device_name(parties, "tcp", own, remote)
            if name in came:
                came[name] += Load(stream=stream.received)
                went[name] += Load(stream=stream.sent)
        return cls(came, went, knows_all=len(alone) == len(parties.devices))


def _device_name(parties: Parties, protocol: str, own: Endpoint, remote: Endpoint) -> str:
    """The device at the other end, if this end belongs to a relay."""
    if not any(relay.is_at(protocol, own) for relay in parties.relays):
        return ""
    device = parties.device_at(remote.address)
    return device.name if device is not None else ""


def _shares_an_address(device: ObservedDevice, parties: Parties) -> bool:
    return any(each is not device and each.addresses & device.addresses for each in parties.devices)


def _witnesses(
    edges: Mapping[str, EdgeCounts], parties: Parties, further: Mapping[str, object]
) -> tuple[str, ...]:
    watched = parties.devices and all(each.name in edges for each in parties.devices)
    found = ["counters at the edges"] if watched else []
    return (*found, *(name for name, what in further.items() if what is not None))


def _doubts(edges: Mapping[str, EdgeCounts], parties: Parties, witnesses: tuple[str, ...]) -> list[str]:
    """Reasons for which these counts can prove nothing, if there are any."""
    found = [
        f"nobody counted at the edge of {each.name}" for each in parties.devices if each.name not in edges
    ]
    found += [
        f"edge of {each.name}, {problem}"
        for each in parties.devices
        if each.name in edges
        for problem in edges[each.name].problems
    ]
    if len(parties.devices) < 2:
        found.append("a path has two devices at least")
    if len(witnesses) < FEWEST_WITNESSES:
        found.append(f"{' and '.join(witnesses) or 'nobody'} alone is no proof")
    return found


def _sum(loads: Iterable[Load | None]) -> Load:
    return sum((load for load in loads if load is not None), start=Load())


def _address(remote: str) -> str:
    """The address of `address:port`, where IPv6 has brackets."""
    return remote.rpartition(":")[0].strip("[]")
