"""A hub without sockets, for tests: what each client was sent lies in `sent`."""

from __future__ import annotations

from reference_server.iroh_relay.actions import AskAccess, Close, ResumeReading, Write
from reference_server.iroh_relay.client import State
from reference_server.iroh_relay.framing import frame_spans
from reference_server.iroh_relay.hub import Parts
from reference_server.iroh_relay.limits import RelayLimits, Unlimited
from reference_server.iroh_relay.v035.hub import Hub035
from reference_server.iroh_relay.v1.hub import HubV1
from reference_server.ledger import Ledger


class Relay:
    """Plays the shell. Its clients are those of generation 0.35."""

    def __init__(self, *, limits=None, meter=Unlimited, hub=Hub035, ledger=None, **parts):
        self.ledger = ledger or Ledger("iroh_relay", enabled=True, clock=lambda: 1.0)
        self.limits = limits or RelayLimits()
        self.hub = hub(Parts(self.ledger, self.limits, **parts), meter)
        self.sent, self.closed, self.rest, self.others = {}, [], {}, []

    def connect(self, now=0.0, version=0):
        client, actions = self.hub.connect(self.ledger.connection("relay", "127.0.0.1:1"), now, version)
        self.sent[client], self.rest[client] = b"", b""
        self.perform(actions, now)
        return client

    def feed(self, client, data, now=0.0, *, allowed=True):
        buffer = bytearray(self.rest[client] + data)
        forwarded = self.hub.forward_few(client, buffer, len(buffer), now)
        if forwarded is not None:
            destination, frames = forwarded
            self.rest[client] = b""
            self.sent[destination] += frames
            return
        taken, actions = self.hub.receive(client, buffer, len(buffer), now)
        self.rest[client] = bytes(buffer[taken:])
        self.perform(actions, now, allowed=allowed)

    def perform(self, actions, now=0.0, *, allowed=True):
        for action in actions:
            match action:
                case Write(client, data):
                    self.sent[client] += data
                case Close(client):
                    self.closed.append(client)
                case AskAccess(client):
                    self.perform(self.hub.decide(client, allowed, now), now)
                case ResumeReading(client):
                    self.feed(client, b"", now)
                case other:
                    self.others.append(other)

    def log_in(self, node, now=0.0):
        client = self.connect(now)
        self.feed(client, node.client_info(), now)
        assert client.state is State.READY
        return client

    def leave(self, client):
        self.perform(self.hub.disconnected(client, "gone"))

    def drain(self, client):
        """Everything that waited for the client's socket, which now takes it."""
        drained = b""
        while data := self.hub.drain(client):
            drained += data
        return drained

    def expire(self, now, unsent=0):
        self.perform(self.hub.expire(now, lambda _: unsent), now)

    def reasons(self, kind):
        return [event["reason"] for event in self.ledger.snapshot()["events"] if event["kind"] == kind]

    def taken(self, client):
        """The frames that the client was sent since this was last asked."""
        data, self.sent[client] = self.sent[client], b""
        return frames_of(data)


class RelayV1(Relay):
    """The same with clients of `iroh-relay-v1` and `-v2`."""

    def __init__(self, **settings):
        super().__init__(hub=HubV1, **settings)

    def log_in(self, node, now=0.0, version=2):
        client = self.connect(now, version)
        ((kind, challenge),) = self.taken(client)
        assert kind == 0
        self.feed(client, node.client_auth(challenge), now)
        assert self.taken(client) == [(2, b"")]
        assert client.state is State.READY
        return client


def frames_of(data):
    return [(data[start], data[start + 5 : stop]) for start, stop in frame_spans(data)]
