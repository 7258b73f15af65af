import json
from pathlib import Path

import pytest

from reference_server.iroh_relay.framing import FrameError, frame_end
from reference_server.iroh_relay.keys import is_point, is_small_order
from reference_server.iroh_relay.v035.frames import (
    MAX_BODY,
    ClientInfo,
    Frame,
    Health,
    KeepAlive,
    NodeGone,
    NotePreferred,
    Ping,
    Pong,
    RecvPacket,
    Restarting,
    SendPacket,
    decode,
    encode,
    message,
)
from tests.reference_server.iroh_relay.support import Node

VECTORS = json.loads((Path(__file__).parents[2] / "fixtures" / "iroh-relay.json").read_text())["vectors"]
RELAY_VECTORS = [vector for vector in VECTORS if vector["gen"] == "0.35" and "framing" in vector]
NODE = Node(0x2A)
FRAMES: dict[str, Frame] = {
    "health('Hello? Yes this is dog.')": Health("Hello? Yes this is dog."),
    "keep_alive": KeepAlive(),
    "note_preferred(true)": NotePreferred(True),
    "node_gone": NodeGone(NODE.key),
    "ping(2a*8)": Ping(b"*" * 8),
    "pong(2a*8)": Pong(b"*" * 8),
    "recv_packet('Hello World!')": RecvPacket(NODE.key, b"Hello World!"),
    "send_packet('Goodbye!')": SendPacket(NODE.key, b"Goodbye!"),
    "restarting(10,20)": Restarting(10, 20),
    "client_info(version=3)": ClientInfo(NODE.key, NODE.client_info()[46:110], b"\x03"),
}


@pytest.mark.parametrize("vector", RELAY_VECTORS, ids=lambda vector: vector["name"] + vector["framing"][:4])
def test_vector_in_both_directions(vector):
    wire, expected = bytes.fromhex(vector["hex"]), FRAMES[vector["name"]]
    if vector["framing"].startswith("derp"):
        assert encode(expected) == wire
        assert frame_end(bytearray(wire), 0, len(wire), MAX_BODY) == len(wire)
        assert decode(wire[0], wire[5:]) == expected
    else:
        assert message(expected) == wire
        assert decode(wire[0], wire[1:]) == expected


def test_every_frame_type_has_both_vectors():
    assert len(RELAY_VECTORS) == 2 * len(FRAMES)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (2, b"RELAY" + bytes(101)),
        (2, b"RELAY\xf0\x9f\x94\x91" + NODE.key + bytes(63)),
        (4, bytes(31)),
        (4, NODE.key + bytes(65_537)),
        (5, bytes(31)),
        (6, b"x"),
        (7, b""),
        (7, b"\x02"),
        (8, NODE.key + b"x"),
        (8, NODE.key[:31]),
        (12, bytes(7)),
        (12, bytes(9)),
        (13, bytes(7)),
        (14, b"\xff"),
        (15, bytes(7)),
        *[(kind, b"") for kind in (0, 1, 3, 9, 10, 11, 16, 255)],
    ],
)
def test_wrong_frame_is_refused(kind, body):
    with pytest.raises(FrameError):
        decode(kind, body)


@pytest.mark.parametrize("header", ["04ffffffff", "0400010021", "0900000000", "0c00000009"])
def test_bad_header_is_refused_before_its_body_has_arrived(header):
    with pytest.raises(FrameError):
        frame_end(bytearray.fromhex(header), 0, 5, MAX_BODY)


def test_largest_packet_is_a_frame():
    assert decode(4, NODE.key + bytes(65_536)) == SendPacket(NODE.key, bytes(65_536))


def test_keys_that_are_no_points_are_refused_in_every_frame():
    no_point = next(key for key in (bytes([n]) + bytes(31) for n in range(2, 50)) if not is_point(key))
    for kind in (4, 5, 8):
        with pytest.raises(FrameError, match="not an ed25519 public key"):
            decode(kind, no_point)


def test_points_of_small_order_are_known():
    order_8 = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
    for key in (b"\x01" + bytes(31), bytes(32), order_8, order_8[:31] + bytes([order_8[31] | 0x80])):
        assert is_point(key)
        assert is_small_order(key)
    assert is_point(NODE.key)
    assert not is_small_order(NODE.key)
