"""Kernel counters at the outer end of a host's link: packets and bytes of every flow, by class of first byte.

`tx` is what the host sent (attempted), `rx` is what was delivered to it. The counters stand outside the host, in the
namespace of its upstream, so nothing that runs inside can touch them. One table for each interface, because a key has
five fields at most: an interface would be a sixth. Counters only grow; a phase is the difference of two readings.

Classes: RFC 7983 (what shares a port with RTP), RFC 8656 sections 12.4 (ChannelData) and 11 (Send and Data
indications, in which libwebrtc sends until a channel is bound).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import msgspec

from ..clients.turn.ledger import NOTHING, Count
from ..network.links import Link

__all__ = [
    "CHANNEL",
    "MEDIA",
    "SLACK",
    "Connection",
    "Counts",
    "EdgeCounts",
    "Endpoint",
    "Flow",
    "PacketClass",
    "Stream",
    "install",
    "parse",
    "read",
    "ruleset",
]

SLACK = 3
"""Packets that may be on their way while two counters are read one after the other."""
LISTING_SLACK = 2
"""Packets by which a listing may contradict itself in the end (of single readings 8 of 740 were 1 off)."""
MOST_READINGS = 10
MOST_FLOWS = 4096
"""Of one class, family and direction. What does not fit is counted as `other`.

The kernel makes room for all of them at once, and walks through it when it is read: 65535 would be 56 MB for each edge,
and take 0.3 s to make in place of 0.02.
"""

ETHERNET, IPV4, IPV6, UDP, CHANNEL = 14, 20, 40, 8, 4
INDICATION = 36
"""Bytes of an indication besides its data: STUN header, XOR-PEER-ADDRESS of IPv4, header of DATA.

What else there may be is counted with the data: up to three bytes of padding, and the 24 of coturn's SOFTWARE.
"""


class PacketClass(StrEnum):
    """By protocol, and for UDP by the first byte of the payload; inside ChannelData by the first byte behind it."""

    STUN = "stun"
    DTLS = "dtls"
    RTCP = "rtcp"
    RTP = "rtp"
    DISCO = "disco"
    """Probes of iroh 0.35 nodes: they begin with a magic of six bytes."""
    OTHER = "other"
    TCP = "tcp"
    """Bytes are those behind the IP header; the kernel counts units of up to 64 kB, and repetitions too."""
    REST = "rest"
    """Neither UDP nor TCP, such as ICMP. Both ports are 0, bytes are those behind the IP header."""


MEDIA = frozenset({PacketClass.DTLS, PacketClass.RTCP, PacketClass.RTP})
"""Classes that ICE carries as data: handshake and data channel, RTCP and RTP. Connectivity checks are none of it."""


class Endpoint(NamedTuple):
    address: str
    port: int

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, order=True)
class Flow:
    """A 5-tuple, and one class of what it carried."""

    source: Endpoint
    destination: Endpoint
    kind: PacketClass
    channel: bool = False
    """Inside ChannelData."""

    @property
    def protocol(self) -> str:
        return self.kind.value if self.kind in (PacketClass.TCP, PacketClass.REST) else "udp"

    def __str__(self) -> str:
        return f"{self.kind}{' in channel' if self.channel else ''} {self.source} > {self.destination}"


@dataclass(frozen=True)
class Counts:
    """One direction of one edge. Bytes of UDP rows are payload, without headers and without ChannelData's."""

    rows: Mapping[Flow, Count] = field(default_factory=dict)
    total: int = 0
    """Packets of IP."""
    fragments: int = 0
    """Of them, fragments behind the first; the row has the first one's bytes only."""
    other: int = 0
    """Of them, those for which there was no room: in a full set, or in the buffer of a packet socket."""

    @property
    def unaccounted(self) -> int:
        """Packets that the total has and the parts have not: 0 in a sound account."""
        rows = sum(row.packets for row in self.rows.values())
        return self.total - rows - self.fragments - self.other

    def __add__(self, other: Counts) -> Counts:
        """Sum of the counts at two places."""
        rows = dict(self.rows)
        for flow, count in other.rows.items():
            rows[flow] = rows.get(flow, NOTHING) + count
        return Counts(
            rows, self.total + other.total, self.fragments + other.fragments, self.other + other.other
        )

    def __sub__(self, earlier: Counts) -> Counts:
        """Counts since an earlier reading; flows without a packet since then are left out."""
        since = {flow: count - earlier.rows.get(flow, NOTHING) for flow, count in self.rows.items()}
        return Counts(
            {flow: count for flow, count in since.items() if count != NOTHING},
            self.total - earlier.total,
            self.fragments - earlier.fragments,
            self.other - earlier.other,
        )


class Connection(NamedTuple):
    """A TCP connection, as seen from a host."""

    local: Endpoint
    remote: Endpoint


@dataclass(frozen=True)
class Stream:
    """Bytes of TCP payload, by sequence numbers: what the other end acknowledged. Repetitions count once."""

    sent: int
    received: int

    def __sub__(self, earlier: Stream) -> Stream:
        return Stream(self.sent - earlier.sent, self.received - earlier.received)


@dataclass(frozen=True)
class EdgeCounts:
    """Both directions of the edge of one host."""

    tx: Counts = field(default_factory=Counts)
    """Traffic that the host sent; it may have been lost behind this point."""
    rx: Counts = field(default_factory=Counts)
    """Traffic that was delivered to the host."""
    streams: Mapping[Connection, Stream] = field(default_factory=dict)
    """From a capture at the same place; the kernel's counters do not know sequence numbers."""

    @property
    def problems(self) -> list[str]:
        """Sentences about what makes this account worth nothing; the first words are the direction."""
        found = []
        for name, counts in (("sent", self.tx), ("delivered", self.rx)):
            if counts.other:
                found.append(f"{name}: {counts.other} packets had no room in the counters")
            if abs(counts.unaccounted) > LISTING_SLACK:
                found.append(
                    f"{name}: {counts.total} packets in total, {counts.unaccounted} of them in no row"
                )
        return found

    def __add__(self, other: EdgeCounts) -> EdgeCounts:
        return EdgeCounts(self.tx + other.tx, self.rx + other.rx, {**self.streams, **other.streams})

    def __sub__(self, earlier: EdgeCounts) -> EdgeCounts:
        quiet = Stream(0, 0)
        streams = {key: now - earlier.streams.get(key, quiet) for key, now in self.streams.items()}
        return EdgeCounts(
            self.tx - earlier.tx,
            self.rx - earlier.rx,
            {key: stream for key, stream in streams.items() if stream != quiet},
        )


def install(link: Link) -> None:
    """Count at the outer end of this link from now on, beginning with zero. Raises `RulesetRefused`."""
    link.upstream.nft(ruleset(link.outer))


def read(link: Link) -> EdgeCounts:
    """Read the counts since `install`.

    A listing is not atomic: what passes between its rows and its totals is in one of them only. One that contradicts
    itself is therefore read again; with traffic that never rests, a packet or two may remain.
    """
    for _ in range(MOST_READINGS):
        counted = parse(link.upstream.nft_json("list", "table", "netdev", _table(link.outer)))
        if counted.tx.unaccounted == counted.rx.unaccounted == 0:
            break
    return counted


# The ruleset

FRAMES = {"": 0, "channel": CHANNEL, "indicated": INDICATION}

KEY = "{ip} saddr . {ip} daddr . meta l4proto . th sport . th dport"
KEY_WITHOUT_PORTS = "{ip} saddr . {ip} daddr . meta l4proto"
HOOKS = {"tx": "ingress", "rx": "egress"}
FAMILIES = {"4": "ip", "6": "ip6"}
NOT_FIRST_FRAGMENT = {"4": "ip frag-off & 0x1fff != 0", "6": "frag frag-off != 0"}
INDICATED_CLASSES = tuple(
    f"indicated_{kind}" for kind in (PacketClass.DTLS, PacketClass.RTCP, PacketClass.RTP)
)
INDICATIONS = {
    "peer_first": ("@th,64,16 0x16-0x17 @th,224,32 0x00120008 @th,320,16 0x0013", 352),
    "data_first": ("@th,64,16 0x16-0x17 @th,224,16 0x0013", 256),  # coturn's
}
"""How to know an indication by the order of its attributes, and the bit at which its data begins."""
FIRST_BYTES = "0-3 : goto {0}stun, 20-63 : goto {0}dtls, 128-191 : goto {0}media"
CLASSES = tuple(kind.value for kind in PacketClass)
CHANNEL_CLASSES = tuple(
    f"channel_{kind}"
    for kind in (PacketClass.STUN, PacketClass.DTLS, PacketClass.RTCP, PacketClass.RTP, PacketClass.OTHER)
)


def ruleset(interface: str, *, size: int = MOST_FLOWS) -> str:
    """The rules for one interface; `size`: flows of each class, family and direction."""
    table = f"table netdev {_table(interface)}"
    lines = [table, f"delete {table}", f"{table} {{"]  # in one transaction: the rules of an earlier watch go
    for direction, hook in HOOKS.items():
        lines += [f"counter {direction}_{name} {{ }}" for name in ("total", "fragments", "missed")]
        for version, ip in FAMILIES.items():
            prefix = f"{direction}{version}_"
            for name in (*CLASSES, *CHANNEL_CLASSES, *INDICATED_CLASSES):
                lines += _class(direction, prefix, name, ip, size)
            lines += _dispatch(direction, prefix, version)
        lines += [
            f"chain {direction} {{",
            f'type filter hook {hook} device "{interface}" priority {-300 if hook == "ingress" else 300}',
            "policy accept",
            f"meta protocol {{ ip, ip6 }} counter name {direction}_total",
            f"meta protocol vmap {{ ip : goto {direction}4_, ip6 : goto {direction}6_ }}",
            "}",
        ]
    return "\n".join([*lines, "}", ""])


def _class(direction: str, prefix: str, name: str, ip: str, size: int) -> list[str]:
    """The flows of one class. In a set that is full the update does not match, and the next rule counts."""
    key = (KEY_WITHOUT_PORTS if name == PacketClass.REST else KEY).format(ip=ip)
    return [
        f"set {prefix}{name} {{",
        f"typeof {key}",
        "flags dynamic",
        "counter",
        f"size {size}",
        "}",
        f"chain {prefix}{name} {{",
        f"update @{prefix}{name} {{ {key} counter }} return",
        f"counter name {direction}_missed",
        "}",
    ]


def _dispatch(direction: str, prefix: str, version: str) -> list[str]:
    """Rules that classify a packet. `@th,64,8` is the first byte behind a UDP header; without one it is OTHER."""
    return [
        f"chain {prefix}media {{",
        f"@th,72,8 192-223 goto {prefix}rtcp",
        f"goto {prefix}rtp",
        "}",
        f"chain {prefix}channel_media {{",
        f"@th,104,8 192-223 goto {prefix}channel_rtcp",
        f"goto {prefix}channel_rtp",
        "}",
        *_media_of_indications(prefix),
        f"chain {prefix} {{",
        # Behind the first fragment there are no ports, only payload at their place.
        f"{NOT_FIRST_FRAGMENT[version]} counter name {direction}_fragments return",
        f"meta l4proto tcp goto {prefix}tcp",
        f"meta l4proto != udp goto {prefix}rest",
        f"@th,64,48 0x5453f09f92ac goto {prefix}disco",
        *_indications(prefix),
        f"@th,64,8 vmap {{ {FIRST_BYTES.format(prefix)} }}",
        f"@th,64,8 64-79 @th,96,8 vmap {{ {FIRST_BYTES.format(prefix + 'channel_')} }}",
        f"@th,64,8 64-79 goto {prefix}channel_other",
        f"goto {prefix}other",
        "}",
    ]


def _indications(prefix: str) -> Iterator[str]:
    for order, (is_one, data) in INDICATIONS.items():
        yield f"{is_one} @th,{data},8 20-63 goto {prefix}indicated_dtls"
        yield f"{is_one} @th,{data},8 128-191 goto {prefix}{order}_media"


def _media_of_indications(prefix: str) -> Iterator[str]:
    for order, (_, data) in INDICATIONS.items():
        yield f"chain {prefix}{order}_media {{"
        yield f"@th,{data + 8},8 192-223 goto {prefix}indicated_rtcp"
        yield f"goto {prefix}indicated_rtp"
        yield "}"


def _table(interface: str) -> str:
    return f"evidence_{interface}"


# The reading


def parse(text: str) -> EdgeCounts:
    """From what `nft -j list table` says of such a ruleset."""
    items = msgspec.json.decode(text)["nftables"]  # 80 kB, several times in each phase
    counters = {
        each["counter"]["name"]: int(each["counter"]["packets"]) for each in items if "counter" in each
    }
    sets = [each["set"] for each in items if "set" in each]
    tx, rx = (
        Counts(
            _summed(_rows(sets, direction)),
            counters[f"{direction}_total"],
            counters[f"{direction}_fragments"],
            counters[f"{direction}_missed"],
        )
        for direction in HOOKS
    )
    return EdgeCounts(tx, rx)


def _summed(rows: Iterable[tuple[Flow, Count]]) -> dict[Flow, Count]:
    """Data of indications is of the same flow and class as data without a frame."""
    found: dict[Flow, Count] = {}
    for flow, count in rows:
        found[flow] = found.get(flow, NOTHING) + count
    return found


def _rows(sets: Iterable[Mapping[str, Any]], direction: str) -> Iterator[tuple[Flow, Count]]:
    for each in sets:
        where, _, name = each["name"].partition("_")
        if where.startswith(direction):
            frame, _, bare = name.rpartition("_")
            channel, kind = frame == "channel", PacketClass(bare)
            headers = _headers(kind, frame, outgoing=direction == "tx", version=where[-1])
            for element in each.get("elem", ()):
                yield _row(element["elem"], kind, channel=channel, headers=headers)


def _row(element: Mapping[str, Any], kind: PacketClass, *, channel: bool, headers: int) -> tuple[Flow, Count]:
    source, destination, _protocol, *ports = element["val"]["concat"]
    source_port, destination_port = ports or (0, 0)
    packets = int(element["counter"]["packets"])
    return (
        Flow(Endpoint(source, source_port), Endpoint(destination, destination_port), kind, channel),
        Count(packets, int(element["counter"]["bytes"]) - headers * packets),
    )


def _headers(kind: PacketClass, frame: str, *, outgoing: bool, version: str) -> int:
    """Bytes of each packet in front of what a row counts. At the egress hook the Ethernet header is counted too."""
    return (
        (0 if outgoing else ETHERNET)
        + (IPV4 if version == "4" else IPV6)
        + (0 if kind in (PacketClass.TCP, PacketClass.REST) else UDP)
        + FRAMES[frame]
    )
