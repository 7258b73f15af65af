"""What may be written down of a frame, and TCP by its sequence numbers."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.evidence.flows import Connection, Endpoint, Stream
from harness.evidence.frames import SNAP, Segment, Streams, harmless_part, tcp_segment

SECRET = b"hunter2" * 20
HERE, THERE = Endpoint("10.0.0.1", 1000), Endpoint("5.9.0.1", 993)


def ethernet(kind: int, payload: bytes) -> bytes:
    return bytes(12) + kind.to_bytes(2, "big") + payload


def ipv4(protocol: int, payload: bytes, *, fragment: int = 0, options: bytes = b"") -> bytes:
    first = 0x40 | (5 + len(options) // 4)
    total = 20 + len(options) + len(payload)
    header = struct.pack(
        "!BBHHHBBH4s4s", first, 0, total, 1, fragment, 64, protocol, 0, b"\x0a\0\0\1", b"\5\t\0\1"
    )
    return ethernet(0x0800, header + options + payload)


def ipv6(protocol: int, payload: bytes) -> bytes:
    return ethernet(0x86DD, struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + bytes(32) + payload)


def tcp(payload: bytes, *, options: bytes = b"", sequence: int = 7, flags: int = 0x18) -> bytes:
    offset = (5 + len(options) // 4) << 4
    return struct.pack("!HHIIBBHHH", 1000, 993, sequence, 9, offset, flags, 1, 0, 0) + options + payload


@pytest.mark.parametrize(
    ("frame", "kept"),
    [
        (ipv4(6, tcp(SECRET)), 14 + 20 + 20),
        (ipv4(6, tcp(SECRET, options=bytes(12))), 14 + 20 + 32),
        (ipv4(6, tcp(SECRET), options=bytes(4)), 14 + 24 + 20),
        (ipv4(17, bytes(8 + 20) + SECRET), 14 + 20 + 28),
        (ipv4(1, bytes(8) + SECRET), 14 + 20 + 8),
        (ipv4(6, SECRET, fragment=100), 14 + 20),
        (ipv4(132, SECRET), 14 + 20),
        (ipv6(6, tcp(SECRET)), 14 + 40 + 20),
        (ipv6(17, bytes(8 + 20) + SECRET), 14 + 40 + 28),
        (ipv6(44, SECRET), 14 + 40),
        (ethernet(0x88CC, SECRET), 14),
        (ethernet(0x0806, bytes(28)), 14 + 28),
    ],
)
def test_headers_stay_and_what_people_say_goes(frame, kept):
    assert len(harmless_part(frame[:SNAP])) == min(kept, SNAP)
    assert b"hunter" not in harmless_part(frame)


@given(st.binary(max_size=SNAP), st.sampled_from([0x0800, 0x86DD, 0x0806, 0]))
def test_any_bytes_can_be_looked_at(data, kind):
    frame = data[:12] + kind.to_bytes(2, "big") + data[12:]
    assert frame.startswith(harmless_part(frame))
    tcp_segment(frame)


def test_a_segment_is_read_with_the_length_that_ip_gives_it():
    segment = tcp_segment(ipv4(6, tcp(SECRET, options=bytes(12)))[:SNAP])
    assert segment == Segment(HERE, THERE, 7, 9, syn=False, length=len(SECRET))


START = 2**32 - 500
"""So that sequence numbers wrap."""


def data(offset: int, length: int) -> Segment:
    return Segment(HERE, THERE, (START + 1 + offset) % 2**32, 1, syn=False, length=length)


def acknowledged(offset: int) -> Segment:
    return Segment(THERE, HERE, 1, (START + 1 + offset) % 2**32, syn=False, length=0)


SYN = Segment(HERE, THERE, START, None, syn=True, length=0)


@pytest.mark.parametrize(
    ("segments", "sent"),
    [
        ([SYN, data(0, 1000), acknowledged(1000)], 1000),
        ([SYN, data(0, 1000), acknowledged(400)], 400),
        ([SYN, data(0, 1000), data(0, 1000), acknowledged(1000), acknowledged(1000)], 1000),
        ([SYN, data(500, 500), data(0, 500), acknowledged(1000), acknowledged(400)], 1000),
        ([SYN, data(0, 1000), acknowledged(1001)], 1000),
        ([SYN, acknowledged(3000)], 3000),
        ([data(5000, 100), acknowledged(5100)], 100),
        ([acknowledged(5000), data(5000, 100), acknowledged(5100)], 100),
        ([SYN, data(0, 10), acknowledged(10), SYN, data(0, 20), acknowledged(20)], 30),
    ],
    ids=[
        "all",
        "in part",
        "repeated",
        "reordered",
        "with its FIN",
        "unseen",
        "older than the watch",
        "older, idle",
        "the same ports again",
    ],
)
def test_a_stream_is_what_the_other_end_has_acknowledged(segments, sent):
    streams = Streams()
    for segment in segments:
        streams.observe(segment, outgoing=segment.source == HERE)
    assert streams.read() == {Connection(HERE, THERE): Stream(sent, 0)}
