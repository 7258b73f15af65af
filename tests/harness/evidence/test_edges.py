"""Counters and captures at the edges of real namespaces: exact to the packet and to the byte."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import dpkt  # type: ignore[import-untyped]
import pytest

from harness.clients.turn.ledger import Count
from harness.evidence import capture, flows
from harness.evidence.edges import Edges
from harness.evidence.flows import Connection, Endpoint, Flow, PacketClass, Stream

from .rooms import lab, pair, send_over_tcp, udp

__all__ = ["lab", "pair"]

PAYLOADS = {
    (PacketClass.STUN, False): b"\0" + bytes(19),
    (PacketClass.DTLS, False): b"\x16" + bytes(30),
    (PacketClass.RTCP, False): b"\x80\xc8" + bytes(18),
    (PacketClass.RTP, False): b"\x80\x6f" + bytes(98),
    (PacketClass.DISCO, False): "TS💬".encode() + bytes(40),
    (PacketClass.OTHER, False): b"\xff" * 77,
    (PacketClass.STUN, True): b"\x40\0\0\x14\0" + bytes(19),
    (PacketClass.DTLS, True): b"\x40\0\0\x0a\x16" + bytes(9),
    (PacketClass.RTCP, True): b"\x40\0\0\x10\x80\xc8" + bytes(14),
    (PacketClass.RTP, True): b"\x40\0\0\x40\x80\x6f" + bytes(62),
    (PacketClass.OTHER, True): b"\x40\0\0\x05\xff" + bytes(4),
}


def indication(method: int, data: bytes) -> bytes:
    """A Send (0x16) or Data (0x17) indication; the peer has an IPv4 address."""
    attributes = b"\0\x12\0\x08" + bytes(8) + b"\0\x13" + len(data).to_bytes(2, "big") + data
    return bytes([0, method]) + len(attributes).to_bytes(2, "big") + bytes(16) + attributes


def indication_of_coturn(data: bytes) -> bytes:
    """A Data indication with the peer's address behind the data; `data` needs no padding."""
    attributes = b"\0\x13" + len(data).to_bytes(2, "big") + data + b"\0\x12\0\x08" + bytes(8)
    return b"\0\x17" + len(attributes).to_bytes(2, "big") + bytes(16) + attributes


INDICATED = {
    PacketClass.DTLS: indication(0x16, b"\x16" + bytes(31)),
    PacketClass.RTCP: indication(0x17, b"\x80\xc8" + bytes(18)),
    PacketClass.RTP: indication(0x17, b"\x90\x6f" + bytes(98)),
    PacketClass.STUN: indication(0x16, b"\0\1" + bytes(18)),
}
"""By the class in which each is counted: media as media, connectivity checks as what they are."""


@pytest.mark.parametrize("by_nft", [True, False], ids=["nft", "packet sockets"])
def test_media_in_indications_is_media_without_its_frame(pair, by_nft):
    alice, bob = pair
    with Edges(pair, by_nft=by_nft) as edges, udp(alice) as one, udp(bob) as other:
        for payload in INDICATED.values():
            one.sendto(payload, other.getsockname())
        one.sendto(b"\x80\x6f" + bytes(98), other.getsockname())
        for data in (b"\x16" + bytes(31), b"\x80\xc8" + bytes(18), b"\x90\x6f" + bytes(98)):
            one.sendto(indication_of_coturn(data), other.getsockname())
        edges.settle(within=10)
        rows = edges.now()["bob"].rx.rows
        ends = Endpoint(*one.getsockname()), Endpoint(*other.getsockname())
    assert {kind: rows[Flow(*ends, kind)] for kind in INDICATED} == {
        PacketClass.DTLS: Count(2, 64),
        PacketClass.RTCP: Count(2, 40),
        PacketClass.RTP: Count(3, 300),
        PacketClass.STUN: Count(1, 56),
    }


@pytest.mark.parametrize("version", [4, 6])
def test_every_class_is_counted_at_both_ends(pair, version):
    alice, bob = pair
    with Edges(pair) as edges:
        edges.begin("talk")
        at = 0 if version == 4 else 1
        with udp(alice, alice.addresses[at]) as one, udp(bob, bob.addresses[at]) as other:
            source, destination = Endpoint(*one.getsockname()[:2]), Endpoint(*other.getsockname()[:2])
            for number, payload in enumerate(PAYLOADS.values(), start=1):
                for _ in range(number):
                    one.sendto(payload, destination)
            edges.settle(within=10)
        counted = edges.phase("talk")
    expected = {
        Flow(source, destination, kind, channel): Count(
            number, number * (len(payload) - (4 if channel else 0))
        )
        for number, ((kind, channel), payload) in enumerate(PAYLOADS.items(), start=1)
    }
    for rows in (counted["alice"].tx.rows, counted["bob"].rx.rows):
        assert {flow: count for flow, count in rows.items() if flow.protocol == "udp"} == expected
    assert counted["alice"].problems == counted["bob"].problems == []


def test_an_empty_datagram_has_no_class_and_is_counted(pair):
    alice, bob = pair
    with Edges(pair) as edges, udp(alice) as one, udp(bob) as other:
        one.sendto(b"", other.getsockname())
        edges.settle(within=10)
        rows = edges.now()["bob"].rx.rows
        flow = Flow(Endpoint(*one.getsockname()), Endpoint(*other.getsockname()), PacketClass.OTHER)
    assert rows[flow] == Count(1, 0)


def test_a_phase_is_what_came_between_two_readings(pair):
    alice, bob = pair
    with Edges(pair) as edges, udp(alice) as one, udp(bob) as other:
        for phase, packets in (("joining", 5), ("media", 7), ("hanging up", 2)):
            edges.begin(phase)
            for _ in range(packets):
                one.sendto(b"\x80" + bytes(99), other.getsockname())
        edges.settle(within=10)
        flow = Flow(Endpoint(*one.getsockname()), Endpoint(*other.getsockname()), PacketClass.RTP)
        seen = {phase: edges.phase(phase) for phase in ("joining", "media", "hanging up")}
    assert {phase: each["bob"].rx.rows[flow] for phase, each in seen.items()} == {
        "joining": Count(5, 500),
        "media": Count(7, 700),
        "hanging up": Count(2, 200),
    }


def test_attempted_and_delivered_are_different(pair):
    """The internet drops what bob should get: alice has sent it all the same."""
    alice, bob = pair
    alice.link.upstream.nft(
        f"table inet cut {{ chain forward_cut {{ type filter hook forward priority 0\n"
        f"oifname {bob.link.outer} udp dport 1-65535 drop\n}}\n}}"
    )
    with Edges(pair) as edges, udp(alice) as one, udp(bob) as other:
        one.sendto(b"\x80" + bytes(99), other.getsockname())
        edges.settle(within=10)
        now = edges.now()
    assert [flow.kind for flow in now["alice"].tx.rows if flow.protocol == "udp"] == [PacketClass.RTP]
    assert not [flow for flow in now["bob"].rx.rows if flow.protocol == "udp"]


@pytest.mark.parametrize("at", [0, 1], ids=["IPv4", "IPv6"])
def test_fragments_are_no_flows(pair, at):
    """Behind the first fragment payload stands where ports would be."""
    alice, bob = pair
    with Edges(pair) as edges, udp(alice, alice.addresses[at]) as one, udp(bob, bob.addresses[at]) as other:
        one.sendto(b"\xff" * 4000, other.getsockname()[:2])
        edges.settle(within=10)
        arrived = edges.now()["bob"].rx
    assert arrived.fragments == 2
    assert [count.packets for flow, count in arrived.rows.items() if flow.protocol == "udp"] == [1]
    assert arrived.unaccounted == 0


def test_flows_without_room_make_the_account_worthless(pair):
    alice, bob = pair
    link = bob.link
    link.upstream.nft(flows.ruleset(link.outer, size=2))
    with udp(bob) as other:
        for _ in range(5):
            with udp(alice) as one:
                one.sendto(b"\x80" + bytes(99), other.getsockname())
                other.recv(100)
    counted = flows.read(link)
    assert len([flow for flow in counted.rx.rows if flow.kind is PacketClass.RTP]) == 2
    assert counted.rx.other == 3
    assert counted.rx.unaccounted == 0
    assert counted.problems == ["delivered: 3 packets had no room in the counters"]


def test_datagrams_that_leave_in_one_piece_keep_their_bytes(pair):
    """A sender of QUIC hands over many datagrams at once (UDP_SEGMENT): the kernel counts one packet, and all bytes."""
    alice, bob = pair
    with Edges(pair) as edges, udp(alice) as one, udp(bob) as other:
        one.setsockopt(socket.IPPROTO_UDP, 103, 1000)
        one.sendto(b"\xff" * 10_000, other.getsockname())
        assert sum(len(other.recv(2000)) for _ in range(10)) == 10_000
        edges.settle(within=10)
        (count,) = (count for flow, count in edges.now()["bob"].rx.rows.items() if flow.protocol == "udp")
    assert count.bytes == 10_000


def test_tcp_is_counted_by_sequence_numbers(pair, tmp_path):
    alice, bob = pair
    data, answer = bytes(8 * 1024 * 1024), bytes(12345)
    with Edges(pair) as edges:
        send_over_tcp(alice, bob, data, answer)
        edges.settle(within=10)
        now = edges.now()
    ((connection, stream),) = now["alice"].streams.items()
    assert connection.remote == Endpoint(bob.address, 3340)
    assert stream == Stream(sent=len(data), received=len(answer))
    reversed_connection = Connection(connection.remote, connection.local)
    assert now["bob"].streams == {reversed_connection: Stream(len(answer), len(data))}


def test_a_capture_explains_and_keeps_no_secret(pair, tmp_path: Path):
    alice, bob = pair
    file = tmp_path / "capture.pcapng"
    with Edges(pair, file) as edges, udp(alice) as one, udp(bob) as other:
        one.sendto(b"\0\1\0\x20\x21\x12\xa4\x42" + bytes(12) + b"\0\6\0\x08USERNAME", other.getsockname())
        send_over_tcp(alice, bob, b"a1 LOGIN alice hunter2\r\n", b"a1 OK hunter2\r\n")
        edges.settle(within=10)
        assert edges.dropped == {"alice": 0, "bob": 0}
    written = file.read_bytes()
    assert b"USERNAME" not in written
    assert b"hunter2" not in written
    assert b"LOGIN" not in written
    with file.open("rb") as stream:
        frames = [dpkt.ethernet.Ethernet(data).data for _time, data in dpkt.pcapng.Reader(stream)]
    packets = [each.data for each in frames if isinstance(each, dpkt.ip.IP)]
    datagrams = [each for each in packets if isinstance(each, dpkt.udp.UDP)]
    assert [len(each.data) for each in datagrams] == [20, 20], "once at each edge, without attributes"
    assert any(isinstance(each, dpkt.tcp.TCP) for each in packets)
    assert b"alice" in written
    assert b"bob" in written


def test_streams_are_read_as_of_one_moment(pair, monkeypatch):
    """Where traffic never rests, the bytes at two edges belong together all the same."""
    alice, bob = pair
    with (
        bob.socket(socket.AF_INET, socket.SOCK_STREAM) as listener,
        alice.socket(socket.AF_INET, socket.SOCK_STREAM) as one,
        Edges(pair) as edges,
    ):
        listener.bind((bob.address, 3340))
        listener.listen()
        one.connect((bob.address, 3340))
        other, _address = listener.accept()

        def talk() -> None:
            one.sendall(bytes(50_000))
            assert len(other.recv(50_000, socket.MSG_WAITALL)) == 50_000

        drain = capture._Edge.drain

        def drain_and_talk(edge: capture._Edge, *args: Any, **kwargs: Any) -> None:
            drain(edge, *args, **kwargs)
            if edge.name == "alice" and kwargs:  # she has been read, bob has not
                talk()

        with other:
            talk()
            edges.settle(within=10)
            monkeypatch.setattr(capture._Edge, "drain", drain_and_talk)
            now = edges.now()
            monkeypatch.undo()
            edges.settle(within=10)
            later = edges.now()
    assert [streams_of(now[name]) for name in ("alice", "bob")] == [Stream(50_000, 0), Stream(0, 50_000)]
    assert [streams_of(later[name]) for name in ("alice", "bob")] == [Stream(100_000, 0), Stream(0, 100_000)]


def streams_of(edge: flows.EdgeCounts) -> Stream:
    [stream] = edge.streams.values()
    return stream
