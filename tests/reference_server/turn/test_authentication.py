"""Who is asked for credentials, in which order they are judged, and what is said (RFC 8489, section 9.2)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reference_server.turn.stun import Attribute, Class, Method, attribute, build
from tests.reference_server.turn.support import (
    PEER,
    SETTINGS,
    UDP_TRANSPORT,
    World,
    lifetime,
    to_peers,
)


def test_binding_is_answered_to_everybody(client):
    reply = client.exchange(build(Method.BINDING, Class.REQUEST, client.transaction()))
    assert reply.ok
    assert reply.address(Attribute.XOR_MAPPED_ADDRESS) == client.five_tuple.client


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
        {"username": "1789999999:alice"},
        {"username": "alice:1790003600"},
        {"username": ":1790003600"},
        {"username": "1790003600 :alice"},
        {"username": f"1790003600:{'a' * 500}"},
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


@pytest.mark.parametrize("name", ["alice", "", "alice:bob", "\u0661", "a" * 497])
def test_a_name_may_stand_behind_the_expiry_unless_names_are_strict(world, name):
    """TURN REST, as coturn's tools and chatmail's prober have it."""
    username = f"1790003600:{name}"
    assert world.client(username=username).allocate().ok
    strict = World(replace(SETTINGS, strict_usernames=True))
    assert strict.client(username=username).allocate().error == 401
    assert strict.client().allocate().ok


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
    for _ in range(10):
        world.pass_time(290)
        assert client.refresh().ok
        assert client.permit(PEER).ok
        assert to_peers(client.send(PEER, b"on and on"))
    client2 = world.client(40001, username=client.username)
    assert client2.allocate().error == 401
    assert client.refresh(lifetime(0)).ok
    assert client.allocate().error == 401


def test_where_allocations_do_not_outlive_credentials_a_refresh_is_401():
    world = World(replace(SETTINGS, outlive_credentials=False))
    client = world.client(username=str(int(world.wall) + 60))
    assert client.allocate().ok
    world.pass_time(61)
    assert client.refresh().error == 401


def test_the_key_of_a_running_allocation_is_good_for_nobody_else(world):
    client = world.client(username=str(int(world.wall) + 60))
    assert client.allocate().ok
    world.pass_time(61)
    client.secret = "south"
    assert client.refresh().error == 401


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
