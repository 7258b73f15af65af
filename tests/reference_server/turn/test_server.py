"""Every row of the tables: order of checks, error codes, what is granted and what passes (RFC 8489, RFC 8656)."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from reference_server.turn.actions import AllocationEnded, ChannelEnded
from reference_server.turn.settings import Limits, PortRange, Transport
from reference_server.turn.stun import Address, Attribute, Class, Method, attribute, build, xor_address
from tests.reference_server.turn.support import (
    IPV4_ONLY,
    PEER,
    SERVER,
    SETTINGS,
    UDP_TRANSPORT,
    World,
    even_port,
    family,
    indicated,
    lifetime,
    read,
    second_family,
    to_clients,
    to_peers,
)

OTHER_PEER = Address("198.51.100.8", 6000)
PEER6 = Address("2001:db8:ffff::7", 5000)


@pytest.fixture
def world():
    return World()


@pytest.fixture
def client(world):
    return world.client()


# Who is asked, and in which order


def test_binding_is_answered_to_everybody(client):
    reply = client.exchange(build(Method.BINDING, Class.REQUEST, client.transaction()))
    assert reply.ok
    assert reply.address(Attribute.XOR_MAPPED_ADDRESS) == client.path.client


def test_without_integrity_401_with_realm_and_nonce_and_small(client):
    reply = client.challenge()
    assert reply.get(Attribute.REALM) == b"chatmail.test"
    assert len(reply.get(Attribute.NONCE)) == 22
    assert len(reply.raw) <= 160


def test_401_is_small_with_the_longest_realm():
    world = World(replace(SETTINGS, realm="r" * 100))
    assert len(world.client().challenge().raw) <= 160


@pytest.mark.parametrize("missing", [Attribute.USERNAME, Attribute.REALM, Attribute.NONCE])
def test_a_credential_missing_is_400_without_nonce(client, missing):
    values = {Attribute.USERNAME: b"1", Attribute.REALM: b"r", Attribute.NONCE: b"n"}
    given = [attribute(kind, value) for kind, value in values.items() if kind is not missing]
    reply = client.exchange(build(Method.ALLOCATE, Class.REQUEST, client.transaction(), given, b"key"))
    assert reply.error == 400
    assert reply.get(Attribute.NONCE) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": "south"},
        {"realm": "other.test"},
        {"username": "1789999999"},
        {"username": "1790000000"},
        {"username": "nobody"},
        {"username": "1790003600:alice"},
        {"username": "-1790003600"},
        {"username": "1790003600.5"},
        {"username": "\u0661\u0662\u0663"},
        {"username": "9" * 65},
        {"username": ""},
    ],
)
def test_wrong_credentials_are_401_with_a_way_to_try_again(world, wrong):
    reply = world.client(**wrong).allocate()
    assert reply.error == 401
    assert reply.get(Attribute.NONCE)
    assert not reply.signed
    assert world.allocations() == []


def test_tampered_request_is_401(client):
    client.challenge()
    data = bytearray(client.signed(Method.ALLOCATE, UDP_TRANSPORT, lifetime(600)))
    place = data.index(b"\x00\x00\x02\x58")
    data[place + 3] ^= 1
    assert client.exchange(bytes(data)).error == 401


def test_each_of_several_secrets_is_accepted():
    world = World(secrets=("old", "new"))
    for port, secret in enumerate(("old", "new"), 40000):
        assert world.client(port, secret=secret).allocate().ok
    assert world.client(40002, secret="older").allocate().error == 401


def test_nonce_of_another_source_is_438(world):
    first, second = world.client(1), world.client(2)
    first.challenge()
    second.nonce = first.nonce
    reply = second.allocate()
    assert reply.error == 438
    second.nonce = reply.get(Attribute.NONCE)
    assert second.allocate().ok


@pytest.mark.parametrize("nonce", [b"", b"x", b"\xff" * 22, b"A" * 22, b"A" * 700])
def test_made_up_nonce_is_438(client, nonce):
    client.challenge()
    reply = client.exchange(client.signed(Method.ALLOCATE, UDP_TRANSPORT, nonce=nonce))
    assert reply.error == 438


def test_wrong_password_with_old_nonce_is_401_not_438(world):
    assert world.client(secret="south", nonce=b"old").allocate().error == 401


def test_allocations_outlive_nonces(world):
    client = world.client(username=str(int(world.wall) + 10_000))
    assert client.allocate(lifetime(3600)).ok
    world.pass_time(3000)
    assert client.refresh(lifetime(3600)).ok
    world.pass_time(601)
    reply = client.refresh()
    assert reply.error == 438
    client.nonce = reply.get(Attribute.NONCE)
    assert client.refresh().ok


def test_running_allocation_survives_the_expiry_of_its_credentials_but_new_ones_are_refused(world):
    client = world.client(username=str(int(world.wall) + 60))
    assert client.allocate().ok
    assert client.permit(PEER).ok
    world.pass_time(61)
    assert to_peers(client.send(PEER, b"on"))
    client2 = world.client(40001, username=client.username)
    assert client2.allocate().error == 401


def test_unknown_attributes_are_listed_after_authentication(client):
    reply = client.allocate(attribute(0x0035, b"abc"), attribute(0x7F00, b""), attribute(0x9000, b""))
    assert reply.error == 420
    assert reply.signed
    assert reply.get(Attribute.UNKNOWN_ATTRIBUTES) == b"\0\x35\x7f\0"
    plain = build(Method.ALLOCATE, Class.REQUEST, client.transaction(), [attribute(0x0035, b"")])
    assert client.exchange(plain).error == 401


def test_binding_with_unknown_attributes_is_a_small_420(client):
    many = [attribute(kind, b"") for kind in range(0x0100, 0x0200)]
    reply = client.exchange(build(Method.BINDING, Class.REQUEST, client.transaction(), many))
    assert reply.error == 420
    assert len(reply.raw) <= 160


@pytest.mark.parametrize("method", [Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND])
def test_other_user_of_the_same_path_is_441_and_signed(client, method):
    assert client.allocate().ok
    client.username = str(int(client.username) + 1)
    reply = client.request(method)
    assert reply.error == 441
    assert reply.signed


@pytest.mark.parametrize("method", [Method.REFRESH, Method.CREATE_PERMISSION, Method.CHANNEL_BIND])
def test_without_allocation_437_and_signed(client, method):
    reply = client.request(method)
    assert reply.error == 437
    assert reply.signed


def test_errors_are_unsigned_when_told_so():
    client = World(replace(SETTINGS, sign_errors=False)).client()
    reply = client.refresh()
    assert (reply.error, reply.signed) == (437, False)


@pytest.mark.parametrize("method", [0x002, 0x00A, 0x00B, 0x0FF, 0xFFF])
def test_methods_that_we_do_not_know_get_no_answer(client, method):
    assert client.raw(build(method, Class.REQUEST, client.transaction())) == []


def test_success_and_error_responses_get_no_answer(client):
    for method in Method:
        for kind in (Class.SUCCESS, Class.ERROR, Class.INDICATION):
            assert client.raw(build(method, kind, client.transaction())) == []


# Allocate


def test_success_carries_what_aioice_requires(client):
    reply = client.allocate()
    assert reply.ok
    assert reply.signed
    assert reply.relayed.host == SERVER.host
    assert 50000 <= reply.relayed.port <= 50999
    assert reply.address(Attribute.XOR_MAPPED_ADDRESS) == client.path.client
    assert reply.lifetime == 600


def test_relay_ip_is_what_clients_are_told():
    world = World(replace(SETTINGS, relay_ips={1: "203.0.113.10"}))
    assert world.client().allocate().relayed.host == "203.0.113.10"


def test_retransmission_gets_the_same_reply_and_nothing_twice(world, client):
    client.challenge()
    data = client.signed(Method.ALLOCATE, UDP_TRANSPORT)
    assert client.exchange(data).raw == client.exchange(data).raw
    assert len(world.sockets.open_ports) == 1


def test_second_allocation_on_one_path_is_437(client):
    assert client.allocate().ok
    assert client.allocate().error == 437


@pytest.mark.parametrize(
    ("attributes", "error"),
    [
        ([], 400),
        ([attribute(Attribute.REQUESTED_TRANSPORT, b"\x11")], 400),
        ([attribute(Attribute.REQUESTED_TRANSPORT, b"\x06\0\0\0")], 442),
        ([attribute(Attribute.REQUESTED_TRANSPORT, b"\x84\0\0\0")], 442),
        ([UDP_TRANSPORT, attribute(Attribute.DONT_FRAGMENT, b"")], 420),
        ([UDP_TRANSPORT, attribute(Attribute.RESERVATION_TOKEN, bytes(8)), even_port(reserve=False)], 400),
        ([UDP_TRANSPORT, attribute(Attribute.RESERVATION_TOKEN, bytes(8)), family(1)], 400),
        ([UDP_TRANSPORT, attribute(Attribute.RESERVATION_TOKEN, bytes(8)), second_family(2)], 400),
        ([UDP_TRANSPORT, attribute(Attribute.RESERVATION_TOKEN, bytes(7))], 400),
        ([UDP_TRANSPORT, attribute(Attribute.RESERVATION_TOKEN, bytes(8))], 508),
        ([UDP_TRANSPORT, family(1), second_family(2)], 400),
        ([UDP_TRANSPORT, family(0)], 440),
        ([UDP_TRANSPORT, family(3)], 440),
        ([UDP_TRANSPORT, attribute(Attribute.REQUESTED_ADDRESS_FAMILY, b"\1")], 400),
        ([UDP_TRANSPORT, even_port(reserve=True), second_family(2)], 400),
        ([UDP_TRANSPORT, second_family(1)], 400),
        ([UDP_TRANSPORT, attribute(Attribute.EVEN_PORT, b"")], 400),
        ([UDP_TRANSPORT, attribute(Attribute.LIFETIME, b"\1")], 400),
    ],
)
def test_refused_allocations(world, client, attributes, error):
    reply = client.request(Method.ALLOCATE, *attributes)
    assert reply.error == error
    assert reply.signed
    assert world.sockets.open_ports == set()


def test_dont_fragment_is_named(client):
    reply = client.allocate(attribute(Attribute.DONT_FRAGMENT, b""))
    assert reply.get(Attribute.UNKNOWN_ATTRIBUTES) == b"\0\x1a"


@pytest.mark.parametrize(
    ("asked", "granted"), [(0, 600), (1, 600), (700, 700), (10**6, 3600), (2**32 - 1, 3600)]
)
def test_lifetimes(client, asked, granted):
    assert client.allocate(lifetime(asked)).lifetime == granted


def test_ipv6_relay_and_both(world):
    assert world.client(1).allocate(family(2)).relayed.host == "2001:db8::1"
    reply = world.client(2).allocate(second_family(2))
    relayed = reply.message.every(Attribute.XOR_RELAYED_ADDRESS)
    assert [value[1] for value in relayed] == [1, 2]
    assert reply.get(Attribute.ADDRESS_ERROR_CODE) is None


def test_without_ipv6():
    world = World(IPV4_ONLY)
    assert world.client(1).allocate(family(2)).error == 440
    reply = world.client(2).allocate(second_family(2))
    assert reply.ok
    assert reply.get(Attribute.ADDRESS_ERROR_CODE) == b"\2\0\4\x28"


def test_even_port_does_not_reserve_the_next(world):
    for port in range(20):
        reply = world.client(port + 1).allocate(even_port(reserve=False))
        assert reply.relayed.port % 2 == 0
        assert reply.get(Attribute.RESERVATION_TOKEN) is None
    assert len(world.sockets.open_ports) == 20


def test_reservation_gives_the_next_port_once_and_to_its_user_only(world):
    first = world.client(1)
    reply = first.allocate(even_port(reserve=True))
    token = attribute(Attribute.RESERVATION_TOKEN, reply.get(Attribute.RESERVATION_TOKEN))
    thief = world.client(2, username=str(int(first.username) + 1))
    assert thief.allocate(token).error == 508
    second = world.client(3).allocate(token)
    assert second.relayed.port == reply.relayed.port + 1
    assert world.client(4).allocate(token).error == 508


def test_reservation_ends(world):
    reply = world.client(1).allocate(even_port(reserve=True))
    assert len(world.sockets.open_ports) == 2
    world.pass_time(30)
    assert world.sockets.open_ports == {(1, reply.relayed.port)}
    token = attribute(Attribute.RESERVATION_TOKEN, reply.get(Attribute.RESERVATION_TOKEN))
    assert world.client(2).allocate(token).error == 508


def test_reservations_count_in_the_quota_of_their_source():
    world = World(replace(SETTINGS, limits=Limits(allocations_per_source=3)))
    for port in (1, 2, 3):
        client = world.client(port)
        assert client.allocate(even_port(reserve=True)).ok
        client.refresh(lifetime(0))
    assert world.client(4).allocate().error == 486
    world.pass_time(30)
    assert world.client(5).allocate().ok


def test_no_port_left_is_508():
    world = World(replace(SETTINGS, relay_ports=PortRange(50001, 50002)))
    world.sockets.taken = {50002}
    assert world.client(1).allocate(even_port(reserve=False)).error == 508
    assert world.client(2).allocate(even_port(reserve=True)).error == 508
    assert world.client(3).allocate().relayed.port == 50001
    assert world.client(4).allocate().error == 508


def test_a_freed_port_rests():
    world = World(replace(SETTINGS, relay_ports=PortRange(50001, 50003)))
    used = []
    for port in (1, 2, 3, 4):
        client = world.client(port)
        used.append(client.allocate().relayed.port)
        client.refresh(lifetime(0))
    assert len(set(used[:3])) == 3  # the fourth has no choice


def test_ports_are_not_predictable(world):
    ports = [world.client(port + 1).allocate().relayed.port for port in range(50)]
    assert len(set(ports)) == 50
    assert sum(after - before in (1, 2) for before, after in pairwise(ports)) < 5


def test_quotas():
    limits = Limits(allocations=5, allocations_per_source=2, allocations_per_username=3)
    world = World(replace(SETTINGS, limits=limits))
    one = [world.client(port) for port in (1, 2, 3)]
    assert [client.allocate().error for client in one] == [None, None, 486]
    second = world.client(1, host="203.0.113.6")
    assert second.allocate().ok
    assert world.client(2, host="203.0.113.6").allocate().error == 486  # three of this user name
    other = str(int(second.username) + 1)
    assert world.client(3, host="203.0.113.6", username=other).allocate().ok
    assert world.client(1, host="203.0.113.7", username=other).allocate().ok
    assert world.client(2, host="203.0.113.7", username=other).allocate().error == 486  # five in all
    assert one[0].refresh(lifetime(0)).ok
    assert one[2].allocate().ok


def test_an_ipv6_source_is_a_64():
    world = World(replace(SETTINGS, limits=Limits(allocations_per_source=1)))
    assert world.client(1, host="2001:db8:1::1").allocate().ok
    assert world.client(1, host="2001:db8:1::2").allocate().error == 486
    assert world.client(1, host="2001:db8:1:1::2").allocate().ok


# Refresh


def test_refresh_grants_and_deletes(world, client):
    client.allocate()
    assert client.refresh().lifetime == 600
    assert client.refresh(lifetime(1000)).lifetime == 1000
    assert client.refresh(lifetime(0)).lifetime == 0
    assert world.sockets.open_ports == set()
    assert client.refresh(lifetime(0)).error == 437
    assert client.allocate().ok


def test_refresh_of_one_family(world, client):
    client.allocate(second_family(2))
    assert client.refresh(family(2), lifetime(0)).ok
    assert {kind for kind, _ in world.sockets.open_ports} == {1}
    assert client.refresh(family(2)).error == 443
    assert client.refresh(family(1)).ok


def test_an_allocation_ends_when_it_is_not_refreshed(world, client):
    client.allocate()
    client.bind(PEER)
    world.pass_time(599)
    assert world.allocations()[0]["closed"] is None
    actions = world.pass_time(1)
    assert {type(action) for action in actions} == {ChannelEnded, AllocationEnded}
    assert world.sockets.open_ports == set()
    record = world.allocations()[0]
    assert (record["closed"], record["reason"]) == (world.wall, "expired")


def test_a_shorter_refresh_counts(world, client):
    client.allocate(lifetime(3600))
    client.refresh(lifetime(600))
    world.pass_time(600)
    assert world.sockets.open_ports == set()


# Permissions


def test_permission_is_needed_for_both_directions_and_ignores_the_port(world, client):
    relay = client.allocate().relayed
    assert client.send(PEER, b"x") == []
    assert world.turn.arrive(relay, PEER, b"x", world.now) == []
    assert client.permit(PEER._replace(port=1)).ok
    assert to_peers(client.send(PEER, b"x")) == [(relay, PEER, b"x")]
    [(path, data)] = to_clients(world.turn.arrive(relay, PEER, b"y", world.now))
    assert path == client.path
    assert indicated(data) == (PEER, b"y")
    assert world.turn.arrive(relay, OTHER_PEER, b"x", world.now) == []
    assert world.allocations()[0]["drops"]["no_permission"] == {"packets": 3, "bytes": 3}


def test_permission_lives_300_seconds_unless_refreshed(world, client):
    client.allocate()
    client.permit(PEER)
    world.pass_time(299)
    assert client.send(PEER, b"x")  # does not refresh
    client.permit(PEER)
    world.pass_time(299)
    assert client.send(PEER, b"x")
    world.pass_time(1)
    assert client.send(PEER, b"x") == []


@pytest.mark.parametrize(
    ("peers", "error"),
    [
        ([], 400),
        ([PEER, Address("10.0.0.1", 5)], 403),
        ([PEER6], 443),
        ([Address("127.0.0.1", 5)], 403),
    ],
)
def test_refused_permissions_install_nothing(client, peers, error):
    client.allocate()
    reply = client.permit(*peers)
    assert (reply.error, reply.signed) == (error, True)
    assert client.send(PEER, b"x") == []


def test_malformed_peer_is_400(client):
    client.allocate()
    assert (
        client.request(Method.CREATE_PERMISSION, attribute(Attribute.XOR_PEER_ADDRESS, bytes(7))).error == 400
    )


def test_permissions_have_a_bound():
    client = World(replace(SETTINGS, limits=Limits(permissions=2))).client()
    client.allocate()
    peers = [Address(f"198.51.100.{number}", 1) for number in (1, 2, 3)]
    assert client.permit(*peers).error == 508
    assert client.permit(*peers[:2]).ok
    assert client.permit(*peers[:2]).ok
    assert client.permit(peers[2]).error == 508
    assert client.bind(peers[2]).error == 508


# Channels


def test_channel_carries_both_directions(world, client):
    relay = client.allocate().relayed
    assert client.bind(PEER).ok
    assert to_peers(client.send_channel(b"\x80data")) == [(relay, PEER, b"\x80data")]
    assert to_clients(world.turn.arrive(relay, PEER, b"", world.now)) == [(client.path, b"\x40\0\0\0")]
    assert to_clients(world.turn.arrive(relay, PEER, b"abc", world.now)) == [(client.path, b"\x40\0\0\3abc")]
    elsewhere = PEER._replace(port=5001)
    [(_, data)] = to_clients(world.turn.arrive(relay, elsewhere, b"z", world.now))
    assert indicated(data) == (elsewhere, b"z")


@pytest.mark.parametrize(
    ("number", "peer", "error"),
    [
        (0x3FFF, PEER, 400),
        (0x5000, PEER, 400),
        (0x7FFF, PEER, 400),
        (0x4001, PEER, 400),
        (0x4000, OTHER_PEER, 400),
        (0x4001, OTHER_PEER._replace(port=0), 400),
        (0x4001, Address("169.254.1.1", 80), 403),
        (0x4001, PEER6, 443),
        (0x4000, PEER, None),
        (0x4FFF, OTHER_PEER, None),
    ],
)
def test_bindings(client, number, peer, error):
    client.allocate()
    assert client.bind(PEER, 0x4000).ok
    assert client.bind(peer, number).error == error


def test_bind_without_number_or_peer_is_400(client):
    client.allocate()
    assert (
        client.request(Method.CHANNEL_BIND, attribute(Attribute.CHANNEL_NUMBER, b"\x40\0\0\0")).error == 400
    )
    transaction = client.transaction()
    peer = xor_address(Attribute.XOR_PEER_ADDRESS, PEER, transaction)
    assert client.request(Method.CHANNEL_BIND, peer, transaction=transaction).error == 400


def test_channels_have_a_bound():
    client = World(replace(SETTINGS, limits=Limits(channels=1))).client()
    client.allocate()
    assert client.bind(PEER).ok
    assert client.bind(OTHER_PEER, 0x4001).error == 508
    assert client.bind(PEER).ok


def test_a_living_channel_implies_a_permission(world, client):
    """aioice refreshes its channels every 500 s and nothing else."""
    relay = client.allocate(lifetime(3600)).relayed
    for _ in range(3):
        assert client.bind(PEER).ok
        world.pass_time(500)
        assert to_clients(world.turn.arrive(relay, PEER, b"x", world.now))
        assert to_peers(client.send_channel(b"x"))
        assert to_peers(client.send(PEER, b"x"))
    world.pass_time(100)
    assert client.send_channel(b"x") == []
    assert world.turn.arrive(relay, PEER, b"x", world.now) == []


def test_strict_permissions_end_after_300_seconds():
    world = World(replace(SETTINGS, strict_permissions=True))
    client = world.client()
    relay = client.allocate().relayed
    client.bind(PEER)
    world.pass_time(299)
    assert to_peers(client.send_channel(b"x"))
    world.pass_time(1)
    assert client.send_channel(b"x") == []
    assert world.turn.arrive(relay, PEER, b"x", world.now) == []
    client.permit(PEER)
    assert client.bind(PEER).ok
    assert to_peers(client.send_channel(b"x"))


def test_a_number_is_free_again_after_its_channel(world, client):
    client.allocate(lifetime(3600))
    client.bind(PEER)
    world.pass_time(600)
    assert client.bind(OTHER_PEER).ok


def test_channel_data_on_udp(client):
    client.allocate()
    client.bind(PEER)
    assert to_peers(client.raw(b"\x40\0\0\3abcdefgh"))[0][2] == b"abc"
    for dropped in (b"\x40", b"\x40\0\0", b"\x40\0\0\4abc", b"\x40\1\0\1a", b"\x4f\xff\0\0", b"\x50\0\0\0"):
        assert client.raw(dropped) == []


# Send


def test_send_needs_its_attributes(client):
    client.allocate()
    client.permit(PEER)
    transaction = client.transaction()
    peer = xor_address(Attribute.XOR_PEER_ADDRESS, PEER, transaction)
    data = attribute(Attribute.DATA, b"x")
    for attributes in ([peer], [data], [], [peer, data, attribute(0x0035, b"")]):
        assert client.raw(build(Method.SEND, Class.INDICATION, transaction, attributes)) == []
    assert client.send(PEER, b"x", attribute(Attribute.DONT_FRAGMENT, b"")) == []
    assert to_peers(client.send(PEER, b""))[0][2] == b""


def test_data_indications_have_transactions_of_their_own(world, client):
    relay = client.allocate().relayed
    client.permit(PEER)
    sent = [to_clients(world.turn.arrive(relay, PEER, b"x", world.now))[0][1] for _ in range(20)]
    assert len({read(data).transaction for data in sent}) == 20


def test_nothing_for_strangers(world, client):
    assert client.send(PEER, b"x") == []
    assert client.send_channel(b"x") == []
    assert world.turn.arrive(Address(SERVER.host, 50000), PEER, b"x", world.now) == []


# Two clients of one server


def pair(world):
    first, second = world.client(1), world.client(2)
    return first, first.allocate().relayed, second, second.allocate().relayed


@pytest.mark.parametrize("settings", [SETTINGS, replace(SETTINGS, relay_ips={1: "127.0.0.1"})])
def test_relay_to_relay_stays_inside(settings):
    world = World(settings)
    first, first_relay, second, second_relay = pair(world)
    assert first.permit(second_relay).ok
    assert first.send(second_relay, b"early") == []
    assert second.bind(first_relay).ok
    assert to_clients(first.send(second_relay, b"x")) == [(second.path, b"\x40\0\0\1x")]
    [(path, data)] = to_clients(second.send_channel(b"y"))
    assert (path, indicated(data)) == (first.path, (second_relay, b"y"))
    records = world.allocations()
    assert records[0]["peers"][0]["to_peer"]["other"] == {"packets": 2, "bytes": 6}
    assert records[1]["peers"][0]["to_client"]["other"] == {"packets": 1, "bytes": 1}
    assert records[1]["drops"] == {"no_permission": {"packets": 1, "bytes": 5}}


def test_own_address_is_no_peer_but_for_relays():
    world = World(replace(SETTINGS, relay_ips={1: "127.0.0.1"}))
    first, _, second, second_relay = pair(world)
    assert first.bind(Address("127.0.0.1", 22)).error == 403
    assert first.bind(SERVER).error == 403
    assert first.bind(Address(SERVER.host, 22)).error == 403
    assert first.permit(Address("127.0.0.1", 22)).ok  # a permission is for the host of a relay
    assert first.send(Address("127.0.0.1", 22), b"x") == []
    assert first.bind(second_relay).ok
    assert first.permit(Address("127.0.0.2", 22)).error == 403
    second.refresh(lifetime(0))
    assert first.send_channel(b"x") == []  # whoever has that port now is nobody's business
    assert world.allocations()[0]["drops"]["denied_peer"] == {"packets": 2, "bytes": 2}


def test_what_runs_on_the_servers_own_address_is_not_heard():
    world = World(replace(SETTINGS, relay_ips={1: "127.0.0.1"}))
    first, first_relay, _, second_relay = pair(world)
    first.permit(second_relay)
    assert world.turn.arrive(first_relay, Address("127.0.0.1", 53), b"x", world.now) == []


def test_a_client_may_be_its_own_peer(world, client):
    relay = client.allocate().relayed
    client.bind(relay)
    assert to_clients(client.send_channel(b"me")) == [(client.path, b"\x40\0\0\2me")]


# Strangers and seams


def test_strangers_are_answered_up_to_a_bound_over_udp():
    world = World(replace(SETTINGS, limits=Limits(strangers_burst=10, strangers_per_second=1)))
    client = world.client()
    binding = build(Method.BINDING, Class.REQUEST, client.transaction())
    assert sum(client.exchange(binding) is not None for _ in range(1000)) == 10
    assert world.client(host="203.0.113.9").exchange(binding) is not None
    world.pass_time(2)
    assert sum(client.exchange(binding) is not None for _ in range(1000)) == 2
    stream = world.client()
    stream.path = stream.path._replace(transport=Transport.TCP)
    assert sum(stream.exchange(binding) is not None for _ in range(100)) == 100


def test_who_is_authenticated_is_no_stranger():
    world = World(replace(SETTINGS, limits=Limits(strangers_burst=2, strangers_per_second=0.001)))
    client = world.client()
    client.allocate()
    assert all(client.refresh().ok for _ in range(100))


def test_disconnect_ends_the_allocation(world, client):
    client.path = client.path._replace(transport=Transport.TCP)
    client.allocate()
    world.turn.disconnected(client.path, world.now)
    assert world.sockets.open_ports == set()
    assert world.allocations()[0]["reason"] == "disconnected"


def test_forwarding_can_be_replaced(world):
    world = World(forwarding=lambda allocation, payload, to_peer: not to_peer)
    client = world.client()
    relay = client.allocate().relayed
    client.bind(PEER)
    assert client.send_channel(b"x") == []
    assert to_clients(world.turn.arrive(relay, PEER, b"x", world.now))


def test_the_account_by_class(world, client):
    relay = client.allocate().relayed
    client.bind(PEER)
    payloads = [b"\0" * 20, b"\x03ab", b"\x14dtls", b"\x3f", b"\x80rtp", b"\xbfrtcp", b"\x04", b"\xc0", b""]
    for payload in payloads:
        client.send_channel(payload)
        world.turn.arrive(relay, PEER, payload, world.now)
    [record] = world.allocations()
    expected = {
        "stun": {"packets": 2, "bytes": 23},
        "dtls": {"packets": 2, "bytes": 6},
        "rtp": {"packets": 2, "bytes": 9},
        "other": {"packets": 3, "bytes": 2},
    }
    assert record["peers"] == [
        {"peer": "198.51.100.7:5000", "channel": 0x4000, "to_peer": expected, "to_client": expected}
    ]
    assert record["control"]["in"]["packets"] == record["control"]["out"]["packets"] == 2


def test_peers_in_the_ledger_have_a_bound():
    world = World(replace(SETTINGS, limits=Limits(peers_remembered=3)))
    client = world.client()
    client.allocate()
    client.permit(PEER)
    for port in range(1, 11):
        client.send(PEER._replace(port=port), b"x")
    [record] = world.allocations()
    assert [peer["peer"] for peer in record["peers"]][3:] == ["others"]
    assert record["peers"][3]["to_peer"]["other"]["packets"] == 7


def test_no_secret_in_the_ledger(world, client):
    client.allocate()
    world.client(2, secret="south").allocate()
    text = repr(world.ledger.snapshot())
    assert "north" not in text
    assert client.key.hex() not in text
