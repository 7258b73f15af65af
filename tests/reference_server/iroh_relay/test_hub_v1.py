import struct

import pytest

from reference_server.iroh_relay.client import State
from reference_server.iroh_relay.limits import DebtBucket, RateLimit, RelayLimits
from tests.reference_server.iroh_relay.sans_io import Relay, RelayV1, frames_of
from tests.reference_server.iroh_relay.support import Node, frame, packet

ALICE, BOB, CAROL = Node(1), Node(2), Node(3)
CE = b"\x03"
RECOVERED = b"The connection is healthy and has recovered from previous problems"
REPLACED = b"Another endpoint connected with the same endpoint id. No more messages will be received."


def datagram(key, contents, ecn=CE):
    return frame(4, key + ecn + contents)


def batch(key, contents, segment_size, ecn=CE):
    return frame(5, key + ecn + struct.pack(">H", segment_size) + contents)


def test_challenges_are_never_the_same():
    relay = RelayV1()
    challenges = {relay.sent[relay.connect(version=2)] for _ in range(50)}
    assert len(challenges) == 50
    assert {len(each) for each in challenges} == {5 + 16}


def test_datagram_is_forwarded_once_unchanged_from_the_right_key():
    relay = RelayV1()
    alice, bob = relay.log_in(ALICE, version=1), relay.log_in(BOB, version=2)
    relay.feed(alice, datagram(BOB.key, b"hello") + datagram(BOB.key, bytes(65_503), b"\0"))
    relay.feed(alice, datagram(ALICE.key, b"me") + datagram(BOB.key, b"!", b"\x02"))
    assert relay.taken(bob) == [
        (6, ALICE.key + CE + b"hello"),
        (6, ALICE.key + b"\0" + bytes(65_503)),
        (6, ALICE.key + b"\x02!"),
    ]
    assert relay.taken(alice) == [(6, ALICE.key + CE + b"me")]
    pair = relay.ledger.pair(ALICE.key.hex(), BOB.key.hex())
    assert (pair.frames, pair.bytes, pair.frames_dropped) == (3, 65_509, 0)


def test_batch_stays_a_batch_and_one_without_a_segment_size_becomes_a_datagram():
    relay = RelayV1()
    alice, bob = relay.log_in(ALICE), relay.log_in(BOB)
    relay.feed(alice, batch(BOB.key, b"Hello World!", 6) + batch(BOB.key, b"single", 0))
    assert relay.taken(bob) == [(7, ALICE.key + CE + b"\0\x06Hello World!"), (6, ALICE.key + CE + b"single")]
    pair = relay.ledger.pair(ALICE.key.hex(), BOB.key.hex())
    assert (pair.frames, pair.bytes) == (2, 18)


def test_empty_contents_are_dropped_because_receivers_cannot_read_them():
    relay = RelayV1()
    alice, bob = relay.log_in(ALICE), relay.log_in(BOB)
    relay.feed(alice, datagram(BOB.key, b"") + batch(BOB.key, b"", 5) + batch(BOB.key, b"", 0))
    relay.feed(alice, datagram(BOB.key, b"x"))
    assert relay.taken(bob) == [(6, ALICE.key + CE + b"x")]
    assert relay.closed == []
    assert relay.ledger.pair(ALICE.key.hex(), BOB.key.hex()).frames_dropped == 3


def test_datagram_for_nobody_is_dropped_and_counted():
    relay = RelayV1()
    alice = relay.log_in(ALICE)
    relay.feed(alice, datagram(CAROL.key, b"x") + batch(CAROL.key, b"xy", 1))
    assert relay.taken(alice) == []
    assert relay.ledger.pair(ALICE.key.hex(), CAROL.key.hex()).frames_dropped == 2


def test_ping_is_answered():
    relay = RelayV1()
    alice = relay.log_in(ALICE)
    relay.feed(alice, frame(9, b"12345678") + frame(10, b"unasked!"))
    assert relay.taken(alice) == [(10, b"12345678")]
    assert relay.closed == []


@pytest.mark.parametrize(
    "bad",
    [
        frame(0, bytes(16)),
        ALICE.client_auth(bytes(16)),
        frame(2),
        frame(3, b"\0"),
        frame(4, bytes(32)),
        frame(4),
        frame(5, BOB.key + bytes(2)),
        frame(5),
        frame(6, BOB.key + b"\0x"),
        frame(7, BOB.key + b"\0\0\1x"),
        frame(8, BOB.key),
        frame(9, bytes(7)),
        frame(11, b"ill"),
        frame(12, bytes(8)),
        frame(13, b"\0"),
        frame(14),
        frame(4, bytes(65_537))[:5],
    ],
)
def test_wrong_frame_closes_and_what_stood_before_it_is_forwarded(bad):
    relay = RelayV1()
    alice, bob = relay.log_in(ALICE), relay.log_in(BOB)
    relay.feed(alice, datagram(BOB.key, b"before") + bad + datagram(BOB.key, b"behind"))
    assert relay.taken(bob)[:1] == [(6, ALICE.key + CE + b"before")]
    assert relay.closed == [alice]


@pytest.mark.parametrize(
    "first", [frame(9, bytes(8)), datagram(BOB.key, b"x"), frame(1, bytes(10)), frame(14)]
)
def test_first_frame_has_to_be_the_log_in(first):
    relay = RelayV1()
    client = relay.connect(version=2)
    relay.taken(client)
    relay.feed(client, first)
    assert (relay.taken(client), relay.closed) == ([], [client])
    assert len(relay.reasons("login_refused")) == 1


def test_bad_signature_is_denied_with_a_reason():
    relay = RelayV1()
    client, other = relay.connect(version=2), relay.connect(version=2)
    relay.taken(client)
    relay.feed(client, ALICE.client_auth(relay.taken(other)[0][1]))
    assert relay.taken(client) == [(3, b"\x11signature invalid")]
    assert relay.closed == [client]
    assert relay.reasons("login_refused") == ["bad signature"]


def test_access_is_asked_after_the_signature_and_denied_with_a_reason():
    relay = RelayV1()
    client = relay.connect(version=1)
    challenge = relay.taken(client)[0][1]
    relay.feed(client, ALICE.client_auth(challenge), allowed=False)
    assert relay.taken(client) == [(3, b"\x0enot authorized")]
    assert (relay.closed, relay.reasons("login_refused")) == ([client], ["access denied"])


def test_log_in_and_first_datagrams_may_come_in_one_piece():
    relay = RelayV1()
    bob, alice = relay.log_in(BOB), relay.connect(version=2)
    challenge = relay.taken(alice)[0][1]
    relay.feed(alice, ALICE.client_auth(challenge) + datagram(BOB.key, b"hello"))
    assert relay.taken(bob) == [(6, ALICE.key + CE + b"hello")]


def test_newest_connection_of_a_key_gets_the_datagrams_and_each_is_told_in_its_own_version():
    relay = RelayV1()
    alice = relay.log_in(ALICE)
    first, second, third = (relay.log_in(BOB, version=version) for version in (1, 2, 2))
    assert relay.taken(first) == [(11, REPLACED)]
    assert relay.taken(second) == [(13, b"\x01")]
    relay.feed(alice, datagram(BOB.key, b"hello"))
    assert relay.taken(third) == [(6, ALICE.key + CE + b"hello")]
    relay.feed(first, datagram(ALICE.key, b"still here"))
    assert relay.taken(alice) == [(6, BOB.key + CE + b"still here")]
    assert (relay.taken(first), relay.taken(second), relay.closed) == ([], [], [])


def test_most_recent_inactive_connection_is_promoted_and_told():
    relay = RelayV1()
    alice = relay.log_in(ALICE)
    first, second, third = (relay.log_in(BOB, version=version) for version in (1, 2, 2))
    relay.taken(first), relay.taken(second)
    relay.leave(third)
    assert relay.taken(second) == [(13, b"\0")]
    relay.feed(alice, datagram(BOB.key, b"hello"))
    assert relay.taken(second) == [(6, ALICE.key + CE + b"hello")]
    relay.leave(second)
    assert relay.taken(first) == [(11, RECOVERED)]
    assert relay.taken(alice) == []


def test_inactive_connection_that_leaves_changes_nothing():
    relay = RelayV1()
    old, new = relay.log_in(BOB), relay.log_in(BOB)
    relay.leave(old)
    assert relay.taken(new) == []
    counters = relay.hub.counters
    assert (counters.clients_inactive_added, counters.clients_inactive_removed) == (1, 1)


def test_inactive_connection_is_still_pinged():
    relay = RelayV1()
    old = relay.log_in(BOB)
    relay.log_in(BOB)
    relay.taken(old)
    relay.expire(25.0)
    assert [kind for kind, _ in relay.taken(old)] == [9]


def test_endpoint_gone_is_sent_when_the_last_connection_is_gone():
    relay = RelayV1()
    alice, bob, carol = relay.log_in(ALICE), relay.log_in(BOB), relay.log_in(CAROL)
    second_bob = relay.log_in(BOB)
    relay.feed(bob, datagram(ALICE.key, b"hello"))
    relay.taken(alice)
    newer_alice = relay.log_in(ALICE)
    relay.leave(second_bob)
    relay.leave(bob)
    assert (relay.taken(newer_alice), relay.taken(carol)) == ([(8, BOB.key)], [])
    assert relay.taken(alice) == [(13, b"\x01")]
    relay.feed(carol, datagram(BOB.key, b"too late"))
    assert relay.ledger.pair(CAROL.key.hex(), BOB.key.hex()).frames_dropped == 1


def test_keys_that_hear_of_an_end_are_bounded():
    relay = RelayV1(limits=RelayLimits(max_connections=4))
    alice = relay.log_in(ALICE)
    for seed in range(10, 30):
        other = relay.log_in(Node(seed))
        relay.feed(alice, datagram(Node(seed).key, b"x"))
        relay.leave(other)
    stayed = relay.log_in(BOB)
    relay.feed(alice, datagram(BOB.key, b"x"))
    relay.taken(stayed)
    relay.leave(alice)
    assert relay.taken(stayed) == [(8, ALICE.key)]
    assert len(relay.hub._endpoints) == 1


def test_generations_do_not_meet():
    """Each hub has clients of its own, also for one key: their datagrams are packed in different ways."""
    new = RelayV1()
    old = Relay(ledger=new.ledger)
    old_alice, new_alice, new_bob = old.log_in(ALICE), new.log_in(ALICE), new.log_in(BOB)
    old.feed(old_alice, packet(BOB.key, b"hello!"))
    assert (new.taken(new_bob), new.taken(new_alice), old.closed, new.closed) == ([], [], [], [])
    assert new.ledger.pair(ALICE.key.hex(), BOB.key.hex()).frames_dropped == 1


def test_slow_receiver_keeps_the_oldest_512_frames():
    relay = RelayV1()
    alice, bob = relay.log_in(ALICE), relay.log_in(BOB)
    relay.hub.blocked(bob, 1, 0.0)
    numbered = [struct.pack(">Q", number) for number in range(600)]
    relay.feed(alice, b"".join(datagram(BOB.key, number) for number in numbered))
    assert relay.taken(bob) == []
    assert [body[33:] for _, body in frames_of(relay.drain(bob))] == numbered[:512]


def test_what_an_endpoint_sends_stays_below_its_rate_in_the_long_run():
    relay = RelayV1(meter=lambda: DebtBucket(RateLimit(bytes_per_second=1000)))
    alice, bob = relay.log_in(ALICE), relay.log_in(BOB)
    relay.feed(alice, datagram(BOB.key, bytes(462)) * 20, 1.0)
    arrived = len(relay.taken(bob))
    assert arrived == 1
    for tenth in range(11, 111):
        relay.expire(tenth / 10)
        arrived += len(relay.taken(bob))
    assert arrived == 20
    assert relay.others
    assert alice.state is State.READY


def test_rate_limit_takes_a_frame_larger_than_its_bucket_and_then_waits():
    relay = RelayV1(meter=lambda: DebtBucket(RateLimit(bytes_per_second=1000, max_burst_bytes=10)))
    alice, bob = relay.log_in(ALICE), relay.log_in(BOB)
    relay.feed(alice, datagram(BOB.key, bytes(1962)) * 2, 1.0)
    assert len(relay.taken(bob)) == 1
    relay.expire(2.9)
    assert relay.taken(bob) == []
    relay.expire(3.0)
    assert len(relay.taken(bob)) == 1
