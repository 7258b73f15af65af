import ipaddress
import json
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference_server.iroh_relay.stun import answer

VECTORS = json.loads((Path(__file__).parents[2] / "fixtures" / "iroh-relay.json").read_text())["vectors"]
RESPONSES = [vector for vector in VECTORS if vector["gen"] == "stun"]
COOKIE = bytes.fromhex("2112a442")


def request(transaction, attributes=b"", cookie=COOKIE, kind=1):
    return struct.pack(">HH", kind, len(attributes)) + cookie + transaction + attributes


def with_fingerprint(transaction, attributes=b""):
    head = struct.pack(">HH", 1, len(attributes) + 8) + COOKIE + transaction + attributes
    return head + struct.pack(">HHI", 0x8028, 4, zlib.crc32(head) ^ 0x5354554E)


def parse(response):
    """Transaction id, address and port of a binding success with (XOR-)MAPPED-ADDRESS; later attributes win."""
    kind, length = struct.unpack_from(">HH", response)
    assert (kind, response[4:8]) == (0x0101, COOKIE)
    transaction, found, offset = response[8:20], None, 20
    while offset + 4 <= 20 + length:
        kind, size = struct.unpack_from(">HH", response, offset)
        value = response[offset + 4 : offset + 4 + size]
        if kind in (0x0001, 0x0020):
            mask = COOKIE + transaction if kind == 0x0020 else bytes(16)
            plain = bytes(a ^ b for a, b in zip(value[4:], mask, strict=False))
            found = (
                str(ipaddress.ip_address(plain)),
                int.from_bytes(value[2:4], "big") ^ int.from_bytes(mask[:2], "big"),
            )
        offset += 4 + (size + 3) // 4 * 4
    assert found
    return transaction, *found


@pytest.mark.parametrize("vector", RESPONSES, ids=lambda vector: vector["name"])
def test_our_answer_says_what_the_vector_says(vector):
    transaction, host, port = parse(bytes.fromhex(vector["hex"]))
    assert (transaction.hex(), port) == (vector["want_tid"], vector["want_port"])
    reply = answer(request(transaction), host, port)
    assert reply is not None
    assert parse(reply) == (transaction, host, port)


def test_answer_has_the_mapped_address_and_nothing_else():
    reply = answer(with_fingerprint(bytes(12), struct.pack(">HH", 0x8022, 4) + b"iroh"), "127.0.0.1", 5)
    assert reply is not None
    assert len(reply) == 32
    assert parse(reply) == (bytes(12), "127.0.0.1", 5)


def test_ipv4_on_an_ipv6_socket_is_reported_as_ipv4():
    reply = answer(request(bytes(12)), "::ffff:127.0.0.1", 5)
    assert reply is not None
    assert parse(reply) == (bytes(12), "127.0.0.1", 5)


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        request(bytes(12))[:-1],
        request(bytes(12), cookie=bytes(4)),
        request(bytes(12), kind=0x0101),
        request(bytes(12), kind=3),
        request(bytes(12), struct.pack(">HH", 0x8022, 4) + b"iroh"),
        with_fingerprint(bytes(12))[:-1] + b"\0",
        request(bytes(12)) + b"x",
    ],
)
def test_bad_request_gets_no_answer(bad):
    assert answer(bad, "127.0.0.1", 5) is None


@given(st.binary(max_size=80))
def test_hostile_bytes_never_raise(tail):
    answer(tail, "127.0.0.1", 5)
    answer(request(bytes(12), tail), "127.0.0.1", 5)
