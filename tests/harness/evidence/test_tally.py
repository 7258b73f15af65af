"""Packets counted from frames: by packet sockets as by nft, to the packet and to the byte."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from dataclasses import replace

import pytest

from harness.clients.turn.ledger import Count
from harness.evidence.edges import Edges
from harness.evidence.flows import Counts, EdgeCounts, Endpoint, PacketClass
from harness.evidence.tally import Tally, kind_of
from harness.network.preflight import preflight

from .rooms import lab, pair, send_over_tcp, udp
from .test_edges import PAYLOADS

__all__ = ["lab", "pair"]

ETHERNET = bytes(12)
UDP_SEGMENT = 103


def ipv4(payload: bytes, *, protocol: int = 17, fragment: int = 0, options: bytes = b"") -> bytes:
    first = 0x45 + len(options) // 4
    header = struct.pack("!BxHxxHxBxx", first, 20 + len(options) + len(payload), fragment, protocol)
    return ETHERNET + b"\x08\x00" + header + bytes([5, 9, 0, 1]) + bytes([5, 9, 0, 2]) + options + payload


def ipv6(payload: bytes, *, following: int = 17) -> bytes:
    header = struct.pack("!IHBB", 0x6 << 28, len(payload), following, 64)
    return (
        ETHERNET
        + b"\x86\xdd"
        + header
        + socket.inet_pton(socket.AF_INET6, "2a01::1")
        + socket.inet_pton(socket.AF_INET6, "2a01::2")
        + payload
    )


def datagram(payload: bytes) -> bytes:
    return struct.pack("!HHHH", 1000, 2000, 8 + len(payload), 0) + payload


def counted(*frames: bytes, missed: int = 0, most_rows: int = 100) -> Counts:
    tally = Tally(most_rows)
    for frame in frames:
        tally.observe(frame[:96], len(frame), outgoing=True)
    found = tally.read(missed)
    assert found.rx == Counts(total=missed, other=missed)
    return found.tx


@pytest.mark.parametrize(("kind", "channel"), PAYLOADS)
def test_every_class_by_its_first_bytes(kind, channel):
    assert kind_of(PAYLOADS[kind, channel]) == (kind, channel)


@pytest.mark.parametrize(
    ("payload", "kind", "channel"),
    [
        (b"", PacketClass.OTHER, False),
        (b"\x40", PacketClass.OTHER, True),
        (b"\x40\0\0\x06TS\xf0\x9f\x92\xac", PacketClass.OTHER, True),
        (b"\x80", PacketClass.RTP, False),
        (b"\x04", PacketClass.OTHER, False),
        (b"\xbf\xc0", PacketClass.RTCP, False),
        (b"\xc0", PacketClass.OTHER, False),
    ],
)
def test_what_is_short_or_strange_has_a_class_too(payload, kind, channel):
    assert kind_of(payload) == (kind, channel)


def test_headers_of_extension_and_options_are_passed_over():
    router_alert, first_fragment = bytes([17, 0, 5, 2, 0, 0, 1, 0]), bytes([17, 0, 0, 1]) + bytes(4)
    rtp = datagram(b"\x80\x6f" + bytes(98))
    rows = counted(
        ipv4(rtp, options=bytes(8)),
        ipv6(router_alert + rtp, following=0),
        ipv6(first_fragment + rtp, following=44),
    ).rows
    assert {(flow.source, flow.kind): count for flow, count in rows.items()} == {
        (Endpoint("5.9.0.1", 1000), PacketClass.RTP): Count(1, 108),
        (Endpoint("2a01::1", 1000), PacketClass.RTP): Count(2, 216),
    }


def test_later_fragments_are_no_flows():
    found = counted(
        ipv4(b"\x80" * 50, fragment=185), ipv6(bytes([17, 0, 0, 8, 0, 0, 0, 1]) + b"\x80" * 50, following=44)
    )
    assert (found.fragments, found.total, dict(found.rows)) == (2, 2, {})


def test_what_is_not_ip_is_not_counted():
    assert counted(ETHERNET + b"\x08\x06" + bytes(28), b"", bytes(14)) == Counts()


def test_a_packet_without_ports_is_counted_and_makes_the_account_worthless():
    found = counted(ipv4(b"\x03"))
    assert (found.total, found.other) == (1, 1)


def test_flows_without_room_and_frames_that_were_missed_make_the_account_worthless():
    found = counted(ipv4(datagram(b"\x80")), ipv4(datagram(b"\x16")), missed=3, most_rows=1)
    assert (len(found.rows), found.total, found.other, found.unaccounted) == (1, 5, 4, 0)
    assert EdgeCounts(found).problems == ["sent: 4 packets had no room in the counters"]


@pytest.mark.parametrize("at", [0, 1], ids=["IPv4", "IPv6"])
def test_packet_sockets_and_nft_count_the_same(pair, at):
    """All classes, fragments, datagrams in one piece, ICMP and TCP, of one and the same traffic."""
    preflight().require("nft")
    alice, bob = pair
    with (
        Edges(pair, by_nft=True) as by_nft,
        Edges(pair, by_nft=False) as by_sockets,
        udp(alice, alice.addresses[at]) as one,
        udp(bob, bob.addresses[at]) as other,
    ):
        to = other.getsockname()[:2]
        for number, payload in enumerate((*PAYLOADS.values(), b"", b"\x40", b"\xff" * 4000), start=1):
            for _ in range(number):
                one.sendto(payload, to)
        one.sendto(b"nobody is there", (to[0], 9))  # answered by ICMP
        other.sendto(b"\x80" + bytes(99), one.getsockname()[:2])
        one.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
        one.sendto(b"\xff" * 10_000, to)
        send_over_tcp(alice, bob, bytes(300_000), bytes(12345))
        by_nft.settle(within=10)
        by_sockets.settle(within=10)
        expected, found = by_nft.now(), by_sockets.now()
    assert {flow.kind for flow in found["alice"].tx.rows} >= set(PacketClass) - {PacketClass.REST}
    assert {flow.kind for flow in found["alice"].rx.rows} >= {
        PacketClass.RTP,
        PacketClass.TCP,
        PacketClass.REST,
    }
    assert found["bob"].rx.fragments > 0
    assert _without_chatter(found) == _without_chatter(expected)


@pytest.mark.parametrize("by_nft", [True, False], ids=["nft", "packet sockets"])
def test_datagrams_that_leave_in_one_piece_are_counted_one_by_one(pair, by_nft):
    """As a TURN server or QUIC sends them (UDP_SEGMENT); clients and ledgers count datagrams."""
    if by_nft:
        preflight().require("nft")
    alice, bob = pair
    with Edges(pair, by_nft=by_nft) as edges, udp(alice) as one, udp(bob) as other:
        one.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 1000)
        one.sendto((b"\x80" + bytes(999)) * 10, other.getsockname())
        assert [len(other.recv(2000)) for _ in range(10)] == [1000] * 10
        edges.settle(within=10)
        found = edges.now()
    for counts in (found["alice"].tx, found["bob"].rx):
        (rtp,) = [count for flow, count in counts.rows.items() if flow.kind is PacketClass.RTP]
        assert rtp.packets == 10


def _without_chatter(edges: Mapping[str, EdgeCounts]) -> dict[str, EdgeCounts]:
    """Without what kernels tell each other by multicast (RFC 3810): the two are not read at the same instant."""
    return {
        name: replace(edge, rx=_without_multicast(edge.rx), tx=_without_multicast(edge.tx))
        for name, edge in edges.items()
    }


def _without_multicast(counts: Counts) -> Counts:
    kept = {
        flow: count for flow, count in counts.rows.items() if not flow.destination.address.startswith("ff02:")
    }
    dropped = sum(count.packets for flow, count in counts.rows.items() if flow not in kept)
    return replace(counts, rows=kept, total=counts.total - dropped)
