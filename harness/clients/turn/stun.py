"""Asks a STUN server for our own address as it sees it (RFC 8489, Binding only)."""

from __future__ import annotations

import ipaddress
import secrets
import socket

from ...hosts import Host
from ...waiting import Deadline, WaitTimeout

__all__ = ["StunError", "binding_request", "mapped_address", "probe"]

MAGIC_COOKIE = 0x2112A442
BINDING_REQUEST = 0x0001
BINDING_SUCCESS = 0x0101
XOR_MAPPED_ADDRESS = 0x0020
ADDRESS_SIZE = {1: 4, 2: 16}
HEADER_SIZE = 20
RETRANSMIT_AFTER = 0.5
"""Seconds; UDP may lose a request (RFC 8489, 6.2.1)."""


class StunError(Exception):
    """Nobody listens, or the answer is no STUN answer to our request."""


def binding_request(transaction: bytes) -> bytes:
    """A Binding request without attributes; `transaction` has 12 bytes."""
    return BINDING_REQUEST.to_bytes(2, "big") + bytes(2) + MAGIC_COOKIE.to_bytes(4, "big") + transaction


def mapped_address(answer: bytes, transaction: bytes) -> tuple[str, int]:
    """Address and port from a Binding success answer (XOR-MAPPED-ADDRESS, RFC 8489, 14.2)."""
    key = MAGIC_COOKIE.to_bytes(4, "big") + transaction
    if len(answer) < HEADER_SIZE or answer[4:HEADER_SIZE] != key:
        raise StunError("not an answer to this request")
    if int.from_bytes(answer[:2], "big") != BINDING_SUCCESS:
        raise StunError(f"the server answered with message type {answer[:2].hex()} instead of success")
    position = HEADER_SIZE
    while position + 4 <= len(answer):
        kind = int.from_bytes(answer[position : position + 2], "big")
        size = int.from_bytes(answer[position + 2 : position + 4], "big")
        value = answer[position + 4 : position + 4 + size]
        if kind == XOR_MAPPED_ADDRESS and len(value) >= 4 and ADDRESS_SIZE.get(value[1]) == len(value) - 4:
            port = int.from_bytes(value[2:4], "big") ^ (MAGIC_COOKIE >> 16)
            packed = bytes(a ^ b for a, b in zip(value[4:], key, strict=False))
            return str(ipaddress.ip_address(packed)), port
        position += 4 + size + -size % 4
    raise StunError("the answer has no XOR-MAPPED-ADDRESS")


def probe(host: Host, server: str, port: int = 3478, *, within: float = 5.0) -> tuple[str, int]:
    """Our address and port as the server sees them; no answer at all is a `WaitTimeout`."""
    deadline = Deadline(within)
    transaction = secrets.token_bytes(12)
    with host.connect(server, port, within=within, kind=socket.SOCK_DGRAM) as connection:
        while not deadline.over:
            connection.settimeout(max(min(RETRANSMIT_AFTER, deadline.remaining()), 0.001))
            try:
                connection.send(binding_request(transaction))
                return mapped_address(connection.recv(2048), transaction)
            except TimeoutError:
                continue  # a request or an answer was lost
            except ConnectionRefusedError:
                raise StunError(f"nothing listens on {server}:{port}/udp") from None
    raise WaitTimeout(f"a STUN answer from {server}:{port}/udp", within)
