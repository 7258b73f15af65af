"""Ethernet frames at an edge: how much of one may be written down, and what TCP says in it. Does no IO.

RFC 791, 8200, 9293, 768, 8489.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass

from .flows import Connection, Endpoint, Stream

__all__ = ["SNAP", "Segment", "Streams", "harmless_part", "tcp_segment"]

SNAP = 96
"""Bytes of a frame that are looked at."""
ETHERNET = 14
ARP = 0x0806
IPV4, IPV6 = 0x0800, 0x86DD
ICMP, TCP, UDP, ICMPV6 = 1, 6, 17, 58
UDP_KEPT = 8 + 20
"""A UDP header, and of the payload what tells its class: a STUN header has 20 bytes, and behind it stand user names."""
ICMP_KEPT = 8
SYN = 0x02
MOST_CONNECTIONS = 65536


@dataclass(frozen=True)
class Segment:
    """A TCP segment; `length`: bytes of payload."""

    source: Endpoint
    destination: Endpoint
    sequence: int
    acknowledged: int | None
    syn: bool
    length: int


@dataclass(frozen=True)
class _Packet:
    """Position of the transport header in an IP packet, and the number of bytes from there on."""

    source: str
    destination: str
    protocol: int | None
    """None: a later fragment, or a header that we do not know."""
    start: int
    length: int


def harmless_part(frame: bytes) -> bytes:
    """The headers of a frame, and of UDP payload the first 20 bytes: no password, user name or text is in there."""
    if _ethertype(frame) == ARP:
        return frame[: ETHERNET + 28]
    if (packet := _packet(frame)) is None:
        return frame[:ETHERNET]
    kept = {TCP: _tcp_header_length(frame, packet.start), UDP: UDP_KEPT, ICMP: ICMP_KEPT, ICMPV6: ICMP_KEPT}
    return frame[: packet.start + kept.get(packet.protocol or 0, 0)]


def tcp_segment(frame: bytes) -> Segment | None:
    """None for everything else, and for what is cut too short to tell."""
    packet = _packet(frame)
    if packet is None or packet.protocol != TCP or len(frame) < packet.start + 20:
        return None
    source, destination, sequence, acknowledged, _offset, flags = struct.unpack_from(
        "!HHIIBB", frame, packet.start
    )
    return Segment(
        Endpoint(packet.source, source),
        Endpoint(packet.destination, destination),
        sequence,
        acknowledged if flags & 0x10 else None,
        bool(flags & SYN),
        max(0, packet.length - _tcp_header_length(frame, packet.start)),
    )


def _ethertype(frame: bytes) -> int:
    return int.from_bytes(frame[12:14], "big")


def _tcp_header_length(frame: bytes, start: int) -> int:
    return (frame[start + 12] >> 4) * 4 if len(frame) > start + 12 else 20


def _packet(frame: bytes) -> _Packet | None:
    kind = _ethertype(frame)
    if kind == IPV4 and len(frame) >= ETHERNET + 20:
        first, length, fragment, protocol = struct.unpack_from("!BxHxxHxB", frame, ETHERNET)
        header = (first & 0x0F) * 4
        source, destination = frame[26:30], frame[30:34]
        known = None if fragment & 0x1FFF else protocol
    elif kind == IPV6 and len(frame) >= ETHERNET + 40:
        length, protocol = struct.unpack_from("!HB", frame, ETHERNET + 4)
        header, length = 40, length + 40
        source, destination = frame[22:38], frame[38:54]
        known = protocol if protocol in (TCP, UDP, ICMPV6) else None
    else:
        return None
    return _Packet(
        str(ipaddress.ip_address(source)),
        str(ipaddress.ip_address(destination)),
        known,
        ETHERNET + header,
        length - header,
    )


class Streams:
    """Payload bytes of each TCP connection of a host, by sequence numbers (RFC 9293 section 3.4).

    A connection that is older than the first segment seen counts from there. A repetition counts once, and what the
    other end has not acknowledged not at all.
    """

    def __init__(self) -> None:
        self._sides: dict[Connection, tuple[_Side, _Side]] = {}
        self.forgotten = 0
        """Segments of connections for which there was no room."""

    def observe(self, segment: Segment, *, outgoing: bool) -> None:
        """`outgoing`: the host has sent it."""
        ends = (segment.source, segment.destination)
        connection = Connection(*(ends if outgoing else reversed(ends)))
        if connection not in self._sides and len(self._sides) >= MOST_CONNECTIONS:
            self.forgotten += 1
            return
        sent, received = self._sides.setdefault(connection, (_Side(), _Side()))
        forth, back = (sent, received) if outgoing else (received, sent)
        forth.carried(segment)
        if segment.acknowledged is not None:
            back.acknowledge(segment.acknowledged)

    def read(self) -> dict[Connection, Stream]:
        return {
            connection: Stream(sent.acknowledged, received.acknowledged)
            for connection, (sent, received) in self._sides.items()
        }


class _Side:
    """One direction. Sequence numbers wrap at 2**32, so distances to the newest are what is compared."""

    def __init__(self) -> None:
        self.acknowledged = 0
        self._newest: int | None = None
        """Sequence number behind the last byte that was sent."""
        self._open = 0
        """Bytes before it that are not acknowledged."""

    def carried(self, segment: Segment) -> None:
        if segment.syn:
            self._newest = (segment.sequence + 1) % 2**32  # a SYN takes one number; also of a new connection
            self._open = 0
            return
        end = segment.sequence + segment.length
        if self._newest is None:
            self._newest, self._open = end % 2**32, segment.length
        elif (further := _distance(self._newest, end)) > 0:
            self._newest, self._open = end % 2**32, self._open + further

    def acknowledge(self, number: int) -> None:
        if self._newest is None:
            self._newest = number
            return
        ahead = _distance(self._newest, number)
        if ahead > 1:  # it acknowledges what we have not seen; 1 ahead is only the FIN
            self.carried_unseen(ahead)
            ahead = 0
        left = max(0, -ahead)
        if left < self._open:
            self.acknowledged += self._open - left
            self._open = left

    def carried_unseen(self, length: int) -> None:
        assert self._newest is not None
        self._newest, self._open = (self._newest + length) % 2**32, self._open + length


def _distance(earlier: int, later: int) -> int:
    """From one sequence number to another, between -2**31 and 2**31."""
    return (later - earlier + 2**31) % 2**32 - 2**31
