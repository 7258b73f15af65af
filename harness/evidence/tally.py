"""Packets and bytes of every flow, counted from the frames of an edge: the rows that `flows` reads. Does no IO.

For machines without `nft`. A frame is what a packet socket gets of it: its beginning, and its whole length.
RFC 791, 8200, 7983, 8656.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from typing import NamedTuple

from ..clients.turn.ledger import Count
from .flows import INDICATION, MEDIA, Counts, EdgeCounts, Endpoint, Flow, PacketClass

__all__ = ["MOST_ROWS", "Tally", "kind_of"]

MOST_ROWS = 65536
"""Of one direction. What does not fit is counted as `other`."""

ETHERNET, UDP_HEADER, CHANNEL_HEADER = 14, 8, 4
IPV4, IPV6 = 0x0800, 0x86DD
IPV4_HEADER, IPV6_HEADER = 20, 40
TCP, UDP = 6, 17
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION, AUTHENTICATION = 0, 43, 44, 60, 51
EXTENSIONS = (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION, AUTHENTICATION)
DISCO = bytes.fromhex("5453f09f92ac")
CHANNELS = range(64, 80)
INDICATIONS = (b"\x00\x16", b"\x00\x17")
PEER_IPV4, DATA = b"\x00\x12\x00\x08", b"\x00\x13"
RTCP_TYPES = range(192, 224)
KINDS = (
    *([PacketClass.STUN] * 4 + [PacketClass.OTHER] * 16 + [PacketClass.DTLS] * 44 + [PacketClass.OTHER] * 64),
    *([PacketClass.RTP] * 64 + [PacketClass.OTHER] * 64),
)
"""By first byte (RFC 7983)."""


class Tally:
    """Counts both directions of one edge."""

    def __init__(self, most_rows: int = MOST_ROWS) -> None:
        self._sent, self._delivered = _Direction(most_rows), _Direction(most_rows)

    def observe(self, frame: bytes, length: int, *, outgoing: bool) -> None:
        """`frame`: the beginning of one of `length` bytes. `outgoing`: the host has sent it."""
        (self._sent if outgoing else self._delivered).observe(frame, length)

    def read(self, missed: int) -> EdgeCounts:
        """Read the counts since the beginning.

        `missed`: frames that came faster than they were read. Nobody knows of which direction they were, so that they
        are `other` in both.
        """
        return EdgeCounts(self._sent.read(missed), self._delivered.read(missed))


class _Direction:
    """Addresses stay bytes until somebody reads: this is done for every frame."""

    def __init__(self, most_rows: int) -> None:
        self._most_rows = most_rows
        self._rows: dict[_Key, list[int]] = {}
        """Packets and bytes."""
        self._total = self._fragments = self._other = 0

    def observe(self, frame: bytes, length: int) -> None:
        packet = _packet(frame)
        if packet is None:
            return
        self._total += 1
        if packet.later_fragment:
            self._fragments += 1
            return
        key = _key(packet)
        if key is None or (key not in self._rows and len(self._rows) >= self._most_rows):
            self._other += 1
            return
        row = self._rows.setdefault(key, [0, 0])
        row[0] += 1
        row[1] += length - ETHERNET - packet.fixed_header - _headers(key, packet)

    def read(self, missed: int) -> Counts:
        rows = {_flow(key): Count(*row) for key, row in self._rows.items()}
        return Counts(rows, self._total + missed, self._fragments, self._other + missed)


class _Key(NamedTuple):
    """A `Flow`, with addresses as they are on the wire."""

    source: bytes
    destination: bytes
    ports: tuple[int, int]
    kind: PacketClass
    channel: bool


@dataclass(frozen=True)
class _Packet:
    """Fields of an IP header."""

    source: bytes
    destination: bytes
    protocol: int
    """Behind the headers of extension."""
    fixed_header: int
    """Bytes of the IP header without options and extensions, which is what is taken off to count a payload."""
    transport: bytes
    """Bytes of the packet behind them all, as far as they were captured."""
    later_fragment: bool


def kind_of(payload: bytes) -> tuple[PacketClass, bool]:
    """The class of a UDP payload, and whether it is inside ChannelData."""
    if payload.startswith(DISCO):
        return PacketClass.DISCO, False
    if payload[:1] and payload[0] in CHANNELS:
        return _media_kind(payload[CHANNEL_HEADER:]), True
    if (data := indicated(payload)) and (kind := _media_kind(data)) in MEDIA:
        return kind, False
    return _media_kind(payload), False


def indicated(payload: bytes) -> bytes:
    """Data of a Send or Data indication whose peer has an IPv4 address (RFC 8656, section 11), and what is behind it.

    The address comes before the data, or after it, as coturn has it. Empty: it is none.
    """
    if payload[:2] not in INDICATIONS:
        return b""
    if payload[20:22] == DATA:
        return payload[24:]
    return payload[INDICATION:] if payload[20:24] == PEER_IPV4 and payload[32:34] == DATA else b""


def _media_kind(payload: bytes) -> PacketClass:
    if not payload:
        return PacketClass.OTHER
    kind = KINDS[payload[0]]
    if kind is PacketClass.RTP and payload[1:2] and payload[1] in RTCP_TYPES:
        return PacketClass.RTCP
    return kind


def _packet(frame: bytes) -> _Packet | None:
    """None for what is not IP."""
    ethertype = int.from_bytes(frame[12:14], "big")
    packet = frame[ETHERNET:]
    if ethertype == IPV4 and len(packet) >= IPV4_HEADER:
        later_fragment = bool(int.from_bytes(packet[6:8], "big") & 0x1FFF)
        start = (packet[0] & 0x0F) * 4
        return _Packet(packet[12:16], packet[16:20], packet[9], IPV4_HEADER, packet[start:], later_fragment)
    if ethertype == IPV6 and len(packet) >= IPV6_HEADER:
        protocol, start, later_fragment = _behind_extensions(packet)
        return _Packet(packet[8:24], packet[24:40], protocol, IPV6_HEADER, packet[start:], later_fragment)
    return None


def _behind_extensions(packet: bytes) -> tuple[int, int, bool]:
    """Protocol and place of what is behind the extension headers of an IPv6 packet; True in a later fragment."""
    protocol, start = packet[6], IPV6_HEADER
    while protocol in EXTENSIONS and len(packet) >= start + 8:
        following, length, offset = struct.unpack_from("!BBH", packet, start)
        if protocol == FRAGMENT and offset >> 3:
            return following, start + 8, True
        if protocol == FRAGMENT:
            start += 8
        elif protocol == AUTHENTICATION:
            start += (length + 2) * 4
        else:
            start += (length + 1) * 8
        protocol = following
    return protocol, start, False


def _key(packet: _Packet) -> _Key | None:
    """None where the ports cannot be read."""
    ends = packet.source, packet.destination
    if packet.protocol not in (TCP, UDP):
        return _Key(*ends, (0, 0), PacketClass.REST, channel=False)
    if len(packet.transport) < 4:
        return None
    ports = struct.unpack_from("!HH", packet.transport)
    if packet.protocol == TCP:
        return _Key(*ends, ports, PacketClass.TCP, channel=False)
    return _Key(*ends, ports, *kind_of(packet.transport[UDP_HEADER:]))


def _flow(key: _Key) -> Flow:
    source, destination = (str(ipaddress.ip_address(each)) for each in (key.source, key.destination))
    return Flow(Endpoint(source, key.ports[0]), Endpoint(destination, key.ports[1]), key.kind, key.channel)


def _headers(key: _Key, packet: _Packet) -> int:
    """Bytes between the IP header and what a row counts."""
    if key.kind in (PacketClass.TCP, PacketClass.REST):
        return 0
    if key.channel:
        return UDP_HEADER + CHANNEL_HEADER
    framed = key.kind in MEDIA and indicated(packet.transport[UDP_HEADER:])
    return UDP_HEADER + (INDICATION if framed else 0)
