import json
from pathlib import Path

import pytest

from reference_server.iroh_relay.framing import FrameError, frame_end
from reference_server.iroh_relay.keys import is_point
from reference_server.iroh_relay.signatures import Ed25519Signatures
from reference_server.iroh_relay.v1.frames import (
    MAX_BODY,
    ClientAuth,
    Datagram,
    EndpointGone,
    Frame,
    Health,
    Ping,
    Pong,
    Restarting,
    ServerChallenge,
    ServerConfirmsAuth,
    ServerDeniesAuth,
    Status,
    decode,
    encode,
    message,
)
from reference_server.iroh_relay.v1.handshake import is_proved, message_to_sign
from tests.reference_server.iroh_relay.support import Node

VECTORS = json.loads((Path(__file__).parents[2] / "fixtures" / "iroh-relay.json").read_text())["vectors"]
WIRE = {
    vector["name"]: bytes.fromhex(vector["hex"]) for vector in VECTORS if vector["gen"] == "iroh-relay-v1/v2"
}
NODE = Node(0x2A)
CHALLENGE = bytes(range(16))
DERIVED = "message to sign for that challenge"
HELLO = b"Hello World!"
CE = 3
FRAMES: dict[str, Frame] = {
    "r2c health (v1 only) 'Hello? Yes this is dog.'": Health("Hello? Yes this is dog."),
    "r2c endpoint_gone": EndpointGone(NODE.key),
    "r2c ping": Ping(b"*" * 8),
    "r2c pong": Pong(b"*" * 8),
    "r2c datagram_batch ecn=CE seg=6 'Hello World!'": Datagram(True, NODE.key, CE, HELLO, 6),
    "r2c datagram ecn=CE 'Hello World!'": Datagram(True, NODE.key, CE, HELLO),
    "r2c restarting(10,20)": Restarting(10, 20),
    "r2c status SameEndpointIdConnected (v2 only)": Status(1),
    "c2r ping": Ping(b"*" * 8),
    "c2r pong": Pong(b"*" * 8),
    "c2r datagram_batch ecn=CE seg=6 'Hello World!'": Datagram(False, NODE.key, CE, HELLO, 6),
    "c2r datagram ecn=CE 'Hello World!'": Datagram(False, NODE.key, CE, HELLO),
    "ServerChallenge challenge=00..0f": ServerChallenge(CHALLENGE),
    "ClientAuth for that challenge": ClientAuth(NODE.key, NODE.client_auth(CHALLENGE)[-64:]),
    "ServerConfirmsAuth": ServerConfirmsAuth(),
    "ServerDeniesAuth 'not authorized'": ServerDeniesAuth("not authorized"),
}
INVALID = {name: wire for name, wire in WIRE.items() if name.startswith("invalid")}


def version_of(frame):
    return 1 if isinstance(frame, Health) else 2


@pytest.mark.parametrize("name", FRAMES)
def test_vector_in_both_directions(name):
    wire, expected = WIRE[name], FRAMES[name]
    assert message(expected) == wire
    assert decode(wire[0], wire[1:], version_of(expected)) == expected
    inside = encode(expected)
    assert frame_end(bytearray(inside), 0, len(inside), MAX_BODY) == len(inside)
    assert inside[:1] + inside[5:] == wire


def test_every_vector_is_used():
    assert set(WIRE) == {*FRAMES, *INVALID, DERIVED}


@pytest.mark.parametrize("name", INVALID)
def test_invalid_vector_is_refused(name):
    with pytest.raises(FrameError):
        decode(INVALID[name][0], INVALID[name][1:], 2)


def test_challenge_is_signed_as_the_vectors_say():
    assert message_to_sign(CHALLENGE) == WIRE[DERIVED]
    auth = decode(1, WIRE["ClientAuth for that challenge"][1:], 2)
    assert isinstance(auth, ClientAuth)
    assert is_proved(auth, CHALLENGE, Ed25519Signatures())
    assert not is_proved(auth, CHALLENGE[::-1], Ed25519Signatures())


@pytest.mark.parametrize(
    ("version", "kind", "body"),
    [
        (2, 0, bytes(15)),
        (2, 0, bytes(17)),
        (2, 1, NODE.key + b"\x40" + bytes(63)),
        (2, 1, NODE.key + b"\x3f" + bytes(63)),
        (2, 1, NODE.key[:31]),
        (2, 2, b"x"),
        (2, 3, b""),
        (2, 3, b"\x02x"),
        (2, 3, b"\x01\xff"),
        (2, 4, NODE.key),
        (2, 4, NODE.key + bytes(65_505)),
        (2, 5, NODE.key + bytes(2)),
        (2, 8, NODE.key + b"x"),
        (2, 9, bytes(7)),
        (2, 10, bytes(9)),
        (2, 11, b"only in version 1"),
        (1, 11, b"\xff"),
        (2, 12, bytes(7)),
        (1, 13, b"\x00"),
        (2, 13, b""),
        *[(2, kind, b"") for kind in (14, 63, 64, 255)],
    ],
)
def test_wrong_frame_is_refused(version, kind, body):
    with pytest.raises(FrameError):
        decode(kind, body, version)


def test_largest_datagram_is_a_frame():
    assert decode(4, NODE.key + bytes(65_504), 2) == Datagram(False, NODE.key, 0, bytes(65_503))


def test_keys_that_are_no_points_are_refused_in_every_frame():
    no_point = next(key for key in (bytes([n]) + bytes(31) for n in range(2, 50)) if not is_point(key))
    for kind, rest in ((1, b"\x40" + bytes(64)), (4, bytes(2)), (5, bytes(4)), (8, b"")):
        with pytest.raises(FrameError, match="not an ed25519 public key"):
            decode(kind, no_point + rest, 2)
