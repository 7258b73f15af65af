"""Two clients of one server, strangers, and what the ledger says of them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reference_server.turn.settings import Limits, Transport
from reference_server.turn.stun import Address, AddressFamily, Class, Method, build
from tests.reference_server.turn.support import (
    PEER,
    SERVER,
    SETTINGS,
    World,
    indicated,
    lifetime,
    to_clients,
)


def pair(world):
    first, second = world.client(1), world.client(2)
    return first, first.allocate().relayed, second, second.allocate().relayed


@pytest.mark.parametrize(
    "settings", [SETTINGS, replace(SETTINGS, relay_ips={AddressFamily.IPV4: "127.0.0.1"})]
)
def test_relay_to_relay_stays_inside(settings):
    world = World(settings)
    first, first_relay, second, second_relay = pair(world)
    assert first.permit(second_relay).ok
    assert first.send(second_relay, b"early") == []
    assert second.bind(first_relay).ok
    assert to_clients(first.send(second_relay, b"x")) == [(second.five_tuple, b"\x40\0\0\1x")]
    [(five_tuple, data)] = to_clients(second.send_channel(b"y"))
    assert (five_tuple, indicated(data)) == (first.five_tuple, (second_relay, b"y"))
    records = world.allocations()
    assert records[0]["peers"][0]["to_peer"]["other"] == {"packets": 2, "bytes": 6}
    assert records[1]["peers"][0]["to_client"]["other"] == {"packets": 1, "bytes": 1}
    assert records[1]["drops"] == {"no_permission": {"packets": 1, "bytes": 5}}


def test_own_address_is_no_peer_but_for_relays():
    world = World(replace(SETTINGS, relay_ips={AddressFamily.IPV4: "127.0.0.1"}))
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
    world = World(replace(SETTINGS, relay_ips={AddressFamily.IPV4: "127.0.0.1"}))
    first, first_relay, _, second_relay = pair(world)
    first.permit(second_relay)
    assert world.turn.arrive(first_relay, Address("127.0.0.1", 53), b"x", world.now) == []


def test_a_client_may_be_its_own_peer(world, client):
    relay = client.allocate().relayed
    client.bind(relay)
    assert to_clients(client.send_channel(b"me")) == [(client.five_tuple, b"\x40\0\0\2me")]


# Strangers and seams


def test_strangers_are_answered_up_to_a_bound_over_udp():
    world = World(replace(SETTINGS, limits=Limits(unauthenticated_burst=10, unauthenticated_per_second=1)))
    client = world.client()
    binding = build(Method.BINDING, Class.REQUEST, client.transaction())
    assert sum(client.exchange(binding) is not None for _ in range(1000)) == 10
    assert world.client(host="203.0.113.9").exchange(binding) is not None
    world.pass_time(2)
    assert sum(client.exchange(binding) is not None for _ in range(1000)) == 2
    stream = world.client()
    stream.five_tuple = stream.five_tuple._replace(transport=Transport.TCP)
    assert sum(stream.exchange(binding) is not None for _ in range(100)) == 100


def test_who_is_authenticated_is_no_stranger():
    world = World(replace(SETTINGS, limits=Limits(unauthenticated_burst=2, unauthenticated_per_second=0.001)))
    client = world.client()
    client.allocate()
    assert all(client.refresh().ok for _ in range(100))


def test_disconnect_ends_the_allocation(world, client):
    client.five_tuple = client.five_tuple._replace(transport=Transport.TCP)
    client.allocate()
    world.turn.disconnected(client.five_tuple, world.now)
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
