"""Every row of the tables: error codes, what is granted and what passes (RFC 8489, RFC 8656)."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from reference_server.turn.actions import AllocationEnded, ChannelEnded
from reference_server.turn.settings import Limits, PortRange
from reference_server.turn.stun import (
    Address,
    AddressFamily,
    Attribute,
    Class,
    Method,
    attribute,
    build,
    xor_address,
)
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


# Allocate


def test_success_carries_what_aioice_requires(client):
    reply = client.allocate()
    assert reply.ok
    assert reply.signed
    assert reply.relayed.host == SERVER.host
    assert 50000 <= reply.relayed.port <= 50999
    assert reply.address(Attribute.XOR_MAPPED_ADDRESS) == client.five_tuple.client
    assert reply.lifetime == 600


def test_relay_ip_is_what_clients_are_told():
    world = World(replace(SETTINGS, relay_ips={AddressFamily.IPV4: "203.0.113.10"}))
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


def test_what_may_not_be_fragmented_is_marked_and_nothing_else(client):
    assert client.allocate(attribute(Attribute.DONT_FRAGMENT, b"")).ok
    client.permit(PEER)
    [marked] = client.send(PEER, b"x", attribute(Attribute.DONT_FRAGMENT, b""))
    [other] = client.send(PEER, b"x")
    assert (marked.payload, marked.dont_fragment) == (b"x", True)
    assert (other.payload, other.dont_fragment) == (b"x", False)


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
    [(five_tuple, data)] = to_clients(world.turn.arrive(relay, PEER, b"y", world.now))
    assert five_tuple == client.five_tuple
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
    assert to_clients(world.turn.arrive(relay, PEER, b"", world.now)) == [(client.five_tuple, b"\x40\0\0\0")]
    assert to_clients(world.turn.arrive(relay, PEER, b"abc", world.now)) == [
        (client.five_tuple, b"\x40\0\0\3abc")
    ]
    elsewhere = PEER._replace(port=5001)
    [(_, data)] = to_clients(world.turn.arrive(relay, elsewhere, b"z", world.now))
    assert indicated(data) == (elsewhere, b"z")


@pytest.mark.parametrize(
    ("number", "peer", "error"),
    [
        (0x3FFF, PEER, 400),
        (0x8000, OTHER_PEER, 400),
        (0xFFFF, OTHER_PEER, 400),
        (0x5000, PEER, 400),
        (0x4001, PEER, 400),
        (0x4000, OTHER_PEER, 400),
        (0x4001, OTHER_PEER._replace(port=0), 400),
        (0x4001, Address("169.254.1.1", 80), 403),
        (0x4001, PEER6, 443),
        (0x4000, PEER, None),
        (0x4FFF, OTHER_PEER, None),
        (0x5000, OTHER_PEER, None),
        (0x7FFF, OTHER_PEER, None),
    ],
)
def test_bindings(client, number, peer, error):
    client.allocate()
    assert client.bind(PEER, 0x4000).ok
    assert client.bind(peer, number).error == error


@pytest.mark.parametrize(("number", "error"), [(0x4FFF, None), (0x5000, 400), (0x7FFF, 400)])
def test_strict_channels_are_those_of_rfc_8656(number, error):
    client = World(replace(SETTINGS, strict_channels=True)).client()
    client.allocate()
    assert client.bind(PEER, number).error == error


def test_data_goes_over_channels_of_rfc_5766(world, client):
    relay = client.allocate().address(Attribute.XOR_RELAYED_ADDRESS)
    assert client.bind(PEER, 0x7FFF).ok
    assert to_peers(client.raw(b"\x7f\xff\0\3abc"))[0][2] == b"abc"
    arrived = to_clients(world.turn.arrive(relay, PEER, b"abc", world.now))
    assert arrived == [(client.five_tuple, b"\x7f\xff\0\3abc")]


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
