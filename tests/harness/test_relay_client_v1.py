"""The harness's own client of iroh-relay-v1/-v2, against the vectors and against scripted relays."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from websockets.frames import Frame, Opcode
from websockets.utils import accept_key

from harness.clients.relay.client import Packet, RelayError
from harness.clients.relay.client_v1 import RelayClientV1, RelayDenied
from harness.clients.relay.frames_v1 import FrameType, client_auth, datagram, message_to_sign, read_datagram
from harness.hosts import LocalHost
from harness.urls import RelayUrl
from tests.harness.scripted import Peer, scripted_server

VECTORS = json.loads((Path(__file__).parents[1] / "fixtures" / "iroh-relay.json").read_text())["vectors"]
WIRE = {
    vector["name"]: bytes.fromhex(vector["hex"]) for vector in VECTORS if vector["gen"] == "iroh-relay-v1/v2"
}
KEY = Ed25519PrivateKey.from_private_bytes(b"*" * 32)
PUBLIC = KEY.public_key().public_bytes_raw()
CHALLENGE = WIRE["ServerChallenge challenge=00..0f"]
CONFIRMED = WIRE["ServerConfirmsAuth"]


def test_log_in_is_that_of_the_vectors():
    assert message_to_sign(CHALLENGE[1:]) == WIRE["message to sign for that challenge"]
    signature = KEY.sign(message_to_sign(CHALLENGE[1:]))
    assert client_auth(PUBLIC, signature) == WIRE["ClientAuth for that challenge"]


def test_datagrams_are_those_of_the_vectors():
    marked = bytearray(datagram(PUBLIC, b"Hello World!"))
    marked[33] = 3  # ours are not marked for congestion, the vector is
    assert marked == WIRE["c2r datagram ecn=CE 'Hello World!'"]
    for name in ("r2c datagram ecn=CE 'Hello World!'", "r2c datagram_batch ecn=CE seg=6 'Hello World!'"):
        wire = WIRE[name]
        assert read_datagram(FrameType(wire[0]), wire[1:]) == (PUBLIC, b"Hello World!")
    with pytest.raises(ValueError, match="no contents"):
        read_datagram(FrameType.RECEIVED_BATCH, PUBLIC + bytes(3))


def message(data):
    return Frame(Opcode.BINARY, data).serialize(mask=False)


def upgrade(peer: Peer, protocol="iroh-relay-v2"):
    head = peer.head()
    assert b"Sec-WebSocket-Protocol: iroh-relay-v2, iroh-relay-v1" in head
    key = next(line.partition(b": ")[2] for line in head if line.startswith(b"Sec-WebSocket-Key"))
    answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
    answer += f"Sec-WebSocket-Accept: {accept_key(key.decode())}\r\n"
    answer += f"Sec-WebSocket-Protocol: {protocol}\r\n\r\n" if protocol else "\r\n"
    peer.send(answer.encode())


def url(port):
    return RelayUrl.parse(f"http://127.0.0.1:{port}/")


def test_everything_that_a_relay_says_is_understood():
    def relay(peer: Peer) -> None:
        upgrade(peer)
        peer.send(message(CHALLENGE), message(CONFIRMED))
        for name in (
            "r2c datagram ecn=CE 'Hello World!'",
            "r2c ping",
            "r2c status SameEndpointIdConnected (v2 only)",
            "r2c health (v1 only) 'Hello? Yes this is dog.'",
            "r2c restarting(10,20)",
            "r2c endpoint_gone",
        ):
            peer.send(message(WIRE[name]))
        peer.send(message(b"\x06" + PUBLIC + b"\0end"))
        peer.wait_until_closed()

    with scripted_server(relay) as port, RelayClientV1(LocalHost(), url(port), key=KEY) as client:
        assert client.protocol == "iroh-relay-v2"
        packets = client.receive_until(b"end", within=10)
        assert packets[0] == Packet(PUBLIC.hex(), b"Hello World!")
        assert (client.gone, client.pings, client.active) == ([PUBLIC.hex()], 1, False)
        assert client.health == ["Hello? Yes this is dog."]


def test_refused_log_in_has_the_relays_words():
    def relay(peer: Peer) -> None:
        upgrade(peer)
        peer.send(message(CHALLENGE), message(WIRE["ServerDeniesAuth 'not authorized'"]))

    with (
        scripted_server(relay) as port,
        pytest.raises(RelayDenied, match="refused the log-in: not authorized"),
    ):
        RelayClientV1(LocalHost(), url(port))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 7\r\n\r\nno way!",
            "answered 400 .* no way!: it does not",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "answered 200 instead of 101"),
        (b"SSH-2.0-relay\r\n\r\n", "the upgrade to WebSocket at the relay .* went wrong"),
        (b"", "closed the connection instead of answering"),
    ],
)
def test_what_is_no_relay_is_named(answer, words):
    def relay(peer: Peer) -> None:
        peer.head()
        peer.send(answer)

    with scripted_server(relay) as port, pytest.raises(RelayError, match=words):
        RelayClientV1(LocalHost(), url(port))


def test_relay_that_chooses_no_protocol_is_refused():
    with (
        scripted_server(lambda peer: upgrade(peer, "")) as port,
        pytest.raises(RelayError, match="chose no protocol of ours"),
    ):
        RelayClientV1(LocalHost(), url(port))


@pytest.mark.parametrize(
    "wrong", [b"", b"\x0e", b"\x06short", WIRE["c2r datagram ecn=CE 'Hello World!'"], b"\x0d"]
)
def test_message_that_a_relay_may_not_send_is_an_error(wrong):
    def relay(peer: Peer) -> None:
        upgrade(peer)
        peer.send(message(CHALLENGE), message(CONFIRMED), message(wrong))

    with (
        scripted_server(relay) as port,
        pytest.raises(RelayError),
        RelayClientV1(LocalHost(), url(port)) as client,
    ):
        client.receive(within=10)
