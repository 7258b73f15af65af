"""Both hubs as state machines: any bytes, any order, any clock. They never raise, and nothing grows without bound."""

import struct

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from reference_server.iroh_relay.client import Lane, State
from reference_server.iroh_relay.framing import HEADER
from reference_server.iroh_relay.limits import RateLimit, RelayLimits, TokenBucket, Unlimited
from tests.reference_server.iroh_relay.sans_io import Relay, RelayV1
from tests.reference_server.iroh_relay.support import Node, frame

NODES = [Node(seed) for seed in (1, 2, 3)]
STRANGERS = [Node(seed) for seed in range(10, 16)]
LIMITS = RelayLimits(queue_frames=4, queue_bytes=2000, max_strangers=3, max_connections=8)
MAX_CLIENTS = 8
REST = max(256 * 1024, 2 * 65_536)
FRAMES = st.one_of(
    st.builds(
        lambda kind, node, rest: frame(kind, node.key + rest),
        st.integers(0, 16),
        st.sampled_from(NODES),
        st.binary(max_size=80),
    ),
    st.builds(frame, st.integers(0, 20), st.binary(max_size=12)),
    st.builds(
        lambda kind, size: struct.pack(">BI", kind, size), st.integers(0, 20), st.integers(0, 2**32 - 1)
    ),
    st.binary(max_size=40),
)
BUCKETS = st.sampled_from([Unlimited, lambda: TokenBucket(RateLimit(500, 300))])


class HubMachine(RuleBasedStateMachine):
    make = Relay
    versions: tuple[int, ...] = (0,)

    @initialize(bucket=BUCKETS)
    def start(self, bucket):
        self.relay = self.make(limits=LIMITS, meter=bucket)
        self.now = 0.0
        self.clients = []

    def alive(self):
        self.clients = [client for client in self.clients if client.state is not State.GONE]
        return self.clients

    def pick(self, number):
        return self.clients[number % len(self.clients)]

    @precondition(lambda self: len(self.clients) < MAX_CLIENTS)
    @rule(version=st.integers(0, 10))
    def connect(self, version):
        client = self.relay.connect(self.now, self.versions[version % len(self.versions)])
        self.clients.append(client)

    @precondition(lambda self: len(self.clients) < MAX_CLIENTS)
    @rule(node=st.sampled_from(NODES), version=st.integers(0, 10))
    def log_in(self, node, version):
        client = self.relay.connect(self.now, self.versions[version % len(self.versions)])
        sent = self.relay.taken(client)
        text = node.client_auth(sent[0][1]) if sent else node.client_info()
        self.relay.feed(client, text, self.now)
        assert client.state is State.READY
        self.clients.append(client)

    @precondition(lambda self: self.alive())
    @rule(number=st.integers(0, 100), pieces=st.lists(FRAMES, max_size=6), cut=st.integers(0, 100))
    def feed(self, number, pieces, cut):
        client, data = self.pick(number), b"".join(pieces)
        for piece in (data[:cut], data[cut:]):
            if client.takes_frames and not client.rate_limited:
                self.relay.feed(client, piece, self.now)

    @precondition(lambda self: self.alive())
    @rule(number=st.integers(0, 100), receivers=st.lists(st.sampled_from(NODES * 2 + STRANGERS), max_size=8))
    def send(self, number, receivers):
        client = self.pick(number)
        if client.state is State.READY and not client.rate_limited and not self.relay.rest[client]:
            self.relay.feed(client, b"".join(frame(4, node.key + b"\0hello") for node in receivers), self.now)

    @precondition(lambda self: self.alive())
    @rule(number=st.integers(0, 100), unsent=st.integers(0, 1000))
    def block(self, number, unsent):
        self.relay.hub.blocked(self.pick(number), unsent, self.now)

    @precondition(lambda self: self.alive())
    @rule(number=st.integers(0, 100))
    def drain(self, number):
        self.relay.drain(self.pick(number))

    @precondition(lambda self: self.alive())
    @rule(number=st.integers(0, 100))
    def disconnect(self, number):
        self.relay.leave(self.pick(number))

    @precondition(lambda self: self.alive())
    @rule(number=st.integers(0, 100), allowed=st.booleans())
    def answer_late(self, number, allowed):
        self.relay.perform(self.relay.hub.decide(self.pick(number), allowed, self.now), self.now)

    @rule(seconds=st.floats(-5, 60, allow_nan=False), unsent=st.integers(0, 1000))
    def expire(self, seconds, unsent):
        self.now += seconds
        self.relay.expire(self.now, unsent)

    @invariant()
    def nothing_grows(self):
        hub = self.relay.hub
        ready = [client for client in self.alive() if client.state is State.READY]
        assert set(hub._registered) == {client.key for client in ready}
        assert all(client.state is State.READY for client in hub._registered.values())
        assert hub._written == [] == hub._actions
        for client in self.clients:
            assert client.outgoing == []
            assert len(self.relay.rest[client]) <= REST + HEADER.size
            assert all(client.lanes[lane].frames <= LIMITS.queue_frames for lane in Lane)
            assert all(client.lanes[lane].bytes <= LIMITS.queue_bytes for lane in Lane)
            assert len(client.strangers) <= LIMITS.max_strangers
            assert all(other.state is State.READY for other in (*client.sent_to, *client.heard_from))

    @invariant()
    def every_client_has_a_deadline(self):
        for client in self.alive():
            assert client.scheduled < float("inf")


class HubV1Machine(HubMachine):
    make = RelayV1
    versions = (1, 2)

    @invariant()
    def the_newest_connection_is_the_active_one(self):
        hub = self.relay.hub
        assert set(hub._endpoints) == set(hub._registered)
        for key, endpoint in hub._endpoints.items():
            assert next(reversed(endpoint.connections)) is hub._registered[key]
            assert len(endpoint.sent_to) <= LIMITS.max_connections


@pytest.mark.parametrize("machine", [HubMachine, HubV1Machine])
def test_any_bytes_in_any_order_at_any_time(machine):
    case = machine.TestCase()
    case.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
    case.runTest()
