"""The relay over real sockets on loopback: what the shell does with its connections."""

import asyncio
import contextlib
import datetime
import ipaddress
import os
import shutil
import socket
import ssl
import subprocess
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.frames import Frame, Opcode

from reference_server.iroh_relay.access import Allowlist, HttpAccess
from reference_server.iroh_relay.config import TlsConfig
from reference_server.iroh_relay.limits import RateLimit, RelayLimits
from tests.reference_server.iroh_relay.serving import ANY_PORT, events, serve
from tests.reference_server.iroh_relay.support import DEADLINE, Node, Peer, frame, packet

ALICE, BOB = Node(1), Node(2)


def test_packet_crosses_the_relay_and_the_ledger_counts_socket_bytes():
    with serve() as (port, ledger), Peer(port) as alice, Peer(port) as bob:
        alice.log_in(ALICE)
        bob.log_in(BOB)
        alice.sock.sendall(packet(BOB.key, b"hello"))
        assert bob.read_frame() == (5, ALICE.key + b"hello")
        snapshot = ledger.snapshot()
        request = len(b"GET /relay HTTP/1.1\r\nhost: x\r\nupgrade: iroh derp http\r\n\r\n")
        first = snapshot["connections"][0]
        assert first["identity"] == ALICE.key.hex()
        assert first["bytes_in"] == request + len(ALICE.client_info()) + 13 + 42
        assert (first["frames_in"], first["frames_out"]) == (3, 1)
        assert [(pair["frames"], pair["bytes"]) for pair in snapshot["pairs"]] == [(1, 5)]
        assert [event["node_id"] for event in events(ledger, "login")] == [ALICE.key.hex(), BOB.key.hex()]


def test_client_need_not_wait_for_the_101():
    with serve() as (port, _), Peer(port) as alice:
        alice.upgrade(ALICE.client_info() + frame(12, b"12345678"))
        assert alice.read_frame() == (13, b"12345678")


def test_websocket_and_derp_clients_reach_each_other():
    def message(body):
        return Frame(Opcode.BINARY, body).serialize(mask=True)

    with serve() as (port, _), Peer(port) as alice, Peer(port) as bob:
        alice.sock.sendall(
            b"GET /relay HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        while alice.read(1) != b"\n" or alice.read(2) != b"\r\n":
            pass
        info = ALICE.client_info()
        alice.sock.sendall(message(info[:1] + info[5:]) + message(b"\x0c12345678"))
        assert alice.read(11) == b"\x82\x09\x0d12345678"
        bob.log_in(BOB)
        alice.sock.sendall(message(b"\x04" + BOB.key + b"hello!"))
        assert bob.read_frame() == (5, ALICE.key + b"hello!")
        bob.sock.sendall(packet(ALICE.key, b"hello"))
        assert alice.read(40) == b"\x82\x26\x05" + BOB.key + b"hello"


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"\0" * 100_000, b"EHLO x\r\n\r\n"]
)
def test_garbage_is_refused_and_the_relay_goes_on(garbage):
    with serve(limits=RelayLimits(request_timeout=2)) as (port, _), Peer(port) as stranger:
        with contextlib.suppress(ConnectionError):
            stranger.sock.sendall(garbage)
        assert stranger.read_to_end()[:12] in (b"", b"HTTP/1.1 400", b"HTTP/1.1 431")
        with Peer(port) as alice:
            alice.log_in(ALICE)


@pytest.mark.parametrize("beginning", [b"", b"GET /relay HTTP/1.1\r\nhost:"])
def test_half_open_connection_goes_away(beginning):
    with serve(limits=RelayLimits(request_timeout=0.2)) as (port, _ledger), Peer(port) as stranger:
        stranger.sock.sendall(beginning)
        assert stranger.read_to_end() == b""


def test_upgrade_without_a_log_in_goes_away():
    with serve(limits=RelayLimits(handshake_timeout=0.2)) as (port, ledger), Peer(port) as stranger:
        stranger.upgrade()
        assert stranger.read_to_end() == b""
        assert [event["reason"] for event in events(ledger, "login_refused")] == ["no log-in within 0.2 s"]


def test_slow_reader_is_closed_and_slows_nobody_down():
    with (
        serve(limits=RelayLimits(write_timeout=0.3)) as (port, ledger),
        Peer(port) as alice,
        Peer(port) as slow,
    ):
        slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.log_in(BOB)
        alice.log_in(ALICE)
        until = time.monotonic() + DEADLINE
        while not events(ledger, "disconnect"):
            assert time.monotonic() < until
            for _ in range(100):
                alice.sock.sendall(packet(BOB.key, bytes(60_000)))
            alice.ping()
        assert events(ledger, "disconnect")[0]["reason"] == "took no bytes for 0.3 s"
        assert events(ledger, "disconnect")[0]["node_id"] == BOB.key.hex()


def test_rate_limit_pauses_reading_and_loses_nothing():
    with serve(rate_limit=RateLimit(200_000, 20_000)) as (port, _), Peer(port) as alice, Peer(port) as bob:
        alice.log_in(ALICE)
        bob.log_in(BOB)
        alice.sock.sendall(b"".join(packet(BOB.key, bytes([number]) * 1000) for number in range(60)))
        for number in range(60):
            assert bob.read_frame() == (5, ALICE.key + bytes([number]) * 1000)


def test_connections_are_counted_per_address():
    with serve(limits=RelayLimits(max_connections_per_address=1)) as (port, _), Peer(port) as alice:
        alice.log_in(ALICE)
        with Peer(port) as second:
            assert second.read_to_end() == b""
        alice.ping()


def test_denied_node_is_told_so():
    with (
        serve(access=Allowlist(frozenset({ALICE.key}))) as (port, ledger),
        Peer(port) as alice,
        Peer(port) as bob,
    ):
        alice.log_in(ALICE)
        bob.upgrade(BOB.client_info())
        assert bob.read_frame() == (14, b"not authenticated")
        assert bob.read_to_end() == b""
        assert [event["reason"] for event in events(ledger, "login_refused")] == ["access denied"]


@pytest.mark.parametrize(
    ("answer", "allowed"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ntrue", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\ntrue\n", False),
        (b"HTTP/1.1 403 No\r\nContent-Length: 4\r\n\r\ntrue", False),
        (b"what?\r\n\r\n", False),
        (b"", False),
    ],
)
def test_access_service_is_asked(answer, allowed):
    requests = []

    async def respond(reader, writer):
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    async def ask():
        async with await asyncio.start_server(respond, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            return await HttpAccess(f"http://127.0.0.1:{port}/check", "hush").allows(ALICE.key, None)

    assert asyncio.run(ask()) is allowed
    assert requests[0].startswith(b"POST /check HTTP/1.1\r\n")
    assert b"X-Iroh-NodeId: " + ALICE.key.hex().encode() in requests[0]
    assert b"Authorization: Bearer hush" in requests[0]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "relay.test")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    pem, private = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (directory / "c.pem").write_bytes(certificate.public_bytes(pem))
    (directory / "k.pem").write_bytes(key.private_bytes(pem, private, serialization.NoEncryption()))
    return TlsConfig(ANY_PORT, directory / "c.pem", directory / "k.pem")


def test_relay_over_tls_survives_a_truncated_hello(certificate):
    context = ssl.create_default_context(cafile=certificate.certificate)
    with serve(tls=certificate) as (port, _), Peer(port) as stranger:
        stranger.sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
        peers = []
        for node in (ALICE, BOB):
            plain = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
            peers.append(Peer(port, context.wrap_socket(plain, server_hostname="127.0.0.1")).log_in(node))
        alice, bob = peers
        with alice, bob:
            alice.sock.sendall(packet(BOB.key, bytes(65_536)) * 5)
            for _ in range(5):
                assert bob.read_frame() == (5, ALICE.key + bytes(65_536))


def test_connections_count_before_their_tls_handshake(certificate):
    limits = RelayLimits(max_connections_per_address=2, tls_handshake_timeout=0.5)
    context = ssl.create_default_context(cafile=certificate.certificate)
    with serve(tls=certificate, limits=limits) as (port, ledger):
        with Peer(port) as first, Peer(port) as second, Peer(port) as third:
            second.sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
            assert third.read_to_end() == b""
            assert first.read_to_end() == b""
            assert second.read_to_end() == b""
        plain = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        with Peer(port, context.wrap_socket(plain, server_hostname="127.0.0.1")) as alice:
            alice.log_in(ALICE)
            assert [each["closed"] is None for each in ledger.snapshot()["connections"]] == [False] * 3 + [
                True
            ]


def test_request_that_comes_with_the_end_of_the_handshake_is_answered(certificate):
    """The client's last flight and its first request in one TCP segment: asyncio hands over both at once."""
    context = ssl.create_default_context(cafile=certificate.certificate)
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with serve(tls=certificate) as (port, _), Peer(port) as peer:
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                peer.sock.sendall(outgoing.read())
                incoming.write(peer.sock.recv(65_536))
        client.write(b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        peer.sock.sendall(outgoing.read())
        incoming.write(peer.read_to_end())
        assert client.read(65_536).startswith(b"HTTP/1.1 200 ")


class TlsPeer(Peer):
    """A node that is logged in over TLS. `below` writes and reads the bytes that TLS is made of."""

    def __init__(self, port, certificate, node):
        context = ssl.create_default_context(cafile=certificate.certificate)
        plain = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self.below = plain.dup()
        self.secure = context.wrap_socket(plain, server_hostname="127.0.0.1")
        super().__init__(port, self.secure)
        self.log_in(node)

    def __exit__(self, *_):
        self.sock.close()
        self.below.close()


@pytest.mark.parametrize(
    "garbage",
    [b"\x17\x03\x03\x00\x20" + bytes(32), b"GET / HTTP/1.1\r\n\r\n", bytes(1000)],
    ids=["bad record", "plain HTTP", "zeros"],
)
def test_what_is_no_tls_record_ends_that_connection_alone(certificate, garbage):
    with (
        serve(tls=certificate) as (port, ledger),
        TlsPeer(port, certificate, ALICE) as alice,
        TlsPeer(port, certificate, BOB) as bob,
    ):
        bob.below.sendall(garbage)
        until = time.monotonic() + DEADLINE
        while not events(ledger, "disconnect"):  # packets for who is about to go
            assert time.monotonic() < until
            alice.sock.sendall(packet(BOB.key, bytes(1000)) * 10)
        alice.ping()
        assert [event["node_id"] for event in events(ledger, "disconnect")] == [BOB.key.hex()]


def test_good_bye_of_tls_is_answered_and_ends_the_connection(certificate):
    with serve(tls=certificate) as (port, ledger), TlsPeer(port, certificate, ALICE) as alice:
        with alice.secure.unwrap() as plain:  # raises unless the relay says good-bye, too
            assert plain.recv(1) == b""
        assert [event["reason"] for event in events(ledger, "disconnect")] == ["closed by the client"]


def test_slow_reader_over_tls_is_closed_and_slows_nobody_down(certificate):
    with (
        serve(tls=certificate, limits=RelayLimits(write_timeout=0.3)) as (port, ledger),
        TlsPeer(port, certificate, ALICE) as alice,
        TlsPeer(port, certificate, BOB) as slow,
    ):
        slow.below.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        until = time.monotonic() + DEADLINE
        while not events(ledger, "disconnect"):
            assert time.monotonic() < until
            alice.sock.sendall(packet(BOB.key, bytes(60_000)) * 10)
            alice.ping()
        assert events(ledger, "disconnect")[0]["reason"] == "took no bytes for 0.3 s"


def test_rate_limit_over_tls_pauses_reading_and_loses_nothing(certificate):
    with (
        serve(tls=certificate, rate_limit=RateLimit(200_000, 20_000)) as (port, _),
        TlsPeer(port, certificate, ALICE) as alice,
        TlsPeer(port, certificate, BOB) as bob,
    ):
        alice.sock.sendall(b"".join(packet(BOB.key, bytes([number]) * 1000) for number in range(60)))
        for number in range(60):
            assert bob.read_frame() == (5, ALICE.key + bytes([number]) * 1000)


def test_all_connections_are_counted():
    with serve(limits=RelayLimits(max_connections=2)) as (port, _), Peer(port) as alice, Peer(port) as bob:
        alice.log_in(ALICE)
        bob.log_in(BOB)
        with Peer(port) as third:
            assert third.read_to_end() == b""
        alice.sock.sendall(packet(BOB.key, b"hello"))
        assert bob.read_frame() == (5, ALICE.key + b"hello")


def test_real_relay_gives_the_same_http_answers(tmp_path):
    binary = os.environ.get("IROH_RELAY_BIN") or shutil.which("iroh-relay")
    if binary is None:
        pytest.skip("needs a real iroh-relay 0.35: set IROH_RELAY_BIN")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config = tmp_path / "iroh-relay.toml"
    config.write_text(f'http_bind_addr = "127.0.0.1:{port}"\nenable_stun = false\nenable_metrics = false\n')
    process = subprocess.Popen([binary, "--dev", "-c", config])
    try:
        with serve() as (ours, _):
            for path in ("/ping", "/", "/robots.txt", "/generate_204", "/nothing", "/relay"):
                assert http_answer(ours, path) == http_answer(port, path), path
    finally:
        process.terminate()
        process.wait(DEADLINE)


def http_answer(port, path):
    """Status line, header set without the date, body."""
    until = time.monotonic() + DEADLINE
    while True:
        try:
            with Peer(port) as peer:
                peer.sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
                head, _, body = peer.read_to_end().partition(b"\r\n\r\n")
                status, *headers = head.decode().split("\r\n")
                pairs = {tuple(header.lower().split(": ", 1)) for header in headers}
                return status, {pair for pair in pairs if pair[0] not in ("date", "connection")}, body
        except ConnectionRefusedError:
            assert time.monotonic() < until
