"""`iroh-relay-v1` and `-v2` over real sockets, beside generation 0.35 on the same port."""

import socket
import time

import pytest
from websockets.frames import Frame, Opcode

from reference_server.iroh_relay.access import Allowlist, SharedToken
from reference_server.iroh_relay.limits import RateLimit, RelayLimits
from tests.reference_server.iroh_relay.serving import events, serve
from tests.reference_server.iroh_relay.support import DEADLINE, Node, Peer, PeerV1, frame, packet

ALICE, BOB = Node(1), Node(2)
CE = b"\x03"


def datagram(key, contents):
    return frame(4, key + CE + contents)


def test_datagrams_cross_the_relay_between_both_versions():
    with serve() as (port, ledger), PeerV1(port) as alice, PeerV1(port) as bob:
        alice.log_in(ALICE, offer="iroh-relay-v1")
        bob.log_in(BOB)
        alice.send(datagram(BOB.key, b"hello"), datagram(BOB.key, bytes(65_503)))
        assert bob.read_frame() == (6, ALICE.key + CE + b"hello")
        assert bob.read_frame() == (6, ALICE.key + CE + bytes(65_503))
        bob.send(frame(5, ALICE.key + CE + b"\0\x06Hello World!"))
        assert alice.read_frame() == (7, BOB.key + CE + b"\0\x06Hello World!")
        assert [event["protocol"] for event in events(ledger, "login")] == ["iroh-relay-v1", "iroh-relay-v2"]
        assert [(pair["frames"], pair["bytes"]) for pair in ledger.snapshot()["pairs"]] == [
            (2, 65_508),
            (1, 12),
        ]


def test_one_key_in_both_generations_is_two_clients():
    with serve() as (port, ledger), Peer(port) as old_alice, PeerV1(port) as alice, Peer(port) as bob:
        alice.log_in(ALICE)
        old_alice.log_in(ALICE)
        bob.log_in(BOB)
        bob.sock.sendall(packet(ALICE.key, b"hello!"))
        assert old_alice.read_frame() == (5, BOB.key + b"hello!")
        old_alice.sock.sendall(packet(BOB.key, b"you too"))
        assert bob.read_frame() == (5, ALICE.key + b"you too")
        alice.send(datagram(BOB.key, b"nobody of ours"))
        alice.ping()
        assert events(ledger, "disconnect") == []


def test_client_need_not_wait_for_the_101():
    with serve() as (port, _), PeerV1(port) as alice:
        alice.upgrade(Frame(Opcode.PING, b"hi").serialize(mask=True))
        assert alice.read_frame()[0] == 0
        assert alice.read(4) == Frame(Opcode.PONG, b"hi").serialize(mask=False)


def test_bad_signature_is_told_and_ends_it():
    with serve() as (port, ledger), PeerV1(port) as liar:
        liar.upgrade()
        liar.read_frame()
        liar.send(ALICE.client_auth(bytes(16)))
        assert liar.read_frame() == (3, b"\x11signature invalid")
        assert liar.read_to_end() == b""
        assert [event["reason"] for event in events(ledger, "login_refused")] == ["bad signature"]


@pytest.mark.parametrize("access", [Allowlist(frozenset({ALICE.key})), SharedToken(("hush",))])
def test_access_rules_hold(access):
    with (
        serve(access=access) as (port, ledger),
        PeerV1(port) as alice,
        PeerV1(port) as bob,
        Peer(port) as old,
    ):
        alice.log_in(ALICE, path="/relay?token=hush")
        bob.upgrade(path="/relay?token=hus")
        bob.send(BOB.client_auth(bob.read_frame()[1]))
        assert bob.read_frame() == (3, b"\x0enot authorized")
        assert bob.read_to_end() == b""
        old.upgrade(BOB.client_info())
        assert old.read_frame() == (14, b"not authenticated")
        assert [event["reason"] for event in events(ledger, "login_refused")] == ["access denied"] * 2


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (Frame(Opcode.BINARY, b"").serialize(mask=True), "empty WebSocket message"),
        (Frame(Opcode.BINARY, b"\x09").serialize(mask=False), "bad WebSocket message"),
        (Frame(Opcode.BINARY, bytes(65_538)).serialize(mask=True), "bad WebSocket message"),
        (Frame(Opcode.BINARY, b"\x40\x09").serialize(mask=True), "unknown frame type 64"),
        (b"\xff" * 100, "bad WebSocket message"),
        (Frame(Opcode.CLOSE, b"").serialize(mask=True), "closed by the client"),
    ],
    ids=["empty", "not masked", "too large", "longer type", "noise", "close"],  # masks are random
)
def test_ledger_says_why_a_client_was_dropped(data, reason):
    with serve() as (port, ledger), PeerV1(port) as alice, PeerV1(port) as bob:
        bob.log_in(BOB)
        alice.log_in(ALICE)
        alice.send(datagram(BOB.key, b"before"))
        alice.sock.sendall(data)
        alice.read_to_end()
        assert bob.read_frame() == (6, ALICE.key + CE + b"before")
        (end,) = events(ledger, "disconnect")
        assert end["reason"].startswith(reason)


def test_text_messages_are_skipped():
    with serve() as (port, _), PeerV1(port) as alice:
        alice.log_in(ALICE)
        alice.sock.sendall(Frame(Opcode.TEXT, b"hello").serialize(mask=True))
        alice.ping()


def test_same_key_newest_gets_the_datagrams_and_the_older_one_comes_back():
    with serve() as (port, _), PeerV1(port) as alice, PeerV1(port) as old:
        alice.log_in(ALICE)
        old.log_in(BOB)
        with PeerV1(port) as new:
            new.log_in(BOB)
            assert old.read_frame() == (13, b"\x01")
            alice.send(datagram(BOB.key, b"for the new one"))
            assert new.read_frame() == (6, ALICE.key + CE + b"for the new one")
        assert old.read_frame() == (13, b"\0")
        alice.send(datagram(BOB.key, b"for the old one"))
        assert old.read_frame() == (6, ALICE.key + CE + b"for the old one")


def test_endpoint_gone_is_told():
    with serve() as (port, _), PeerV1(port) as bob:
        bob.log_in(BOB)
        with PeerV1(port) as alice:
            alice.log_in(ALICE)
            alice.send(datagram(BOB.key, b"bye"))
            assert bob.read_frame() == (6, ALICE.key + CE + b"bye")
        assert bob.read_frame() == (8, ALICE.key)


def test_rate_limit_loses_nothing():
    with serve(rate_limit=RateLimit(300_000)) as (port, _), PeerV1(port) as alice, PeerV1(port) as bob:
        alice.log_in(ALICE)
        bob.log_in(BOB)
        alice.send(*(datagram(BOB.key, bytes([number]) * 1000) for number in range(60)))
        for number in range(60):
            assert bob.read_frame() == (6, ALICE.key + CE + bytes([number]) * 1000)


def test_slow_reader_is_closed_and_slows_nobody_down():
    limits = RelayLimits(write_timeout=0.3)
    with serve(limits=limits) as (port, ledger), PeerV1(port) as alice, PeerV1(port) as slow:
        slow.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.log_in(BOB)
        alice.log_in(ALICE)
        until = time.monotonic() + DEADLINE
        while not events(ledger, "disconnect"):
            assert time.monotonic() < until
            alice.send(*[datagram(BOB.key, bytes(60_000))] * 50)
            alice.ping()
        assert events(ledger, "disconnect")[0]["reason"] == "took no bytes for 0.3 s"
