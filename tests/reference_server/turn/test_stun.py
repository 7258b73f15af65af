"""The codec against the vectors of RFC 5769 and against aioice, and what it refuses."""

from __future__ import annotations

import json
import struct
import zlib
from ipaddress import ip_address
from pathlib import Path

import aioice.stun
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_server.turn.credentials import long_term_key
from reference_server.turn.stun import (
    KNOWN,
    Address,
    Attribute,
    Class,
    Method,
    attribute,
    build,
    parse,
    xor_address,
    xor_decode,
)
from reference_server.turn_secret import make_password
from tests.reference_server.turn.support import read

VECTORS = json.loads((Path(__file__).parents[2] / "fixtures" / "rfc5769.json").read_text())
REQUEST, IPV4, IPV6, LONG_TERM = (bytes.fromhex(text) for text in VECTORS.values())
SHORT_TERM_PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
TRANSACTION = bytes(range(12))


def test_rfc5769_request():
    message = read(REQUEST)
    assert message.kind is Class.REQUEST
    assert message.method == Method.BINDING
    assert message.get(Attribute.USERNAME) == b"evtj:h6vY"
    assert message.is_signed_with(SHORT_TERM_PASSWORD)
    assert not message.is_signed_with(SHORT_TERM_PASSWORD + b"x")
    assert message.unknown() == [0x0024]  # PRIORITY is for ICE agents


@pytest.mark.parametrize(
    ("data", "address"),
    [
        (IPV4, Address("192.0.2.1", 32853)),
        (IPV6, Address("2001:db8:1234:5678:11:2233:4455:6677", 32853)),
    ],
)
def test_rfc5769_responses(data, address):
    message = read(data)
    assert message.kind is Class.SUCCESS
    assert xor_decode(message.get(Attribute.XOR_MAPPED_ADDRESS), message.transaction) == address
    assert message.is_signed_with(SHORT_TERM_PASSWORD)


def test_rfc5769_long_term():
    message = read(LONG_TERM)
    key = long_term_key("マトリックス".encode(), b"example.org", b"TheMatrIX")
    assert message.get(Attribute.NONCE) == b"f//499k954d6OL34oL9FSTvy64sA"
    assert message.is_signed_with(key)
    assert not message.is_signed_with(long_term_key(b"x", b"example.org", b"TheMatrIX"))


def test_key_and_password():
    assert long_term_key(b"user", b"realm", b"pass").hex() == "8493fbc53ba582fb4c044c456bdc40eb"
    assert make_password("test-secret", "1758650868") == "nkfvRIGUcx0N/jq/StNLPajpLZE="


def test_every_changed_byte_of_a_signed_message_is_noticed():
    key = b"key"
    data = build(Method.REFRESH, Class.REQUEST, TRANSACTION, [attribute(Attribute.USERNAME, b"alice")], key)
    assert read(data).is_signed_with(key)
    for place in range(len(data)):
        for bit in (1, 0x80):
            changed = bytearray(data)
            changed[place] ^= bit
            message = parse(bytes(changed))
            assert message is None or not message.is_signed_with(key)


def test_padding_is_zero():
    for size in range(9):
        value = attribute(Attribute.DATA, b"\xff" * size)
        assert len(value) % 4 == 0
        assert value[4 + size :] == bytes(len(value) - 4 - size)


def test_what_follows_message_integrity_does_not_count():
    data = build(
        Method.REFRESH, Class.REQUEST, TRANSACTION, [attribute(Attribute.USERNAME, b"alice")], b"key"
    )
    late = attribute(Attribute.LIFETIME, bytes(4)) + attribute(Attribute.USERNAME, b"mallory")
    longer = data[:2] + struct.pack(">H", len(data) - 20 + len(late)) + data[4:] + late
    message = read(longer)
    assert message.is_signed_with(b"key")
    assert message.get(Attribute.LIFETIME) is None
    assert message.every(Attribute.USERNAME) == [b"alice"]


def test_the_first_of_duplicates_counts():
    twice = attribute(Attribute.USERNAME, b"first") + attribute(Attribute.USERNAME, b"second")
    message = read(build(Method.BINDING, Class.REQUEST, TRANSACTION, [twice]))
    assert message.get(Attribute.USERNAME) == b"first"


def fingerprinted(data):
    data = data[:2] + struct.pack(">H", len(data) - 20 + 8) + data[4:]
    return data + attribute(Attribute.FINGERPRINT, struct.pack(">I", zlib.crc32(data) ^ 0x5354554E))


def test_fingerprint_is_last_and_right():
    good = fingerprinted(build(Method.BINDING, Class.REQUEST, TRANSACTION))
    assert parse(good) is not None
    assert parse(good[:-1] + bytes([good[-1] ^ 1])) is None
    behind = good[:2] + struct.pack(">H", 12) + good[4:] + attribute(Attribute.DATA, b"")
    assert parse(behind) is None


PLAIN = build(Method.BINDING, Class.REQUEST, TRANSACTION, [attribute(Attribute.USERNAME, b"abcd")])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        PLAIN[:19],
        PLAIN[:-1],
        PLAIN + b"\0",
        PLAIN + bytes(4),
        b"\x40" + PLAIN[1:],
        b"\x80" + PLAIN[1:],
        PLAIN[:4] + b"\0" + PLAIN[5:],
        PLAIN[:3] + b"\x0a" + PLAIN[4:-1],
        PLAIN[:2] + b"\xff\xfc" + PLAIN[4:],
        PLAIN[:22] + b"\0\xff" + PLAIN[24:],
        PLAIN[:22] + b"\0\x05" + PLAIN[24:],
        build(Method.BINDING, Class.REQUEST, TRANSACTION, [attribute(Attribute.MESSAGE_INTEGRITY, b"short")]),
    ],
)
def test_malformed_is_nothing(data):
    assert parse(data) is None


@given(st.binary(max_size=200))
def test_any_bytes_parse_or_do_not(data):
    parse(data)
    parse(PLAIN[:2] + len(data).to_bytes(2, "big") + PLAIN[4:20] + data)


@given(
    st.sampled_from(Method),
    st.sampled_from(Class),
    st.lists(
        st.tuples(
            st.integers(0, 0xFFFF).filter(lambda kind: kind not in (8, 0x8028)), st.binary(max_size=40)
        ),
        max_size=8,
    ),
)
def test_whatever_is_built_parses_to_the_same(method, kind, attributes):
    message = read(build(method, kind, TRANSACTION, [attribute(k, v) for k, v in attributes], b"key"))
    assert (message.method, message.kind, message.transaction) == (method, kind, TRANSACTION)
    assert list(message.attributes) == attributes
    assert message.is_signed_with(b"key")
    assert set(message.unknown()) == {k for k, _ in attributes if k < 0x8000} - KNOWN


@given(st.ip_addresses(), st.integers(0, 65535), st.binary(min_size=12, max_size=12))
def test_addresses_come_back(host, port, transaction):
    value = xor_address(Attribute.XOR_PEER_ADDRESS, Address(str(host), port), transaction)[4:]
    back = xor_decode(value, transaction)
    assert back is not None
    assert (ip_address(back.host), back.port) == (host, port)


@pytest.mark.parametrize(
    "value", [b"", bytes(7), bytes(8), b"\0\3" + bytes(6), b"\0\1" + bytes(18), bytes(21)]
)
def test_malformed_addresses(value):
    assert xor_decode(value, TRANSACTION) is None


def test_aioice_reads_what_we_write():
    key = b"k" * 16
    address = Address("192.0.2.9", 1234)
    data = build(
        Method.ALLOCATE,
        Class.SUCCESS,
        TRANSACTION,
        [
            xor_address(Attribute.XOR_RELAYED_ADDRESS, address, TRANSACTION),
            attribute(Attribute.LIFETIME, (600).to_bytes(4, "big")),
        ],
        key,
    )
    theirs = aioice.stun.parse_message(data)
    assert theirs.check_message_integrity(key)
    assert theirs.message_method == aioice.stun.Method.ALLOCATE
    assert theirs.message_class == aioice.stun.Class.RESPONSE
    assert theirs.attributes["XOR-RELAYED-ADDRESS"] == tuple(address)
    assert theirs.attributes["LIFETIME"] == 600


def test_we_read_what_aioice_writes():
    theirs = aioice.stun.Message(
        message_method=aioice.stun.Method.CHANNEL_BIND, message_class=aioice.stun.Class.REQUEST
    )
    theirs.attributes["CHANNEL-NUMBER"] = 0x4001
    theirs.attributes["XOR-PEER-ADDRESS"] = ("192.0.2.9", 1234)
    theirs.add_message_integrity(b"key")
    message = read(bytes(theirs))
    assert message.method == Method.CHANNEL_BIND
    assert message.is_signed_with(b"key")
    assert xor_decode(message.get(Attribute.XOR_PEER_ADDRESS), message.transaction) == ("192.0.2.9", 1234)
