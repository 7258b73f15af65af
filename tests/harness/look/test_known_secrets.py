"""Credentials in METADATA that anybody can compute, told without asking a server."""

from __future__ import annotations

import socket
import struct
import threading

import pytest

from harness.calls.servers import TurnOffer
from harness.clients.turn.client import TurnCredentials
from harness.diagnosis.diagnosis import diagnose
from harness.hosts import LocalHost
from harness.look.known_secrets import KNOWN, known_secret
from harness.look.turn import look_at_turn
from harness.report.looks import Allocated

from ..diagnosis.looks import with_turn

EXPIRES = 1_800_000_000


@pytest.mark.parametrize("secret", KNOWN)
def test_a_secret_that_is_known_is_recognised(secret):
    assert known_secret(TurnCredentials.from_secret(secret, EXPIRES)) == KNOWN[secret]


def test_the_empty_secret_is_one_of_them_and_others_are_not():
    assert "" in KNOWN
    assert known_secret(TurnCredentials.from_secret("only we know this", EXPIRES)) == ""
    assert known_secret(TurnCredentials(str(EXPIRES), "")) == ""


def test_a_server_that_asks_nobody_for_credentials_is_open_to_everybody():
    """As coturn with `no-auth`."""
    found = diagnose(with_turn(first=Allocated("open", words="grants Allocate without any credentials")))
    assert [each.cause.name for each in found.causes] == ["turn.secret_well_known"]
    assert not found.unknown


def test_such_a_server_is_seen():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        answering = threading.Thread(target=_grant_everything, args=(server,))
        answering.start()
        port = server.getsockname()[1]
        look = look_at_turn(LocalHost(), TurnOffer("127.0.0.1", port, "1", "x"), ["127.0.0.1"], ["127.0.0.1"])
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.sendto(b"", ("127.0.0.1", port))
        answering.join()
    assert look.first is not None and look.first.answer == "open"


def _grant_everything(server: socket.socket) -> None:
    """Until a datagram is empty. Every answer says that the client, and what it asked for, is at 127.0.0.1:1234."""
    xored = struct.pack("!HHI", 1, 1234 ^ 0x2112, 0x7F000001 ^ 0x2112A442)
    while True:
        request, client = server.recvfrom(2048)
        if not request:
            return
        (kind,) = struct.unpack("!H", request[:2])
        attributes = b"".join(struct.pack("!HH", each, 8) + xored for each in (0x16, 0x20))
        attributes += struct.pack("!HHI", 0x0D, 4, 600)
        head = struct.pack("!HH", kind | 0x0100, len(attributes)) + request[4:20]
        server.sendto(head + attributes, client)
