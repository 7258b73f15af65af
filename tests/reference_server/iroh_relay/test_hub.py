import struct
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_server.iroh_relay.actions import PauseReading
from reference_server.iroh_relay.client import State
from reference_server.iroh_relay.framing import frame_spans
from reference_server.iroh_relay.limits import RateLimit, RelayLimits, TokenBucket
from reference_server.iroh_relay.v035.frames import MAX_BODY
from reference_server.iroh_relay.v035.hub import Hub035
from tests.reference_server.iroh_relay.sans_io import Relay, frames_of
from tests.reference_server.iroh_relay.support import Node, frame, packet

ALICE, BOB, CAROL = Node(1), Node(2), Node(3)
DISCO = "TS💬".encode() + bytes(32)


def test_packet_is_forwarded_once_unchanged_from_the_right_key():
    relay = Relay()
    alice, bob = relay.log_in(ALICE), relay.log_in(BOB)
    relay.feed(alice, packet(BOB.key, b"hello") + packet(BOB.key, bytes(65_536)) + packet(ALICE.key, b"me"))
    assert frames_of(relay.sent[bob]) == [(5, ALICE.key + b"hello"), (5, ALICE.key + bytes(65_536))]
    assert frames_of(relay.sent[alice]) == [(5, ALICE.key + b"me")]
    pair = relay.ledger.pair(ALICE.key.hex(), BOB.key.hex())
    assert (pair.frames, pair.bytes, pair.frames_dropped) == (2, 65_541, 0)
    assert (alice.record.frames_in, bob.record.frames_out) == (4, 2)


@pytest.mark.parametrize("cut", [None, 1, 70, 150, 400])
def test_receivers_in_turn_get_their_own_packets_in_the_order_of_the_sender(cut):
    relay = Relay()
    nodes = [Node(seed) for seed in range(1, 6)]
    alice, *others = [relay.log_in(node) for node in nodes]
    order = [1, 2, 1, 3, 3, 2, 4, 1, 2, 2, 3, 1, 4]
    sent = [(place, bytes([number]) * (10 + number)) for number, place in enumerate(order)]
    sent[5] = (2, DISCO + b"5")
    stream = b"".join(packet(nodes[place].key, content) for place, content in sent)
    stream += frame(12, b"12345678") + packet(CAROL.key, b"after the ping") + packet(bytes(32), b"to nobody")
    stream += packet(BOB.key, b"the last") + packet(BOB.key, b"cut off")[:-1]
    for start in range(0, len(stream), cut or len(stream)):
        relay.feed(alice, stream[start : start + (cut or len(stream))])
    for place, (node, client) in enumerate(zip(nodes[1:], others, strict=True), start=1):
        wanted = [content for to, content in sent if to == place]
        wanted += (
            [b"the last"] if node.key == BOB.key else [b"after the ping"] if node.key == CAROL.key else []
        )
        assert [body for _, body in frames_of(relay.sent[client])] == [ALICE.key + each for each in wanted]
        pair = relay.ledger.pair(ALICE.key.hex(), node.key.hex())
        assert (pair.frames, pair.bytes) == (len(wanted), sum(len(each) for each in wanted))
        assert client.record.frames_out == len(wanted)
    assert frames_of(relay.sent[alice]) == [(13, b"12345678")]
    counters = relay.hub.counters
    assert (counters.send_packets_recv, counters.disco_packets_recv) == (len(sent) - 1 + 3, 1)
    assert (counters.bytes_sent, counters.bytes_recv) == (counters.bytes_recv - 9, counters.bytes_sent + 9)


def test_packets_in_turn_leave_in_one_write_for_each_receiver():
    relay = Relay()
    alice = relay.log_in(ALICE)
    relay.log_in(BOB)
    relay.log_in(CAROL)
    stream = (packet(BOB.key, b"to Bob") + packet(CAROL.key, b"to Carol")) * 50
    _, actions = relay.hub.receive(alice, bytearray(stream), len(stream), 0.0)
    assert [len(frames_of(action.data)) for action in actions] == [50, 50]


def test_few_packets_take_the_short_way_and_are_the_same_on_it():
    relay = Relay()
    alice, bob = relay.log_in(ALICE), relay.log_in(BOB)
    relay.log_in(CAROL)
    relay.feed(alice, packet(BOB.key, b"the first makes them meet"))
    few = packet(BOB.key, b"one more") + packet(BOB.key, b"and another")
    forwarded = relay.hub.forward_few(alice, bytearray(few), len(few), 7.0)
    assert forwarded is not None
    assert forwarded[0] is bob
    assert [body for _, body in frames_of(forwarded[1])] == [
        ALICE.key + b"one more",
        ALICE.key + b"and another",
    ]
    assert alice.last_received == 7.0
    assert relay.ledger.pair(ALICE.key.hex(), BOB.key.hex()).frames == 3
    assert (alice.record.frames_in, bob.record.frames_out) == (4, 3)


@pytest.mark.parametrize(
    "stream",
    [
        packet(BOB.key, b"to Bob") + packet(CAROL.key, b"to Carol"),
        packet(BOB.key, b"to Bob") + packet(BOB.key, b"cut off")[:-1],
        packet(BOB.key, b"to Bob") + frame(12, b"12345678"),
        packet(BOB.key, DISCO + b"is a lane of its own"),
        packet(bytes(32), b"to nobody"),
        packet(BOB.key, b"too many") * 200,
    ],
)
def test_all_else_is_left_as_it_came(stream):
    relay = Relay()
    alice = relay.log_in(ALICE)
    relay.log_in(BOB)
    relay.log_in(CAROL)
    relay.feed(alice, packet(BOB.key, b"the first makes them meet"))
    data = bytearray(stream)
    assert relay.hub.forward_few(alice, data, len(data), 7.0) is None
    assert data == stream


def test_packet_for_nobody_is_dropped_and_counted():
    relay = Relay()
    alice = relay.log_in(ALICE)
    relay.feed(alice, packet(CAROL.key, b"x") * 3)
    assert relay.sent[alice] == b""
    assert relay.ledger.pair(ALICE.key.hex(), CAROL.key.hex()).frames_dropped == 3
    assert relay.hub.counters.send_packets_dropped == 3


def test_strangers_that_are_remembered_are_bounded():
    relay = Relay(limits=RelayLimits(max_strangers=4))
    alice = relay.log_in(ALICE)
    for seed in range(10, 20):
        relay.feed(alice, packet(Node(seed).key, b"x"))
    assert len(alice.strangers) <= 4


def test_ping_is_answered_and_other_known_frames_are_counted_only():
    relay = Relay()
    alice = relay.log_in(ALICE)
    harmless = ALICE.client_info() + frame(5, BOB.key) + frame(6) + frame(7, b"\1") + frame(8, BOB.key)
    relay.feed(alice, harmless + frame(15, bytes(8)) + frame(13, bytes(8)) + frame(12, b"abcdefgh"))
    assert relay.sent[alice] == frame(13, b"abcdefgh")
    assert relay.hub.counters.unknown_frames == 6
    assert relay.closed == []


@pytest.mark.parametrize("bad", [frame(14, b"ill"), frame(9), frame(7, b"\2"), frame(4, bytes(31))])
def test_what_stands_before_a_bad_frame_is_still_forwarded(bad):
    relay = Relay()
    alice, bob = relay.log_in(ALICE), relay.log_in(BOB)
    relay.feed(alice, packet(BOB.key, b"hello!") + bad + packet(BOB.key, b"never!"))
    assert frames_of(relay.sent[bob]) == [(5, ALICE.key + b"hello!")]
    assert relay.closed == [alice]


@pytest.mark.parametrize(
    ("first", "reason"),
    [
        (frame(12, bytes(8)), "the first frame is not ClientInfo"),
        (packet(BOB.key, b"hello"), "the first frame is not ClientInfo"),
        (ALICE.client_info(signature=bytes(64)), "bad signature"),
        (ALICE.client_info(b"\x80"), "the signed message is not a protocol number"),
        (ALICE.client_info(b"\x02"), "protocol version 2 is not spoken here"),
    ],
)
def test_refused_log_in_gets_no_answer(first, reason):
    relay = Relay()
    client = relay.connect()
    relay.feed(client, first)
    assert (relay.sent[client], relay.closed) == (b"", [client])
    assert relay.reasons("login_refused") == [reason]


def test_small_order_key_does_not_log_in():
    relay = Relay()
    client = relay.connect()
    identity = b"\x01" + bytes(31)
    relay.feed(client, frame(2, b"RELAY\xf0\x9f\x94\x91" + identity + identity + bytes(32) + b"\x03"))
    assert relay.reasons("login_refused") == ["bad signature"]


def test_access_is_asked_after_the_signature_and_before_the_version():
    relay = Relay()
    forged, old = relay.connect(), relay.connect()
    relay.feed(forged, ALICE.client_info(signature=bytes(64)), allowed=False)
    relay.feed(old, ALICE.client_info(b"\x02"), allowed=False)
    assert relay.sent[forged] == b""
    assert frames_of(relay.sent[old]) == [(14, b"not authenticated")]


def test_signature_policy_decides():
    class Anything:
        def verify(self, public_key, message, signature):
            return True

    relay = Relay(signatures=Anything())
    client = relay.connect()
    relay.feed(client, ALICE.client_info(signature=bytes(64)))
    assert client.state is State.READY


def test_delivery_strategy_decides_and_the_ledger_tells_what_was_delivered():
    def twice(_source, _destination, run):
        return b"".join(bytes(run[start:stop]) * 2 for start, stop in frame_spans(run))

    relay = Relay(delivery=twice)
    alice, bob = relay.log_in(ALICE), relay.log_in(BOB)
    relay.feed(alice, packet(BOB.key, b"first!") + packet(BOB.key, b"second"))
    assert [body[32:] for _, body in frames_of(relay.sent[bob])] == [b"first!"] * 2 + [b"second"] * 2
    assert relay.ledger.pair(ALICE.key.hex(), BOB.key.hex()).frames == 4


def test_newest_connection_of_a_key_wins_and_stays():
    relay = Relay()
    alice, old = relay.log_in(ALICE), relay.log_in(BOB)
    new = relay.log_in(BOB)
    assert relay.closed == [old]
    relay.hub.disconnected(old, "late")
    relay.feed(alice, packet(BOB.key, b"hello!"))
    assert relay.sent[old] == b""
    assert frames_of(relay.sent[new]) == [(5, ALICE.key + b"hello!")]
    assert relay.reasons("disconnect") == ["replaced by a newer connection"]


def test_nothing_refers_to_a_client_that_has_gone():
    relay = Relay()
    alice, bob = relay.log_in(ALICE), relay.log_in(BOB)
    relay.feed(alice, packet(BOB.key, b"hello!"))
    relay.feed(bob, packet(ALICE.key, b"hello!"))
    relay.hub.disconnected(bob, "gone")
    assert (alice.sent_to, alice.heard_from) == ({}, set())


@pytest.mark.parametrize(("wanted", "notices"), [(False, []), (True, [(8, ALICE.key)])])
def test_node_gone_is_a_setting(wanted, notices):
    relay = Relay(hub=partial(Hub035, send_node_gone=wanted))
    alice, bob = relay.log_in(ALICE), relay.log_in(BOB)
    relay.feed(alice, packet(BOB.key, b"hello!"))
    relay.sent[bob] = b""
    relay.perform(relay.hub.disconnected(alice, "gone"))
    assert frames_of(relay.sent[bob]) == notices


def test_slow_receiver_keeps_the_oldest_512_frames_and_disco_goes_first():
    relay = Relay()
    alice, bob = relay.log_in(ALICE), relay.log_in(BOB)
    relay.hub.blocked(bob, 1, 0.0)
    numbered = [struct.pack(">Q", number) for number in range(600)]
    relay.feed(alice, b"".join(packet(BOB.key, number) for number in numbered) + packet(BOB.key, DISCO))
    assert relay.sent[bob] == b""
    assert [body[32:] for _, body in frames_of(relay.drain(bob))] == [DISCO, *numbered[:512]]
    pair = relay.ledger.pair(ALICE.key.hex(), BOB.key.hex())
    assert (pair.frames, pair.frames_dropped) == (513, 88)
    relay.feed(alice, packet(BOB.key, b"hello!"))
    assert frames_of(relay.sent[bob]) == [(5, ALICE.key + b"hello!")]


def test_queue_is_bounded_in_bytes():
    relay = Relay(limits=RelayLimits(queue_bytes=10_000))
    alice, bob = relay.log_in(ALICE), relay.log_in(BOB)
    relay.hub.blocked(bob, 1, 0.0)
    for _ in range(20):
        relay.feed(alice, packet(BOB.key, bytes(963)))
    assert len(relay.hub.drain(bob)) == 10_000


def test_write_without_progress_ends_the_connection_and_one_with_progress_does_not():
    relay = Relay()
    bob = relay.log_in(BOB)
    relay.hub.blocked(bob, 100, 1.0)
    relay.expire(3.0, unsent=99)
    assert relay.closed == []
    relay.expire(5.0, unsent=99)
    assert relay.closed == [bob]
    assert relay.reasons("disconnect") == ["took no bytes for 2 s"]


def test_log_in_has_a_deadline():
    relay = Relay()
    client = relay.connect(now=100.0)
    relay.feed(client, ALICE.client_info()[:-1], 105.0)
    relay.expire(109.9)
    assert relay.closed == []
    relay.expire(110.0)
    assert relay.closed == [client]


def test_silence_is_answered_with_a_ping_and_a_missing_pong_with_the_end():
    relay = Relay()
    alice = relay.log_in(ALICE)
    relay.feed(alice, frame(6), 10.0)
    relay.expire(25.9)
    assert relay.sent[alice] == b""
    relay.expire(30.0)
    ((kind, content),) = frames_of(relay.sent[alice])
    assert kind == 12
    relay.feed(alice, frame(13, content), 31.0)
    relay.expire(36.0)
    assert relay.closed == []
    relay.expire(51.0)
    relay.feed(alice, frame(13, b"wrong!!!"), 52.0)
    relay.expire(55.9)
    assert relay.closed == []
    relay.expire(56.0)
    assert relay.closed == [alice]
    assert relay.reasons("disconnect") == ["no pong within 5 s"]


def test_pings_may_follow_each_other_faster_than_a_missing_pong_is_noticed():
    relay = Relay(limits=RelayLimits(ping_interval=1.0, ping_jitter=0.1, pong_timeout=60.0))
    alice = relay.log_in(ALICE)
    for second in range(1, 6):
        relay.expire(second * 1.1)
        ((kind, content),) = relay.taken(alice)
        assert kind == 12
        relay.feed(alice, frame(13, content), second * 1.1)
        assert relay.hub.next_deadline() <= second * 1.1 + 1.1


def test_rate_limit_holds_frames_back_and_loses_none():
    relay = Relay(meter=lambda: TokenBucket(RateLimit(bytes_per_second=1000, max_burst_bytes=1000)))
    alice, bob = relay.log_in(ALICE), relay.log_in(BOB)
    relay.feed(alice, packet(BOB.key, bytes(463)) * 3, 1.0)
    assert len(frames_of(relay.sent[bob])) == 2
    assert relay.others == [PauseReading(alice)]
    relay.expire(1.49)
    assert len(frames_of(relay.sent[bob])) == 2
    relay.expire(1.5)
    assert len(frames_of(relay.sent[bob])) == 3
    assert (relay.rest[alice], relay.hub.counters.frames_rx_ratelimited_total) == (b"", 1)


def test_frame_larger_than_the_bucket_passes():
    relay = Relay(meter=lambda: TokenBucket(RateLimit(bytes_per_second=10, max_burst_bytes=10)))
    alice, bob = relay.log_in(ALICE), relay.log_in(BOB)
    relay.feed(alice, packet(BOB.key, bytes(100)), 1.0)
    assert len(frames_of(relay.sent[bob])) == 1


@given(st.lists(st.binary(max_size=200), max_size=20), st.booleans())
@settings(max_examples=150, deadline=None)
def test_hostile_bytes_never_raise_and_are_never_hoarded(pieces, logged_in):
    relay = Relay()
    client = relay.log_in(ALICE) if logged_in else relay.connect()
    for piece in pieces:
        relay.feed(client, piece)
        assert client.state is State.GONE or len(relay.rest[client]) < 5 + max(MAX_BODY.values())
        if client.state is State.GONE:
            break


PIECES = st.sampled_from(
    [
        packet(BOB.key, b""),
        packet(BOB.key, b"hello"),
        packet(BOB.key, bytes(300)),
        packet(ALICE.key, b"me, me"),
        packet(CAROL.key, b"nobody"),
        packet(BOB.key, DISCO),
        frame(12, b"12345678"),
        frame(6),
    ]
)


@given(st.lists(PIECES, max_size=12).map(b"".join), st.lists(st.integers(0, 4000), max_size=8))
@settings(max_examples=150, deadline=None)
def test_splitting_a_stream_anywhere_gives_the_same_frames(stream, cuts):
    whole, split = Relay(), Relay()
    received = []
    for relay, places in ((whole, []), (split, sorted({cut % (len(stream) + 1) for cut in cuts}))):
        alice, bob = relay.log_in(ALICE), relay.log_in(BOB)
        for start, stop in zip([0, *places], [*places, len(stream)], strict=True):
            relay.feed(alice, stream[start:stop])
        received.append((relay.sent[alice], relay.sent[bob], alice.record.frames_in, bob.record.frames_out))
    assert received[0] == received[1]
