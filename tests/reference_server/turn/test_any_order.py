"""Any bytes, any order, any clock: the core never raises, stays bounded, and relays to nobody whom it should not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from reference_server.turn.rate_limit import UnauthenticatedRateLimit
from reference_server.turn.relay_ports import RelayPorts
from reference_server.turn.settings import Limits, PortRange
from reference_server.turn.sockets.streams import FramingError, take_frames
from reference_server.turn.stun import Address, AddressFamily, Attribute, Class, Method, attribute, build
from tests.reference_server.turn.support import (
    PEER,
    SETTINGS,
    FakeSockets,
    World,
    even_port,
    family,
    lifetime,
    second_family,
    to_peers,
)

IPV4 = AddressFamily.IPV4

LIMITS = Limits(
    unauthenticated_burst=10**6,
    allocations=6,
    allocations_per_source=4,
    permissions=3,
    channels=3,
    peers_remembered=4,
)
CLIENTS = st.integers(0, 4)
PEERS = st.sampled_from(
    [
        PEER,
        Address("198.51.100.8", 6000),
        Address("198.51.100.9", 1),
        Address("127.0.0.1", 22),
        Address("192.0.2.1", 3478),
        Address("192.0.2.1", 50001),
        Address("2001:db8:ffff::7", 5000),
        Address("::ffff:10.0.0.1", 5000),
    ]
)
NUMBERS = st.sampled_from([0x3FFF, 0x4000, 0x4001, 0x4002, 0x4FFF, 0x5000, 0x7FFF, 0x8000])
ATTRIBUTES = st.lists(
    st.sampled_from(
        [
            lifetime(0),
            lifetime(1),
            lifetime(10**6),
            family(1),
            family(2),
            family(9),
            second_family(2),
            even_port(reserve=False),
            even_port(reserve=True),
            attribute(Attribute.RESERVATION_TOKEN, bytes(8)),
            attribute(Attribute.REQUESTED_TRANSPORT, b"\x11\0\0\0"),
            attribute(Attribute.XOR_PEER_ADDRESS, bytes(5)),
            attribute(Attribute.CHANNEL_NUMBER, b"\x40"),
            attribute(0x7ABC, b"?"),
        ]
    ),
    max_size=4,
)


class Dialogue(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.world = World(
            replace(SETTINGS, limits=LIMITS, relay_ports=PortRange(50000, 50009), channel_lifetime=400)
        )
        self.clients = [self.world.client(40000 + number) for number in range(5)]
        for client in self.clients:
            client.username = "9" * 15

    def check(self, actions):
        """No datagram leaves for a peer that the policy denies."""
        for relay, peer, _ in to_peers(actions):
            assert self.world.turn.strategies.peers.allows(peer)
            assert relay in self.world.turn.allocations.by_relay

    @rule(number=CLIENTS, attributes=ATTRIBUTES)
    def allocate(self, number, attributes):
        self.clients[number].allocate(*attributes)

    @rule(number=CLIENTS, method=st.sampled_from(Method), attributes=ATTRIBUTES)
    def request(self, number, method, attributes):
        client = self.clients[number]
        self.check(client.raw(client.signed(method, *attributes)))

    @rule(number=CLIENTS, attributes=ATTRIBUTES)
    def refresh(self, number, attributes):
        self.clients[number].refresh(*attributes)

    @rule(number=CLIENTS, peers=st.lists(PEERS, max_size=4))
    def permit(self, number, peers):
        self.clients[number].permit(*peers)

    @rule(number=CLIENTS, peer=PEERS, channel=NUMBERS)
    def bind(self, number, peer, channel):
        self.clients[number].bind(peer, channel)

    @rule(number=CLIENTS, other=CLIENTS, channel=NUMBERS)
    def bind_each_other(self, number, other, channel):
        five_tuple = self.clients[other].five_tuple
        allocation = self.world.turn.allocations.by_five_tuple.get(five_tuple)
        if allocation is not None:
            relay = next(iter(allocation.relays.values()))
            self.clients[number].bind(relay.address, channel)

    @rule(number=CLIENTS, peer=PEERS, payload=st.binary(max_size=30))
    def send(self, number, peer, payload):
        self.check(self.clients[number].send(peer, payload))

    @rule(number=CLIENTS, channel=NUMBERS, payload=st.binary(max_size=30))
    def channel_data(self, number, channel, payload):
        self.check(self.clients[number].send_channel(payload, channel))

    @rule(number=CLIENTS, data=st.binary(max_size=80))
    def garbage(self, number, data):
        self.check(self.clients[number].raw(data))

    @rule(
        number=CLIENTS, data=st.binary(max_size=80), method=st.integers(0, 0xFFF), kind=st.sampled_from(Class)
    )
    def garbage_in_stun(self, number, data, method, kind):
        message = build(method, kind, bytes(12), [data + bytes(-len(data) % 4)])
        self.check(self.clients[number].raw(message))

    @rule(peer=PEERS, port=st.integers(50000, 50010), payload=st.binary(max_size=30))
    def arrive(self, peer, port, payload):
        relay = Address("192.0.2.1", port)
        self.check(self.world.turn.arrive(relay, peer, payload, self.world.now))

    @rule(number=CLIENTS)
    def disconnect(self, number):
        self.world.turn.disconnected(self.clients[number].five_tuple, self.world.now)

    @rule(seconds=st.sampled_from([0.0, 0.1, 31.0, 299.0, 301.0, 601.0, 4000.0, -50.0]))
    def time_passes(self, seconds):
        self.world.pass_time(seconds)
        for client in self.clients:
            client.nonce = b""

    @invariant()
    def bounded_and_consistent(self):
        allocations = self.world.turn.allocations
        living = allocations.by_five_tuple.values()
        assert len(allocations) + len(allocations.reservations) <= LIMITS.allocations + 1
        relays = {(r.family, r.address.port) for a in living for r in a.relays.values()}
        reserved = {(r.address.family, r.address.port) for r in allocations.reservations.values()}
        assert relays | reserved == self.world.sockets.open_ports
        assert not relays & reserved
        assert {r.address for a in living for r in a.relays.values()} == set(allocations.by_relay)
        for allocation in living:
            assert len(allocation.permissions) <= LIMITS.permissions
            assert len(allocation.channels) <= LIMITS.channels
            assert {c.peer: c for c in allocation.channels.values()} == allocation.channel_of
            assert all(c.relay is allocation.relays[c.peer.family] for c in allocation.channels.values())

    def teardown(self):
        """When everybody is gone for long enough, nothing is left."""
        self.world.pass_time(10_000)
        assert self.world.sockets.open_ports == set()
        assert self.world.turn.next_deadline() is None
        assert len(self.world.turn.allocations) == 0


TestDialogue = Dialogue.TestCase
TestDialogue.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=20))
def test_frames_do_not_depend_on_the_pieces(data, cuts):
    assert frames_of([data]) == frames_of(
        [data[start:end] for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(data)], strict=True)]
    )


def frames_of(pieces):
    buffer, frames = bytearray(), []
    for piece in pieces:
        buffer += piece
        try:
            frames += take_frames(buffer)
        except FramingError:
            return "closed"
        assert len(buffer) < 65536 + 24
    return frames


@pytest.mark.parametrize(
    ("data", "frames", "rest"),
    [
        (b"\x40\0\0\1a", [], b"\x40\0\0\1a"),
        (b"\x40\0\0\1a\0\0\0", [b"\x40\0\0\1a"], b""),
        (b"\x40\0\0\0\x40\0\0\0\x4f", [b"\x40\0\0\0"] * 2, b"\x4f"),
        (b"\0\1\0\0" + bytes(16) + b"\0", [b"\0\1\0\0" + bytes(16)], b"\0"),
        (b"\0\1", [], b"\0\1"),
    ],
)
def test_frames(data, frames, rest):
    buffer = bytearray(data)
    assert take_frames(buffer) == frames
    assert buffer == rest


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.floats(0, 5)), max_size=200))
def test_strangers_never_get_more_than_their_share(visits):
    limit = UnauthenticatedRateLimit(burst=3, per_second=2, remembered=100)
    now, answered = 0.0, dict.fromkeys("abcdef", 0)
    for source, pause in visits:
        now += pause
        answered[source] += limit.allows(source, now)
        assert answered[source] <= 3 + 2 * now + 1e-6


def test_strangers_are_forgotten_in_order():
    limit = UnauthenticatedRateLimit(burst=1, per_second=0.001, remembered=2)
    assert [limit.allows(source, 0) for source in "aabcab"] == [
        True,
        False,
        True,
        True,
        True,
        True,
    ]


@given(
    st.lists(st.tuples(st.sampled_from(["take", "even", "pair", "release"]), st.floats(0, 40)), max_size=60)
)
def test_ports_are_open_once_and_in_range(steps):
    sockets = FakeSockets()
    ports = RelayPorts(sockets, PortRange(50001, 50008), rest=30, never=[50004])
    now = 0.0
    mine: list[int] = []
    for what, pause in steps:
        now += pause
        if what == "release" and mine:
            ports.release(IPV4, mine.pop(0), now)
        elif what == "pair":
            port = ports.take_pair(IPV4, now)
            mine += [] if port is None else [port, port + 1]
            assert port is None or port % 2 == 0
        else:
            port = ports.take(IPV4, now, even=what == "even")
            mine += [] if port is None else [port]
            assert port is None or what != "even" or port % 2 == 0
            assert port is not None or what == "even" or len(mine) == 7
        assert sockets.open_ports == {(IPV4, port) for port in mine}
        assert len(set(mine)) == len(mine)
        assert set(mine) <= set(range(50001, 50009)) - {50004}
