import os
import socket
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness.clients.relay.client import Packet, RelayClient, RelayClosed, RelayError, probe
from harness.clients.relay.frames import (
    FrameDecoder,
    FrameError,
    FrameType,
    client_info,
    encode,
    signed_message,
)
from harness.hosts import LocalHost, end_process
from harness.urls import RelayUrl, UrlError
from harness.waiting import WaitTimeout, wait_until

from .scripted import Peer, scripted_server

KEY = Ed25519PrivateKey.from_private_bytes(b"\x2a" * 32)
PUBLIC_KEY = "197f6b23e16c8532c6abc838facd5ea789be0c76b2920334039bfa8b3d368d61"
# Vectors of iroh-relay v0.35.0, test_frame_snapshot, with the length of the derp framing.
CLIENT_INFO = (
    "020000006a52454c4159f09f9491"
    + PUBLIC_KEY
    + "88e77b22f292ab37435da8de0bc8cb84e288f4e73b3582a52731e9ff9865465c"
    "87e05e8d427df422bb6e85e1c05f6f749837baa4a5c7eba3230d77569910430e03"
)
RECV_PACKET = "050000002c" + PUBLIC_KEY + "48656c6c6f20576f726c6421"
SEND_PACKET = "0400000028" + PUBLIC_KEY + "476f6f6462796521"
SWITCHING = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: iroh derp http\r\nconnection: upgrade\r\n\r\n"


def url(port: int) -> RelayUrl:
    return RelayUrl.parse(f"http://127.0.0.1:{port}/")


def login(peer: Peer) -> None:
    """The relay's side of an upgrade and a log-in."""
    request = peer.head()
    assert request[0] == b"GET /relay HTTP/1.1"
    assert b"Upgrade: iroh derp http" in request
    peer.send(SWITCHING)
    assert peer.read(len(CLIENT_INFO) // 2)[0] == FrameType.CLIENT_INFO


def answer_ping(peer: Peer) -> None:
    data = peer.read(13)
    assert data[:5] == bytes.fromhex("0c00000008")
    peer.send(encode(FrameType.PONG, data[5:]))


def test_the_codec_agrees_with_upstreams_vectors():
    assert client_info(bytes.fromhex(PUBLIC_KEY), KEY.sign(signed_message())).hex() == CLIENT_INFO
    assert encode(FrameType.SEND_PACKET, bytes.fromhex(PUBLIC_KEY) + b"Goodbye!").hex() == SEND_PACKET
    [frame] = FrameDecoder().feed(bytes.fromhex(RECV_PACKET))
    assert (frame.type, frame.body[32:]) == (FrameType.RECV_PACKET, b"Hello World!")


def test_frames_come_out_whole_however_the_bytes_are_cut():
    data = bytes.fromhex(RECV_PACKET) + encode(FrameType.KEEP_ALIVE) + encode(FrameType.PING, b"12345678")
    decoder = FrameDecoder()
    frames = [frame for byte in data for frame in decoder.feed(bytes([byte]))]
    assert [frame.type for frame in frames] == [FrameType.RECV_PACKET, FrameType.KEEP_ALIVE, FrameType.PING]


@pytest.mark.parametrize(("header", "words"), [("0900000000", "type 9"), ("0500100001", "1048577 bytes")])
def test_wrong_frames_are_named(header, words):
    with pytest.raises(FrameError, match=words):
        FrameDecoder().feed(bytes.fromhex(header))


@pytest.mark.parametrize(
    ("text", "secure", "host", "port"),
    [
        ("http://127.0.0.1:3340", False, "127.0.0.1", 3340),
        ("https://relay.example.org/", True, "relay.example.org", 443),
        ("http://[::1]:80/derp", False, "::1", 80),
        ("HTTP:\\\\relay.example.org:3340", False, "relay.example.org", 3340),
        ("https:/relay.example.org.", True, "relay.example.org", 443),
        ("\thttp://relay.exam\nple.org:\r\n", False, "relay.example.org", 80),
    ],
)
def test_relay_urls(text, secure, host, port):
    assert RelayUrl.parse(text) == RelayUrl(secure, host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "relay.example.org:3340",
        "ftp://x/",
        "http://",
        "http://x:99999/",
        "http://[::1",
        "http://x:-1",
        "http://x:0",
        "http://a b/",
        "http://x:1,http://y:2",
        "wss://x/",
        '"http://x/"',
        "  ",
    ],
)
def test_what_is_no_relay_url_is_refused_with_its_text(text):
    with pytest.raises(UrlError) as refused:
        RelayUrl.parse(text)
    assert repr(text) in str(refused.value)
    assert "cast" not in str(refused.value)


def test_log_in_ping_and_packets():
    def relay(peer: Peer) -> None:
        peer.head()
        peer.send(SWITCHING)
        assert peer.read(len(CLIENT_INFO) // 2).hex() == CLIENT_INFO
        answer_ping(peer)
        assert peer.read(len(SEND_PACKET) // 2).hex() == SEND_PACKET
        peer.send(bytes.fromhex(RECV_PACKET), encode(FrameType.PING, b"relayask"))
        assert peer.read(13) == encode(FrameType.PONG, b"relayask")

    with scripted_server(relay) as port, RelayClient(LocalHost(), url(port), key=KEY) as client:
        assert client.node_id == PUBLIC_KEY
        client.ping()
        client.send(PUBLIC_KEY, b"Goodbye!")
        assert client.receive(within=10) == Packet(PUBLIC_KEY, b"Hello World!")
        client.wait_closed(within=10)


def test_packets_up_to_a_marker_keep_order_and_duplicates():
    def relay(peer: Peer) -> None:
        login(peer)
        for payload in (b"1", b"1", b"2", b"end", b"later"):
            peer.send(encode(FrameType.RECV_PACKET, bytes.fromhex(PUBLIC_KEY) + payload))
        peer.wait_until_closed()

    with scripted_server(relay) as port, RelayClient(LocalHost(), url(port)) as client:
        assert [each.payload for each in client.receive_until(b"end", within=10)] == [
            b"1",
            b"1",
            b"2",
            b"end",
        ]
        assert client.receive(within=10).payload == b"later"


def test_nothing_arrives():
    def relay(peer: Peer) -> None:
        login(peer)
        peer.wait_until_closed()

    with (
        scripted_server(relay) as port,
        RelayClient(LocalHost(), url(port)) as client,
        pytest.raises(WaitTimeout, match="a packet from the relay"),
    ):
        client.receive(within=0.01)


def test_a_refused_log_in_shows_what_the_relay_said():
    def relay(peer: Peer) -> None:
        login(peer)
        peer.send(encode(FrameType.HEALTH, b"not authenticated"))

    with (
        scripted_server(relay) as port,
        RelayClient(LocalHost(), url(port), signature=bytes(64)) as client,
        pytest.raises(RelayClosed, match=r"closed the connection .* it said: not authenticated"),
    ):
        client.receive(within=10)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "answered 200 instead of 101 .* proxy .* drops the upgrade",
        ),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "answered 400 instead of 101"),
        (b"* OK IMAP4 ready\r\n\r\n", r"does not answer in HTTP; it sent '\* OK IMAP4"),
        (b"", "does not answer in HTTP; it sent b''"),
        (b"HTTP/1.1 \xb201 Switching\r\n\r\n", "does not answer in HTTP"),
        (SWITCHING + encode(FrameType.SEND_PACKET, bytes(40)), "SEND_PACKET frame: clients send those"),
        (SWITCHING + b"\xff\0\0\0\0", "type 255, which does not exist"),
    ],
)
def test_what_is_no_relay_is_explained(answer, sentence):
    def relay(peer: Peer) -> None:
        peer.head()
        peer.send(answer)

    with scripted_server(relay) as port, pytest.raises(RelayError, match=sentence):
        RelayClient(LocalHost(), url(port))


def test_a_dead_port_is_named():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(RelayError, match=f"nothing answers at the relay URL http://127.0.0.1:{port}/"):
            RelayClient(LocalHost(), url(port))


def test_probe_returns_status_headers_and_body():
    def relay(peer: Peer) -> None:
        assert peer.head()[0] == b"GET /ping HTTP/1.1"
        peer.send(b"HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: *\r\nContent-Length: 2\r\n\r\n", b"ok")

    with scripted_server(relay) as port:
        answer = probe(LocalHost(), url(port))
    assert (answer.status, answer.headers["access-control-allow-origin"], answer.body) == (200, "*", b"ok")


@pytest.mark.skipif(
    "IROH_RELAY_BIN" not in os.environ, reason="capability iroh_relay_binary: set IROH_RELAY_BIN"
)
def test_the_real_relay(tmp_path: Path):
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        port = chosen.getsockname()[1]
    config = tmp_path / "iroh-relay.toml"
    config.write_text(f'http_bind_addr = "127.0.0.1:{port}"\nenable_stun = false\nenable_metrics = false\n')
    host = LocalHost()

    def answers_ping() -> bool:
        try:
            return probe(host, url(port)).status == 200
        except RelayError:
            return False

    process = host.popen(
        [os.environ["IROH_RELAY_BIN"], "--dev", "--config-path", config],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(answers_ping, "the relay to answer /ping", within=30)
        with RelayClient(host, url(port)) as alice, RelayClient(host, url(port)) as bob:
            alice.ping()
            bob.ping()
            sent = [b"packet %d" % number for number in range(200)]
            for payload in sent:
                alice.send(bob.node_id, payload)
            assert bob.receive_until(sent[-1], within=30) == [Packet(alice.node_id, each) for each in sent]
        with RelayClient(host, url(port), signature=bytes(64)) as liar:
            liar.wait_closed(within=30)
    finally:
        end_process(process, patience=10)
