"""A sender that batches with UDP_SEGMENT: whoever receives sees the datagrams as they were, and so does the ledger."""

from __future__ import annotations

import socket
import struct

import pytest

from reference_server.turn.sockets import segments
from reference_server.turn.sockets.mmsg import HEADER, SLOTS, STRIDE, Batch
from reference_server.turn.stun import Address
from tests.reference_server.turn.running import DEADLINE, Wire, embedded, have_ipv6

pytestmark = pytest.mark.skipif(
    not segments.KERNEL_CAN, reason="this kernel lacks the capability UDP_GRO and UDP_SEGMENT"
)
BURST = 128
"""Small datagrams that a socket can hold also where rmem_max is as Linux has it."""
FLOOD = 6
"""Bursts."""
UDP_NO_CHECK6_RX = 102
NO_CHECKSUM = {
    socket.AF_INET: (socket.SOL_SOCKET, 11),  # SO_NO_CHECK
    socket.AF_INET6: (segments.SOL_UDP, 101),  # UDP_NO_CHECK6_TX
}


@pytest.fixture
def server():
    with embedded(allow=["127.0.0.0/8"]) as server:
        yield server


@pytest.fixture
def joined(monkeypatch):
    """How many datagrams each call of `segments.send` and `Batch.send_equal` was given."""
    counts = []
    send, send_equal = segments.send, Batch.send_equal

    def counting(sender, payloads, head=b""):
        counts.append(len(payloads))
        return send(sender, payloads, head)

    def counting_slots(batch, descriptor, vector, start, stop, size):
        counts.append(stop - start)
        return send_equal(batch, descriptor, vector, start, stop, size)

    monkeypatch.setattr(segments, "send", counting)
    monkeypatch.setattr(Batch, "send_equal", counting_slots)
    return counts


def udp(host="127.0.0.1"):
    result = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    result.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
    result.settimeout(DEADLINE)
    result.bind((host, 0))
    return result


def at_once(sender, datagrams):
    """Send datagrams of one size, but for a shorter last one, with one call."""
    control = [(segments.SOL_UDP, segments.UDP_SEGMENT, struct.pack("H", len(datagrams[0])))]
    assert sender.sendmsg([b"".join(datagrams)], control) == sum(map(len, datagrams))


def numbered(count, size, first=b"\x80"):
    return [first + number.to_bytes(2, "big") + bytes(size - 3) for number in range(count)]


def channel_data(payload, number=0x4000):
    return struct.pack(">HH", number, len(payload)) + payload


def flood(server, sender, receiver, datagram, arrives):
    """Until the server reads `sender` with UDP_GRO; nothing is lost meanwhile."""
    for _ in range(FLOOD):
        server.while_busy(lambda: [sender.send(datagram) for _ in range(BURST)])
        assert [receiver.recv(2000) for _ in range(BURST)] == [arrives] * BURST


@pytest.fixture
def legs(server):
    """A client and a peer whose sockets at the server are both read with UDP_GRO; neither uses it itself."""
    with Wire(server.address("udp")) as client, udp() as peer:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        relay = client.allocate().relayed
        assert client.bind(Address(*peer.getsockname())).ok
        peer.connect(relay)
        flood(server, client.socket, peer, channel_data(b"flood"), b"flood")
        flood(server, peer, client.socket, b"flood", channel_data(b"flood"))
        yield client, peer


def tally(record, way):
    return record["peers"][0][way]


def test_from_client_to_peer(server, legs, joined):
    client, peer = legs
    before = tally(server.ledger()["allocations"][0], "to_peer")["other"]["packets"]
    payloads = [*numbered(40, 500), *numbered(10, 300, b"\x14")]
    at_once(client.socket, [channel_data(payload) for payload in payloads[:40]])
    at_once(client.socket, [channel_data(payload) for payload in payloads[40:]])
    assert [peer.recv(2000) for _ in payloads] == payloads
    assert max(joined) > 1
    record = server.ledger()["allocations"][0]
    assert tally(record, "to_peer") == {
        "rtp": {"packets": 40, "bytes": 40 * 500},
        "dtls": {"packets": 10, "bytes": 10 * 300},
        "other": {"packets": before, "bytes": before * 5},
    }
    assert record["drops"] == {}


def test_a_datagram_that_came_alone_does_not_take_the_next_bursts_apart(server, joined):
    burst = 16
    with Wire(server.address("udp")) as client, udp() as peer:
        relay = client.allocate().relayed
        assert client.bind(Address(*peer.getsockname())).ok
        peer.connect(relay)

        def relayed(count):
            payloads = numbered(count, 500)
            server.while_busy(lambda: [peer.send(payload) for payload in payloads])
            assert [client.receive() for _ in payloads] == [channel_data(payload) for payload in payloads]

        relayed(burst)
        assert sum(joined) > burst // 2, "the first burst was read one by one"
        relayed(1)
        joined.clear()
        for _ in range(2):
            relayed(burst)
        assert sum(joined) > burst


def test_from_peer_to_client_with_a_shorter_last_one(server, legs, joined):
    client, peer = legs
    payloads = [*numbered(64, 900), b"\x80end"]
    at_once(peer, payloads[1:])
    assert [client.receive() for _ in payloads[1:]] == [channel_data(each) for each in payloads[1:]]
    assert max(joined) > 1
    record = server.ledger()["allocations"][0]
    assert tally(record, "to_client")["rtp"] == {"packets": 64, "bytes": 63 * 900 + 4}
    assert record["drops"] == {}


def test_from_client_to_client(server, joined):
    with Wire(server.address("udp")) as one, Wire(server.address("udp")) as two:
        for client in (one, two):
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        first, second = one.allocate().relayed, two.allocate().relayed
        assert one.bind(second, 0x4000).ok
        assert two.bind(first, 0x4FFF).ok
        flood(server, one.socket, two.socket, channel_data(b"flood"), channel_data(b"flood", 0x4FFF))
        payloads = [*numbered(50, 1000), b"\x80end"]
        at_once(one.socket, [channel_data(payload) for payload in payloads])
        assert [two.receive() for _ in payloads] == [channel_data(each, 0x4FFF) for each in payloads]
        assert max(joined) > 1
        records = server.ledger()["allocations"]
        expected = {"packets": 51, "bytes": 50 * 1000 + 4}
        assert tally(records[0], "to_peer")["rtp"] == tally(records[1], "to_client")["rtp"] == expected


def test_each_datagram_goes_where_it_belongs(server, legs):
    """Equal in size and joined by the kernel, and yet of different channels, or of none, or shorter than they look."""
    client, peer = legs
    with udp() as other:
        assert client.bind(Address(*other.getsockname()), 0x4001).ok
        at_once(
            client.socket,
            [
                *(channel_data(b"one%d" % number) for number in range(3)),
                *(channel_data(b"two%d" % number, 0x4001) for number in range(3)),
                channel_data(b"lost", 0x4002),
                b"garbage!",
                b"\x40\0\0\2shTR",
                b"\x40\0\0\0TRAI",
                b"\x40\0\0\0TRAI",
                b"\x40\0\0\5long",
                channel_data(b"last"),
                channel_data(b"tiny")[:7],
            ],
        )
        assert [peer.recv(100) for _ in range(7)] == [b"one0", b"one1", b"one2", b"sh", b"", b"", b"last"]
        assert [other.recv(100) for _ in range(3)] == [b"two0", b"two1", b"two2"]
        client.refresh()  # was all of it before this?
        drops = server.ledger()["allocations"][0]["drops"]
        assert {reason: count["packets"] for reason, count in drops.items()} == {
            "no_channel": 1,
            "malformed": 3,
        }


def test_plain_senders_go_on_as_before(legs):
    client, peer = legs
    for size in (0, 1, 700, 1200, 3):
        payload = bytes(size)
        client.send_channel(payload)
        assert peer.recv(2000) == payload
        peer.send(payload)
        assert client.receive() == channel_data(payload)
    assert client.refresh().ok


SIZES = [900] * 7 + [400, 0] + [901] * 3 + [1, 2, 3] + [0] * 4 + [900] * 70
"""As a picture leaves an encoder, and then some."""


@pytest.mark.parametrize("way", ["to_peer", "to_client", "between"])
def test_burst_of_a_plain_sender_leaves_in_pieces_and_arrives_in_order(server, joined, way):
    with (
        Wire(server.address("udp")) as client,
        Wire(server.address("udp")) as friend,
        udp() as peer,
    ):
        for each in (client, friend):
            each.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        relay = client.allocate().relayed
        others_relay = friend.allocate().relayed
        assert client.bind(Address(*peer.getsockname())).ok
        assert client.bind(others_relay, 0x4001).ok
        assert friend.bind(relay, 0x4002).ok
        peer.connect(relay)
        payloads = [
            bytes([0x80, number % 256])[:size] + bytes(max(0, size - 2)) for number, size in enumerate(SIZES)
        ]
        source, receive = {
            "to_peer": (client.send_channel, lambda: peer.recv(2000)),
            "to_client": (peer.send, client.receive),
            "between": (lambda each: client.socket.send(channel_data(each, 0x4001)), friend.receive),
        }[way]
        number = {"to_peer": None, "to_client": 0x4000, "between": 0x4002}[way]
        for _ in range(3):  # the first packets are read one by one
            server.while_busy(lambda: [source(each) for each in payloads])
            arrived = [receive() for _ in payloads]
            assert arrived == [each if number is None else channel_data(each, number) for each in payloads]
        assert {7, 3} < set(joined)
        records = server.ledger()["allocations"]
        flows = [flow for record in records for flow in record["peers"]]
        counted = [tally for flow in flows for tally in (flow["to_peer"], flow["to_client"]) if tally]
        full, empty = [size for size in SIZES if size], SIZES.count(0)
        assert counted == [
            {
                "rtp": {"packets": 3 * len(full), "bytes": 3 * sum(full)},
                "other": {"packets": 3 * empty, "bytes": 0},
            }
        ] * (2 if way == "between" else 1)
        assert [record["drops"] for record in records] == [{}, {}]


def test_unequal_traffic_is_not_read_joined(server):
    with Wire(server.address("udp")) as client, udp() as peer:
        client.allocate()
        assert client.bind(Address(*peer.getsockname())).ok
        payloads = [bytes(number % 7) for number in range(BURST)]
        for _ in range(FLOOD):
            server.while_busy(lambda: [client.send_channel(payload) for payload in payloads])
            assert [peer.recv(100) for _ in payloads] == payloads
        at_once(client.socket, [channel_data(bytes(100))] * 20)
        assert [peer.recv(200) for _ in range(20)] == [bytes(100)] * 20
        (read,) = server.service._shell._clients.values()
        assert read.socket.getsockopt(segments.SOL_UDP, segments.UDP_GRO) == 0


# segments.send and Batch.send_equal alone


def from_slots(sender, payloads, head=b""):
    """`segments.send` by way of the slots of a batch, from the second one on, as far as they are enough."""
    batch, refused = Batch(), 0
    vector, before = (batch.from_start, HEADER) if head else (batch.from_payload, 0)
    for first in range(0, len(payloads), SLOTS - 1):
        some = payloads[first : first + SLOTS - 1]
        for slot, payload in enumerate(some, 1):
            place = slot * STRIDE
            batch.view[place + HEADER - len(head) : place + HEADER + len(payload)] = head + payload
        refused += batch.send_equal(sender.fileno(), vector, 1, 1 + len(some), before + len(some[0]))
    return refused


@pytest.fixture(params=[segments.send, from_slots])
def send(request):
    return request.param


@pytest.fixture(params=["127.0.0.1", "::1"])
def pair(request):
    if request.param == "::1" and not have_ipv6():
        pytest.skip("capability ipv6: there is no ::1: sysctl -w net.ipv6.conf.all.disable_ipv6=0")
    with udp(request.param) as sender, udp(request.param) as receiver:
        sender.connect(receiver.getsockname())
        yield sender, receiver


def views(payloads):
    return [memoryview(payload) for payload in payloads]


@pytest.mark.parametrize(
    ("count", "size", "head"),
    [(1, 100, b""), (64, 1016, b"HEAD"), (64, 1020, b"HEAD"), (200, 100, b""), (3, 0, b""), (3, 0, b"HEAD")],
)
def test_never_merged_or_split(pair, send, count, size, head):
    sender, receiver = pair
    payloads = [bytes([number]) * size for number in range(count)]
    assert send(sender, views(payloads), head) == 0
    assert [receiver.recv(2000) for _ in payloads] == [head + payload for payload in payloads]
    receiver.setblocking(False)
    with pytest.raises(BlockingIOError):
        receiver.recv(2000)


def test_where_the_kernel_cannot_each_goes_alone(pair, send):
    """Without a checksum it refuses UDP_SEGMENT with EINVAL; devices that cannot make it say EIO."""
    sender, receiver = pair
    sender.setsockopt(*NO_CHECKSUM[sender.family], 1)
    if receiver.family == socket.AF_INET6:
        receiver.setsockopt(segments.SOL_UDP, UDP_NO_CHECK6_RX, 1)
    payloads = numbered(40, 100)
    with pytest.raises(OSError, match=r"Invalid argument|Input/output error"):
        at_once(sender, payloads)
    assert send(sender, views(payloads), b"HEAD") == 0
    assert [receiver.recv(2000) for _ in payloads] == [b"HEAD" + payload for payload in payloads]


def test_what_does_not_fit_is_counted(pair, send):
    sender, receiver = pair
    assert send(sender, views([bytes(65_528)] * 3)) == 3
    assert send(sender, views([b"fits"])) == 0
    assert receiver.recv(100) == b"fits"


def test_an_old_icmp_error_loses_nothing(pair, send):
    sender, receiver = pair
    port = receiver.getsockname()[1]
    receiver.close()
    sender.send(b"nobody")
    with socket.socket(sender.family, socket.SOCK_DGRAM) as back:
        back.settimeout(DEADLINE)
        back.bind((*sender.getsockname()[:1], port))
        payloads = numbered(40, 100)
        assert send(sender, views(payloads)) == 0
        assert [back.recv(2000) for _ in payloads] == payloads
