"""Clients that are slow, greedy, half dead or lying; what they cost, and that nobody else notices."""

from __future__ import annotations

import contextlib
import gc
import socket
import ssl
import types
from dataclasses import replace

import pytest

from harness.waiting import wait_until
from reference_server.tls import issue_development_certificate
from reference_server.turn.settings import Limits
from reference_server.turn.stun import Address, Attribute, Class, Method, attribute, build
from tests.reference_server.turn.running import BINDING, DEADLINE, Wire, embedded
from tests.reference_server.turn.support import SETTINGS, UDP_TRANSPORT, World, lifetime

HALF_OPEN = 0.5
HELLO = b"\x16\x03\x01\x02\x00\x01"
"""The first bytes of a TLS handshake."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return issue_development_certificate(tmp_path_factory.mktemp("turn"), ["127.0.0.1"])


@pytest.fixture(scope="module")
def server(certificate):
    """It has little patience."""
    limits = Limits(half_open=HALF_OPEN)
    files = (certificate.certificate_file, certificate.key_file)
    with embedded(
        listen=("udp", "tcp", "tls"), certificate=files, allow=["127.0.0.0/8"], limits=limits
    ) as server:
        yield server


def connect(server, kind, source="127.0.0.1"):
    return socket.create_connection(server.address(kind), timeout=DEADLINE, source_address=(source, 0))


def is_closed(client):
    """Whether the server has ended the connection, once it has said what it had to say."""
    try:
        while client.recv(65536):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    return True


def open_connections(server):
    return len([each for each in server.ledger()["connections"] if each["closed"] is None])


# Half-open and slow


def test_who_never_finishes_is_closed(server):
    beginnings = (b"", b"\0", b"\0\1\xff\xfc" + bytes(50), b"\x40\0\xff\xff", HELLO)
    with contextlib.ExitStack() as stack:
        clients = []
        for kind in ("tcp", "tls"):
            for said in beginnings:
                client = stack.enter_context(connect(server, kind))
                client.sendall(said)
                clients.append(client)
        assert all(is_closed(client) for client in clients)
        wait_until(lambda: open_connections(server) == 0, "nothing to be left of them", within=DEADLINE)


def test_who_only_shakes_hands_is_closed(server, certificate):
    context = ssl.create_default_context(cafile=str(certificate.ca_file))
    with (
        connect(server, "tls") as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as client,
    ):
        assert is_closed(client)


@pytest.mark.parametrize("piece", [b"\0", BINDING], ids=["a byte at a time", "whole requests without end"])
def test_being_busy_is_no_excuse_for_having_no_allocation(server, piece):
    with connect(server, "tcp") as client:
        client.settimeout(0.05)

        def closed_after_one_more():
            try:
                client.sendall(piece)
            except OSError:
                return True
            return is_closed(client)

        wait_until(closed_after_one_more, "the server to lose patience", within=DEADLINE)


def test_who_has_an_allocation_may_be_quiet(server):
    with Wire(server.address("tcp"), transport="tcp") as quiet:
        assert quiet.allocate().ok
        with connect(server, "tcp") as idle:
            assert is_closed(idle)  # so the time is over
        assert quiet.refresh(lifetime(0)).ok
        assert is_closed(quiet.socket)


# Too many


def test_connections_of_one_source_and_of_all():
    with (
        embedded(listen=("tcp",), limits=Limits(connections=6, connections_per_source=4)) as server,
        contextlib.ExitStack() as stack,
    ):
        for source, welcome in (("127.0.0.1", 4), ("127.0.0.2", 2)):
            for _ in range(welcome):
                stack.enter_context(connect(server, "tcp", source)).sendall(BINDING[:10])
            with connect(server, "tcp", source) as refused:
                assert is_closed(refused)
        with connect(server, "tcp", "127.0.0.3") as refused:
            assert is_closed(refused)
        assert open_connections(server) == 6
        stack.close()
        wait_until(lambda: open_connections(server) == 0, "the connections to end", within=DEADLINE)
        with Wire(server.address("tcp"), transport="tcp") as client:
            assert client.allocate().ok


# Truncated


def test_truncated_channel_data_is_not_relayed(server):
    with (
        Wire(server.address("tcp"), transport="tcp") as client,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
    ):
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(DEADLINE)
        client.allocate()
        assert client.bind(Address(*peer.getsockname())).ok
        client.raw(b"\x40\0\0\3who\0" + b"\x40\0\0\x64half")
        assert peer.recv(100) == b"who"
        client.socket.close()
        wait_until(lambda: open_connections(server) == 0, "the end of the connection", within=DEADLINE)
        record = server.ledger()["allocations"][-1]
        assert record["reason"] == "disconnected"
        assert record["peers"][0]["to_peer"]["other"] == {"packets": 1, "bytes": 3}
        peer.setblocking(False)
        with pytest.raises(BlockingIOError):
            peer.recv(100)


def test_channel_data_in_pieces_is_relayed_once_and_whole(server):
    with (
        Wire(server.address("tcp"), transport="tcp") as client,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer,
    ):
        peer.bind(("127.0.0.1", 0))
        peer.settimeout(DEADLINE)
        client.allocate()
        assert client.bind(Address(*peer.getsockname())).ok
        for piece in (b"\x40", b"\0\0", b"\x05he", b"llo\0", b"\0\0\x40\0\0\2", b"yo\0\0"):
            client.raw(piece)
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        assert [peer.recv(100), peer.recv(100)] == [b"hello", b"yo"]


# Floods: what is remembered of whom


def state(root):
    """How many objects `root` holds, directly or not."""
    seen = {id(root)}
    waiting = [root]
    while waiting:
        for each in gc.get_referents(waiting.pop()):
            if id(each) not in seen and not isinstance(each, type | types.ModuleType | types.FunctionType):
                seen.add(id(each))
                waiting.append(each)
    return len(seen)


def from_many_sources(world, count, offset):
    """Every kind of thing that strangers say, each from a source of its own."""
    wrong = replace(world.client(), secret="southern")
    wrong.challenge()
    said = [
        BINDING,
        build(Method.ALLOCATE, Class.REQUEST, bytes(12), [UDP_TRANSPORT]),
        wrong.signed(Method.ALLOCATE, UDP_TRANSPORT),
        build(Method.SEND, Class.INDICATION, bytes(12), [attribute(Attribute.DATA, b"x")]),
        b"\0\x0f" + BINDING[2:],
        b"\x40\0\0\1x",
        b"garbage",
    ]
    for number in range(offset, offset + count):
        host = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        world.client(number % 60000 + 1, host=host).raw(said[number % len(said)])


def test_strangers_leave_a_bounded_trace():
    limits = replace(SETTINGS.limits, sources_remembered=500)
    world = World(replace(SETTINGS, limits=limits))
    world.ledger.enabled = False  # it remembers more, and has bounds of its own
    from_many_sources(world, 5000, 0)
    before = state(world.turn)
    from_many_sources(world, 10_000, 5000)
    assert state(world.turn) <= before + 20
    assert world.allocations() == []
    assert world.turn.next_deadline() is None


@pytest.mark.parametrize("first", [0x04, 0x13, 0x16, 0x3F, 0x40, 0x4F, 0x50, 0x7F, 0x80, 0xFF])
def test_what_is_not_stun_is_not_answered(world, client, first):
    for size in (0, 1, 3, 4, 19, 20, 200):
        data = (bytes([first]) + BINDING[1:] + bytes(200))[:size]
        assert client.raw(data) == []
    client.allocate()
    for size in (1, 3, 4, 19, 20, 200):
        assert client.raw((bytes([first]) + BINDING[1:] + bytes(200))[:size]) == []


def test_a_source_that_floods_does_not_silence_another():
    world = World(replace(SETTINGS, limits=Limits(unauthenticated_burst=5, unauthenticated_per_second=1)))
    request = build(Method.ALLOCATE, Class.REQUEST, bytes(12), [UDP_TRANSPORT])
    replies = [world.client(port, host="203.0.113.66").exchange(request) for port in range(1, 1001)]
    answered = [reply for reply in replies if reply is not None]
    assert len(answered) == 5
    assert all(reply.error == 401 and len(reply.raw) <= 160 for reply in answered)
    assert world.client(host="203.0.113.67").allocate().ok
