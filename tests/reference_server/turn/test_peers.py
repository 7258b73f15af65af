"""Whom a relay may talk to."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_server.turn.peers import DENIED, DenyList
from reference_server.turn.stun import Address

LISTENERS = [Address("192.0.2.1", 3478), Address("2001:db8::1", 3478)]
POLICY = DenyList(listeners=LISTENERS, own_hosts=["203.0.113.10"])

INNER = (
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254"),
    *("172.16.0.1", "172.31.255.255", "192.0.0.8", "192.168.0.1", "198.18.0.1", "198.19.255.255"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
)


@pytest.mark.parametrize("host", INNER)
def test_inner_addresses_are_denied_in_whatever_clothes(host):
    number = int(IPv4Address(host))
    clothes = [
        0xFFFF << 32 | number,
        number,
        0x2002 << 112 | number << 80,
        0x64FF9B << 96 | number,
        0x64FF9B0001 << 80 | number,
        0x20010000 << 96 | (0xFFFFFFFF ^ number),
        0xFFFF << 48 | number,  # RFC 2765: ::ffff:0:a.b.c.d
        0x20010DB8 << 96 | 0x00005EFE << 32 | number,  # ISATAP (RFC 5214)
        0x20010DB8 << 96 | 0x02005EFE << 32 | number,
        0x64FF9B0001 << 80 | number << 48 | 0x08080808,  # NAT64 of the site (RFC 8215), as /48
        0x64FF9B0001 << 80 | number >> 24 << 72 | (number & 0xFFFFFF) << 40 | 0x08080808,  # as /56
    ]
    for disguise in (host, *(str(IPv6Address(value)) for value in clothes)):
        assert not POLICY.allows(Address(disguise, 5000)), disguise


@pytest.mark.parametrize(
    "host",
    [
        *("::", "::1", "fc00::1", "fdff::1", "fe80::1", "febf::1", "fec0::1", "ff02::1", "ffff::1", "100::1"),
        "2001:2::1",
    ],
)
def test_inner_ipv6(host):
    assert not POLICY.allows(Address(host, 5000))


PUBLIC = (
    *("1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.0.0.1", "172.15.0.1"),
    *(
        "172.32.0.1",
        "198.17.0.1",
        "223.255.255.255",
        "2001:db8::7",
        "::ffff:1.1.1.1",
        "fbff::1",
        "2002:101:101::1",
        "::ffff:0:1.1.1.1",
        "64:ff9b::1.1.1.1",
        "2001:db8::5efe:1.1.1.1",
    ),
)


@pytest.mark.parametrize("host", PUBLIC)
def test_public_addresses_are_allowed(host):
    assert POLICY.allows(Address(host, 5000))


@pytest.mark.parametrize("host", ["192.0.2.1", "2001:db8::1", "203.0.113.10", "::ffff:192.0.2.1"])
@pytest.mark.parametrize("port", [0, 22, 3478])
def test_the_server_itself_is_denied(host, port):
    assert not POLICY.allows(Address(host, port))


def test_labs_reach_inner_networks_but_never_a_listener():
    lab = DenyList(
        listeners=[Address("127.0.0.1", 3478)], allowed=[ip_network("127.0.0.0/8"), ip_network("::1/128")]
    )
    assert lab.allows(Address("127.0.0.1", 5000))
    assert lab.allows(Address("::1", 5000))
    assert not lab.allows(Address("127.0.0.1", 3478))
    assert not lab.allows(Address("::ffff:127.0.0.1", 3478))
    assert not lab.allows(Address("10.0.0.1", 5000))


def test_a_listener_on_every_address_may_be_anywhere():
    policy = DenyList(listeners=[Address("0.0.0.0", 3478)])
    assert not policy.allows(Address("1.1.1.1", 3478))
    assert policy.allows(Address("1.1.1.1", 3479))


@given(st.ip_addresses(v=4))
def test_mapped_addresses_are_judged_as_what_they_map_to(host):
    plain = POLICY.allows(Address(str(host), 1))
    assert POLICY.allows(Address(f"::ffff:{host}", 1)) == plain
    assert plain == (
        not any(host in network for network in DENIED) and str(host) not in ("192.0.2.1", "203.0.113.10")
    )
