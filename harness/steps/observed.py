"""From what calls, swarms and witnesses say to the observations of a record. Pure functions."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from ..calls.balance import CallAccount, Direction
from ..calls.call import Phases
from ..calls.peers import Report
from ..clients.turn.ledger import Count
from ..evidence.flows import EdgeCounts, Flow
from ..evidence.legs import Load
from ..evidence.parties import Parties
from ..evidence.verdicts import ObservedPath, PathVerdict
from ..network.schedule import Conditions
from ..realtime.table import TruthTable
from ..report.observations import (
    CallDirection,
    CallPhases,
    CallSeen,
    DeviceAt,
    FlowSeen,
    HopSeen,
    LegSeen,
    LinkSeen,
    LoadSeen,
    PathSeen,
    SwarmDirection,
    SwarmSeen,
    TrafficSeen,
)
from ..stage.watch import Traffic
from ..target import Service

AddressFamily = Literal["IPv4", "IPv6"]
COURSE = 60
"""Parts, at most, into which the delay of a call is divided."""
FAMILIES: tuple[AddressFamily, ...] = ("IPv4", "IPv6")

__all__ = [
    "call_seen",
    "families_seen",
    "link_seen",
    "path_by_agents",
    "path_seen",
    "swarm_seen",
    "traffic_seen",
]


def call_seen(
    name: str,
    phases: Phases,
    path: str = "",
    balance: CallAccount | None = None,
    reports: Mapping[str, Report] | None = None,
) -> CallSeen:
    """A call. `path`: by the agents; `reports`: what each side heard and saw, by its name; nobody talked without."""
    directions = () if balance is None or reports is None else balance.directions
    seen = tuple(_direction(each, (reports or {})[each.receiver]) for each in directions)
    return CallSeen(name, _phases(phases), path, seen)


def _phases(phases: Phases) -> CallPhases:
    seconds = dataclasses.asdict(phases)
    names = [each.name.removesuffix("_ms") for each in dataclasses.fields(CallPhases)]
    return CallPhases(*(_ms(seconds[name]) for name in names))


def _direction(direction: Direction, report: Report) -> CallDirection:
    counted = CallDirection(
        direction.sender,
        direction.receiver,
        sent=direction.sent.packets,
        server=None if direction.server is None else direction.server.packets,
        received=direction.received.packets,
        lost=report.packets_lost,
        pictures=None if report.video is None else report.video.frames,
    )
    if (audio := report.audio) is None:
        return counted
    return replace(
        counted,
        delay_ms=_ms(audio.delay),
        heard_s=round(audio.seconds * audio.known, 2),
        gaps_ms=tuple(round(gap.length * 1000, 1) for gap in audio.gaps),
        stall_ms=round(max(audio.stalls, default=0.0) * 1000, 1),
        gap_starts_s=tuple(round(gap.start, 2) for gap in audio.gaps),
        delay_course_ms=_course_ms(audio.delays),
    )


def _course_ms(delays: Sequence[float]) -> tuple[float, ...]:
    """Medians of parts of it, enough to draw it by."""
    part = -(-len(delays) // COURSE) or 1
    medians = (statistics.median(delays[at : at + part]) for at in range(0, len(delays), part))
    return tuple(round(each * 1000, 1) for each in medians)


def swarm_seen(table: TruthTable, phase: str, *, subject: str = "", silence: bool = False) -> SwarmSeen:
    """An exchange of messages. `silence`: everybody sent all the time, so that one means something."""
    latencies = [latency for row in table.directions for latency in row.latencies]
    return SwarmSeen(
        phase,
        tuple(
            SwarmDirection(
                row.sender,
                row.receiver,
                row.sent,
                row.delivered,
                row.duplicates,
                row.out_of_order,
                row.never_sent,
            )
            for row in table.directions
        ),
        latency_median_ms=_ms(statistics.median(latencies)) if latencies else None,
        latency_max_ms=_ms(max(latencies, default=None)),
        longest_silence_s=round(table.longest_silence, 2) if silence else None,
        subject=subject,
    )


def path_seen(path: ObservedPath, who: Parties, *, subject: str = "", phase: str = "") -> PathSeen:
    """A path with everything that was counted on it, and who was where. `phase`: another name for it."""
    return PathSeen(
        phase=phase or path.phase,
        name=path.name,
        verdict=path.verdict.value,
        by=path.by,
        shares={carrier: round(share, 4) for carrier, share in path.shares.items()},
        delivered_directly=path.delivered_directly,
        attempted_directly=path.attempted_directly,
        witnesses=path.witnesses,
        contradictions=path.contradictions,
        doubts=path.doubts,
        legs=tuple(
            LegSeen(leg.source, leg.target, leg.way.value, _load(leg.attempted), _load(leg.delivered))
            for leg in path.legs
        ),
        hops=tuple(HopSeen(hop.witness, hop.place, _counted(hop.load)) for hop in path.hops),
        devices=tuple(DeviceAt(each.name, each.network, each.behind) for each in who.devices),
        relays=tuple(dict.fromkeys(each.name for each in who.relays)),
        subject=subject,
    )


def path_by_agents(path: str, service: Service, *, subject: str, phase: str, doubt: str = "") -> PathSeen:
    """The path of a phase on one host, where no edge is. `doubt`: why the clients' word is no proof; empty: it is one,
    because the service's ledger says the same."""
    by = (service.value,) if path == PathVerdict.RELAYED else ()
    name = f"{path}({service})" if by else path
    if doubt:
        verdict = PathVerdict.NOT_PROVEN.value
        return PathSeen(phase, f"{name}, {verdict}", verdict, by, doubts=(doubt,), subject=subject)
    return PathSeen(phase, name, path, by, witnesses=("clients", "the relay's ledger"), subject=subject)


def traffic_seen(traffic: Traffic, phase: str, *, subject: str = "") -> TrafficSeen:
    """Bytes between each device and each other end."""
    flows = (
        FlowSeen(device, other, counted["sent"], counted["received"])
        for device, others in traffic.items()
        for other, counted in others.items()
    )
    return TrafficSeen(phase, tuple(flows), subject)


def families_seen(edges: Mapping[str, EdgeCounts], phase: str) -> TrafficSeen:
    """Bytes of each device over IPv4 and over IPv6, wherever they went."""
    flows = []
    for name, edge in edges.items():
        for family in FAMILIES:
            sent, received = (_bytes_of(rows.rows.items(), family) for rows in (edge.tx, edge.rx))
            flows.append(FlowSeen(name, "", sent, received, family))
    return TrafficSeen(phase, tuple(flows))


def link_seen(subject: str, conditions: Conditions, *, taken_up: int, taken_down: int) -> LinkSeen:
    """A link that is as bad in both directions, and the packets that it took from the device and to it."""
    return LinkSeen(subject, **dataclasses.asdict(conditions), taken_up=taken_up, taken_down=taken_down)


def _bytes_of(rows: Iterable[tuple[Flow, Count]], family: AddressFamily) -> int:
    return sum(count.bytes for flow, count in rows if (":" in flow.source.address) == (family == "IPv6"))


def _load(load: Load | None) -> LoadSeen | None:
    return None if load is None else _counted(load)


def _counted(load: Load) -> LoadSeen:
    return LoadSeen(load.packets, load.bytes, load.stream)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 1)
