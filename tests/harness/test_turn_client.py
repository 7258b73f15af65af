"""The TURN probe: its codec against RFC 5769, its conversation against coturn, its words against scripts."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.clients.turn.client import TurnClient, TurnClosed, TurnCredentials, TurnError, TurnRefused
from harness.clients.turn.messages import (
    Attribute,
    ChannelData,
    FormatError,
    Message,
    MessageClass,
    Method,
    StreamDecoder,
    address_value,
    decode,
    integrity_holds,
    long_term_key,
    read_address,
)
from harness.hosts import LocalHost
from harness.urls import TurnUrl, UrlError
from harness.waiting import WaitTimeout, wait_until

from .coturn import REALM, SECRET, Coturn, coturn, needs_coturn
from .scripted import Tls

HOST = LocalHost()
VECTORS = {
    name[:3]: bytes.fromhex(text)
    for name, text in json.loads(
        (Path(__file__).parent.parent / "fixtures" / "rfc5769.json").read_text()
    ).items()
}
SHORT_TERM_KEY = b"VOkJxbRl1RmTxUk/WvJxBt"
LONG_TERM_KEY = long_term_key("\u30de\u30c8\u30ea\u30c3\u30af\u30b9", "example.org", "TheMatrIX")


@pytest.mark.parametrize(
    ("name", "key"),
    [("2.1", SHORT_TERM_KEY), ("2.2", SHORT_TERM_KEY), ("2.3", SHORT_TERM_KEY), ("2.4", LONG_TERM_KEY)],
)
def test_integrity_of_the_rfcs_messages(name, key):
    assert integrity_holds(VECTORS[name], key)
    assert not integrity_holds(VECTORS[name], b"another key")
    tampered = VECTORS[name][:25] + bytes([VECTORS[name][25] ^ 1]) + VECTORS[name][26:]
    assert not integrity_holds(tampered, key)


def test_addresses_of_the_rfcs_answers():
    for name, address in (("2.2", "192.0.2.1"), ("2.3", "2001:db8:1234:5678:11:2233:4455:6677")):
        answer = decode(VECTORS[name])
        assert isinstance(answer, Message)
        assert (answer.method, answer.kind) == (Method.BINDING, MessageClass.SUCCESS)
        value = answer.get(Attribute.XOR_MAPPED_ADDRESS)
        assert value is not None
        assert read_address(value, answer.transaction) == (address, 32853)
        assert address_value((address, 32853), answer.transaction) == value


def test_the_rfcs_long_term_request_is_written_byte_for_byte():
    request = decode(VECTORS["2.4"])
    assert isinstance(request, Message)
    unsigned = [each for each in request.attributes if each[0] != Attribute.MESSAGE_INTEGRITY]
    again = Message(Method.BINDING, MessageClass.REQUEST, unsigned, request.transaction)
    assert again.encode(LONG_TERM_KEY) == VECTORS["2.4"]


def test_a_fingerprint_covers_everything_before_it():
    message = Message(Method.BINDING, MessageClass.REQUEST, [(Attribute.SOFTWARE, b"test")], bytes(12))
    text = message.encode(b"key", fingerprint=True)
    assert integrity_holds(text, b"key")
    assert text[-8:-4].hex() == "80280004"
    assert zlib.crc32(text[:-8]) ^ int.from_bytes(text[-4:], "big") == 0x5354554E
    rfc = VECTORS["2.1"]
    assert zlib.crc32(rfc[:-8]) ^ int.from_bytes(rfc[-4:], "big") == 0x5354554E


def test_every_type_number():
    """RFC 8656's table: the class bits stand between those of the method."""
    assert Message(Method.ALLOCATE, MessageClass.ERROR).encode()[:2].hex() == "0113"
    assert Message(Method.SEND, MessageClass.INDICATION).encode()[:2].hex() == "0016"
    assert Message(Method.CHANNEL_BIND, MessageClass.SUCCESS).encode()[:2].hex() == "0109"
    for method in Method:
        for kind in MessageClass:
            message = Message(method, kind, (), bytes(12))
            assert decode(message.encode()) == message


def test_what_follows_the_integrity_does_not_count():
    twice = [(Attribute.LIFETIME, b"1"), (Attribute.LIFETIME, b"2")]
    late = [(Attribute.MESSAGE_INTEGRITY, bytes(20)), (Attribute.DATA, b"late")]
    message = Message(Method.REFRESH, MessageClass.SUCCESS, [*twice, *late])
    assert message.get(Attribute.LIFETIME) == b"1"
    assert message.get(Attribute.DATA) is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n....",
        VECTORS["2.1"][:-1],
        VECTORS["2.1"][:-4],
        b"\x40\x00\x00\x0atoo short",
        VECTORS["2.4"][:20] + b"\x00\x06\xff\xff" + VECTORS["2.4"][24:],
    ],
)
def test_other_bytes_are_refused(data):
    with pytest.raises(FormatError):
        decode(data)


def test_a_stream_is_cut_into_frames_wherever_it_breaks():
    channel = ChannelData(0x4001, b"odd")
    stream = channel.encode(padded=True) + VECTORS["2.2"] + channel.encode(padded=True)
    for size in (1, 3, 50, len(stream)):
        decoder = StreamDecoder()
        frames = [each for at in range(0, len(stream), size) for each in decoder.feed(stream[at : at + size])]
        assert frames == [channel.encode(), VECTORS["2.2"], channel.encode()]
    with pytest.raises(FormatError, match="on the stream"):
        StreamDecoder().feed(b"\x16\x03\x01\x00 TLS where TURN should be")


def test_credentials_are_those_of_the_madmail_vector():
    credentials = TurnCredentials.from_secret("test-secret", 1758650868)
    assert (credentials.username, credentials.password) == ("1758650868", "nkfvRIGUcx0N/jq/StNLPajpLZE=")
    assert credentials.password not in repr(credentials)


@pytest.mark.parametrize(
    ("text", "transport", "host", "port"),
    [
        ("turn:127.0.0.1:3478", "udp", "127.0.0.1", 3478),
        ("turn:example.org?transport=tcp", "tcp", "example.org", 3478),
        ("turns:[::1]:443?transport=tcp", "tls", "::1", 443),
        ("turns:example.org", "tls", "example.org", 5349),
        ("stun:nine.testrun.org:3478", "udp", "nine.testrun.org", 3478),
    ],
)
def test_urls(text, transport, host, port):
    url = TurnUrl.parse(text)
    assert (url.transport, url.host, url.port) == (transport, host, port)
    assert TurnUrl.parse(str(url)) == url


@pytest.mark.parametrize(
    "text", ["http://x", "turn:", "turn:h:0", "turn:h:99999", "turns:h?transport=udp", "turn:::1"]
)
def test_other_urls_are_refused(text):
    with pytest.raises(UrlError):
        TurnUrl.parse(text)


@pytest.fixture(scope="module")
def server(tmp_path_factory, tls) -> Iterator[Coturn]:
    with coturn(tmp_path_factory.mktemp("coturn"), tls=tls) as server:
        yield server


@pytest.fixture
def client(server: Coturn) -> Iterator[TurnClient]:
    with TurnClient(HOST, server.url, server.credentials(), within=20) as client:
        yield client


@needs_coturn
@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_data_both_ways_over_a_channel(server, tls, transport):
    url = {"udp": server.url, "tcp": server.tcp_url, "tls": server.tls_url}[transport]
    with (
        TurnClient(HOST, url, server.credentials(), tls=trusting(tls), within=20) as client,
        a_peer() as peer,
    ):
        assert client.binding() == client.local
        allocation = client.allocate()
        assert allocation.mapped == client.local
        assert allocation.relayed[0] == "127.0.0.1"
        assert allocation.lifetime == 600
        client.bind(0x4000, peer.getsockname())
        for size in (0, 1, 2, 3, 1000):
            client.send_on_channel(0x4000, bytes(size))
            assert peer.recvfrom(2000) == (bytes(size), allocation.relayed)
            peer.sendto(b"back" * size, allocation.relayed)
            received = client.receive()
            assert (received.channel, received.data) == (0x4000, b"back" * size)
        assert client.refresh(0) == 0


@needs_coturn
def test_data_both_ways_by_indications(client):
    with a_peer() as peer:
        allocation = client.allocate()
        client.send(peer.getsockname(), b"dropped: no permission yet")
        client.permit("127.0.0.1")
        client.send(peer.getsockname(), b"hello")
        assert peer.recvfrom(2000) == (b"hello", allocation.relayed)
        peer.sendto(b"hello yourself", allocation.relayed)
        received = client.receive()
        assert (received.peer, received.data) == (peer.getsockname(), b"hello yourself")


@needs_coturn
def test_even_ports_and_the_port_that_is_kept_for_later(server, client):
    allocation = client.allocate(even_port="reserve next")
    assert allocation.relayed[1] % 2 == 0
    assert allocation.token is not None
    with TurnClient(HOST, server.url, client.credentials, within=20) as second:
        assert second.allocate(token=allocation.token).relayed[1] == allocation.relayed[1] + 1
    with TurnClient(HOST, server.url, client.credentials, within=20) as third:
        even = third.allocate(even_port="even")
        assert (even.relayed[1] % 2, even.token) == (0, None)


@needs_coturn
def test_a_family_that_the_server_does_not_have(client):
    with pytest.raises(TurnRefused, match="refuses Allocate with 440") as refused:
        client.allocate(family=6)
    assert refused.value.code == 440


@needs_coturn
@pytest.mark.parametrize(
    "credentials",
    [
        TurnCredentials.from_secret("another secret", 1 << 31),
        TurnCredentials.from_secret(SECRET, int(time.time()) - 60),
        TurnCredentials("1999999999", TurnCredentials.from_secret(SECRET, 1999999998).password),
        TurnCredentials.from_secret(SECRET, "alice"),
    ],
    ids=["password", "expired", "tampered", "no number"],
)
def test_wrong_credentials(server, credentials):
    with (
        TurnClient(HOST, server.url, credentials, within=20) as client,
        pytest.raises(TurnRefused, match=r"refuses Allocate with 401.*password or realm") as refused,
    ):
        client.allocate()
    assert not refused.value.signed
    assert credentials.password not in str(refused.value)


@needs_coturn
def test_a_wrong_realm(server):
    right = server.credentials()
    wrong = TurnCredentials(right.username, right.password, realm="elsewhere.test")
    with TurnClient(HOST, server.url, wrong, within=20) as client, pytest.raises(TurnRefused) as refused:
        client.allocate()
    assert refused.value.code in (401, 437)  # coturn says 437; RFC 8489 says 401


@needs_coturn
def test_a_request_that_is_repeated_gets_the_same_answer(client):
    client.allocate()
    first = client.last_answer
    again = client.repeat()
    assert again.kind is MessageClass.SUCCESS
    assert again.get(Attribute.XOR_RELAYED_ADDRESS) == _decoded(first).get(Attribute.XOR_RELAYED_ADDRESS)
    with pytest.raises(TurnRefused) as refused:
        client.allocate()
    assert refused.value.code == 437


@needs_coturn
def test_a_request_that_somebody_else_replays_is_refused(server, client):
    client.allocate()
    with TurnClient(HOST, server.url, TurnCredentials("nobody", ""), within=20) as thief:
        thief.binding()
        answer = thief.exchange(client.last_request)
    assert answer.kind is MessageClass.ERROR
    code = answer.get(Attribute.ERROR_CODE)
    assert code is not None
    assert code[2] * 100 + code[3] == 438


@needs_coturn
def test_an_old_nonce_is_renewed(tmp_path):
    with (
        coturn(tmp_path, "--stale-nonce=1") as server,
        TurnClient(HOST, server.url, server.credentials(), within=20) as client,
    ):
        client.allocate()

        def renewed() -> int:
            assert client.refresh(1000) == 1000
            return client.stale_nonces

        assert wait_until(renewed, "coturn to want a fresh nonce", within=30) == 1


@needs_coturn
def test_refusals_say_whether_clients_can_see_them(server, client, tmp_path):
    with pytest.raises(TurnRefused) as refused:
        client.permit("127.0.0.1")
    assert refused.value.code in (400, 437)  # no allocation: coturn says 400, RFC 8656 437
    client.allocate()
    with pytest.raises(TurnRefused, match="does not relay to this peer") as refused:
        client.bind(0x4000, ("0.0.0.0", 9))
    assert (refused.value.code, refused.value.signed) == (403, True)


def trusting(tls: Tls) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=tls.ca_file)


@contextmanager
def a_peer() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(20)
        yield peer


@contextmanager
def a_server_that(*answers: Callable[[bytes], bytes]) -> Iterator[TurnUrl]:
    """Answers one datagram after the other."""
    with a_peer() as listener:

        def serve() -> None:
            for answer in answers:
                request, client = listener.recvfrom(2000)
                listener.sendto(answer(request), client)

        thread = threading.Thread(target=serve)
        thread.start()
        yield TurnUrl("udp", *listener.getsockname())
        thread.join()


def _decoded(data: bytes) -> Message:
    message = decode(data)
    assert isinstance(message, Message)
    return message


def answer(
    request: bytes, kind: MessageClass, *attributes: tuple[int, bytes], key: bytes | None = None
) -> bytes:
    question = _decoded(request)
    return Message(question.method, kind, attributes, question.transaction).encode(key)


def challenge(request: bytes) -> bytes:
    code = (Attribute.ERROR_CODE, b"\x00\x00\x04\x01")
    return answer(
        request, MessageClass.ERROR, code, (Attribute.REALM, REALM.encode()), (Attribute.NONCE, b"nonce")
    )


def success(request: bytes) -> bytes:
    return answer(request, MessageClass.SUCCESS, (Attribute.LIFETIME, bytes(4)))


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ((success,), "an open relay"),
        ((challenge, success), "a success that our password does not sign"),
        ((lambda request: answer(request, MessageClass.ERROR),), "with 0 without an error code"),
        (
            (
                lambda request: answer(
                    request, MessageClass.ERROR, (Attribute.ERROR_CODE, b"\x00\x00\x04\x01")
                ),
            ),
            "without a realm and a nonce",
        ),
        ((lambda _request: b"HTTP/1.1 400 Bad Request",), "something that TURN does not know"),
    ],
)
def test_what_is_wrong_with_a_server_is_said(answers, words):
    with (
        a_server_that(*answers) as url,
        TurnClient(HOST, url, TurnCredentials("u", "p"), within=20) as client,
        pytest.raises(TurnError, match=words),
    ):
        client.allocate()


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ((), "no XOR-MAPPED-ADDRESS"),
        (((Attribute.XOR_MAPPED_ADDRESS, b"\x00\x03\x01\x01\x7f\x00\x00\x01"),), "no address: 0003"),
    ],
)
def test_an_answer_without_a_usable_address_is_said(attributes, words):
    with (
        a_server_that(lambda request: answer(request, MessageClass.SUCCESS, *attributes)) as url,
        TurnClient(HOST, url, TurnCredentials("u", "p"), within=20) as client,
        pytest.raises(TurnError, match=words),
    ):
        client.binding()


def test_silence_and_a_dead_port_are_told_apart():
    with a_peer() as silent:
        url = TurnUrl("udp", *silent.getsockname())
        with (
            TurnClient(HOST, url, TurnCredentials("u", "p"), within=0.05) as client,
            pytest.raises(WaitTimeout, match=f"an answer from {url}"),
        ):
            client.binding()
    with (
        TurnClient(HOST, url, TurnCredentials("u", "p"), within=20) as client,
        pytest.raises(TurnClosed, match="nothing listens"),
    ):
        client.binding()
    with pytest.raises(TurnClosed, match="cannot be reached"):
        TurnClient(HOST, TurnUrl("tcp", url.host, 1), TurnCredentials("u", "p"))
