"""A world for the core without sockets, and a client that says exactly what a test tells it to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from reference_server.turn.actions import ToClient, ToPeer
from reference_server.turn.allocations import FiveTuple, Permissions
from reference_server.turn.core import Strategies, Turn
from reference_server.turn.credentials import Nonces, SharedSecrets, long_term_key
from reference_server.turn.ledger import TurnLedger
from reference_server.turn.peers import DenyList
from reference_server.turn.settings import Listen, PortRange, Transport, TurnSettings
from reference_server.turn.stun import (
    Address,
    AddressFamily,
    Attribute,
    Class,
    Message,
    Method,
    attribute,
    build,
    parse,
    xor_address,
    xor_decode,
)
from reference_server.turn_secret import make_password

REALM = "chatmail.test"
SECRET = "north"
WALL = 1_790_000_000.0
SERVER = Address("192.0.2.1", 3478)
SERVER6 = Address("2001:db8::1", 3478)
PEER = Address("198.51.100.7", 5000)
UDP_TRANSPORT = attribute(Attribute.REQUESTED_TRANSPORT, b"\x11\0\0\0")
SETTINGS = TurnSettings(
    listeners=(Listen(Transport.UDP, SERVER), Listen(Transport.UDP, SERVER6)),
    realm=REALM,
    relay_ports=PortRange(50000, 50999),
    public=True,
)
IPV4_ONLY = replace(SETTINGS, listeners=SETTINGS.listeners[:1])


class FakeSockets:
    """Relay sockets that exist in name only."""

    def __init__(self):
        self.open_ports = set()
        self.taken = set()
        """Ports that other programs have."""

    def open(self, family, port):
        assert (family, port) not in self.open_ports
        if port in self.taken:
            return False
        self.open_ports.add((family, port))
        return True

    def close(self, family, port):
        self.open_ports.remove((family, port))


class World:
    """A core with a clock that only moves when told to."""

    def __init__(self, settings=SETTINGS, secrets=(SECRET,), **strategies):
        self.now = 1000.0
        self.wall = WALL
        self.sockets = FakeSockets()
        self.ledger = TurnLedger(enabled=True, clock=lambda: self.wall)
        standard = Strategies(
            SharedSecrets(secrets, settings.realm, lambda: self.wall, bare=settings.strict_usernames),
            DenyList(
                listeners=[listen.address for listen in settings.listeners],
                own_hosts=[host for family in AddressFamily if (host := settings.relay_host(family))],
            ),
            Permissions(settings.strict_permissions),
        )
        nonces = Nonces(settings.nonce_lifetime, clock=lambda: self.wall)
        self.turn = Turn(settings, replace(standard, **strategies), self.sockets, self.ledger, nonces)

    def pass_time(self, seconds):
        """Both clocks go on; what expires meanwhile does so. Returns the actions."""
        self.now += seconds
        self.wall += seconds
        return self.turn.expire(self.now)

    def allocations(self):
        return self.ledger.snapshot()["allocations"]

    def client(self, port=40000, host="203.0.113.5", **fields):
        return Client(self, FiveTuple(Transport.UDP, Address(host, port), SERVER), **fields)


@dataclass
class Reply:
    """One answer, taken apart."""

    raw: bytes
    message: Message
    signed: bool

    @property
    def error(self):
        value = self.message.get(Attribute.ERROR_CODE)
        return None if value is None else value[2] * 100 + value[3]

    @property
    def ok(self):
        return self.message.kind is Class.SUCCESS

    def get(self, kind):
        return self.message.get(kind)

    def address(self, kind):
        value = self.message.get(kind)
        assert value is not None
        return xor_decode(value, self.message.transaction)

    @property
    def relayed(self):
        return self.address(Attribute.XOR_RELAYED_ADDRESS)

    @property
    def lifetime(self):
        value = self.message.get(Attribute.LIFETIME)
        assert value is not None
        return int.from_bytes(value, "big")


@dataclass
class Client:
    """Signs with what `username`, `password` and `realm` say, right or wrong."""

    world: Any
    five_tuple: FiveTuple
    username: str = str(int(WALL) + 3600)
    secret: str = SECRET
    realm: str = REALM
    password: str | None = None
    """In place of the one that follows from secret and user name."""
    nonce: bytes = b""
    count: int = 0
    channel: int = 0x4000

    def raw(self, data):
        """The server's actions for these bytes."""
        return self.world.turn.receive(self.five_tuple, data, self.world.now)

    def transaction(self):
        self.count += 1
        return self.five_tuple.client.port.to_bytes(2, "big") + self.count.to_bytes(10, "big")

    @property
    def key(self):
        password = self.password or make_password(self.secret, self.username)
        return long_term_key(self.username.encode(), self.realm.encode(), password.encode())

    def signed(self, method, *attributes, transaction=None, key=None, nonce=None):
        """The bytes of a signed request."""
        credentials = (
            attribute(Attribute.USERNAME, self.username.encode()),
            attribute(Attribute.REALM, self.realm.encode()),
            attribute(Attribute.NONCE, self.nonce if nonce is None else nonce),
        )
        return build(
            method,
            Class.REQUEST,
            transaction or self.transaction(),
            (*attributes, *credentials),
            key or self.key,
        )

    def exchange(self, data):
        """The one reply to these bytes, or None."""
        replies = [action for action in self.raw(data) if isinstance(action, ToClient)]
        assert len(replies) <= 1
        if not replies:
            return None
        assert replies[0].five_tuple == self.five_tuple
        message = read(replies[0].data)
        return Reply(replies[0].data, message, message.is_signed_with(self.key))

    def challenge(self):
        """Learn a nonce."""
        reply = self.exchange(build(Method.ALLOCATE, Class.REQUEST, self.transaction(), [UDP_TRANSPORT]))
        assert reply.error == 401
        self.nonce = reply.get(Attribute.NONCE)
        return reply

    def request(self, method, *attributes, **options):
        if not self.nonce:
            self.challenge()
        return self.exchange(self.signed(method, *attributes, **options))

    def allocate(self, *attributes, **options):
        return self.request(Method.ALLOCATE, UDP_TRANSPORT, *attributes, **options)

    def refresh(self, *attributes):
        return self.request(Method.REFRESH, *attributes)

    def permit(self, *peers):
        transaction = self.transaction()
        values = [xor_address(Attribute.XOR_PEER_ADDRESS, peer, transaction) for peer in peers]
        return self.request(Method.CREATE_PERMISSION, *values, transaction=transaction)

    def bind(self, peer, number=0x4000):
        transaction = self.transaction()
        return self.request(
            Method.CHANNEL_BIND,
            attribute(Attribute.CHANNEL_NUMBER, number.to_bytes(2, "big") + bytes(2)),
            xor_address(Attribute.XOR_PEER_ADDRESS, peer, transaction),
            transaction=transaction,
        )

    def send(self, peer, payload, *more):
        """Actions for a Send indication."""
        transaction = self.transaction()
        attributes = (
            xor_address(Attribute.XOR_PEER_ADDRESS, peer, transaction),
            attribute(Attribute.DATA, payload),
            *more,
        )
        return self.raw(build(Method.SEND, Class.INDICATION, transaction, attributes))

    def send_channel(self, payload, number=0x4000):
        return self.raw(number.to_bytes(2, "big") + len(payload).to_bytes(2, "big") + payload)


def read(data):
    """The message that these bytes must be."""
    message = parse(data)
    assert message is not None
    return message


def lifetime(seconds):
    return attribute(Attribute.LIFETIME, seconds.to_bytes(4, "big"))


def family(number):
    return attribute(Attribute.REQUESTED_ADDRESS_FAMILY, bytes([number, 0, 0, 0]))


def second_family(number):
    return attribute(Attribute.ADDITIONAL_ADDRESS_FAMILY, bytes([number, 0, 0, 0]))


def even_port(*, reserve):
    return attribute(Attribute.EVEN_PORT, b"\x80" if reserve else b"\0")


def to_peers(actions):
    """What leaves for peers: (relay, peer, payload)."""
    return [(each.relay, each.peer, each.payload) for each in actions if isinstance(each, ToPeer)]


def to_clients(actions):
    return [(each.five_tuple, each.data) for each in actions if isinstance(each, ToClient)]


def indicated(data):
    """Peer and payload of a Data indication."""
    message = read(data)
    assert (message.method, message.kind) == (Method.DATA, Class.INDICATION)
    return xor_decode(message.get(Attribute.XOR_PEER_ADDRESS), message.transaction), message.get(
        Attribute.DATA
    )
