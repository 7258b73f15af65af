"""Labs for these tests; where this machine cannot make one, the tests are skipped with what is missing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from harness.network.lab import Lab, LabHost

__all__ = ["lab", "pair", "send_over_tcp", "udp"]


@pytest.fixture
def lab() -> Iterator[Lab]:
    with Lab() as made:
        yield made


@pytest.fixture
def pair(lab: Lab) -> tuple[LabHost, LabHost]:
    """Two hosts with public addresses, IPv4 and IPv6."""
    return lab.server("alice"), lab.server("bob")


def udp(host: LabHost, address: str | None = None) -> socket.socket:
    """Bound to a free port of one of the host's addresses, its first by default."""
    address = address or host.address
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    made = host.socket(family, socket.SOCK_DGRAM)
    made.settimeout(10)
    made.bind((address, 0))
    return made


def send_over_tcp(
    sender: LabHost, receiver: LabHost, data: bytes, answer: bytes, *, port: int = 3340
) -> None:
    """One connection: the sender sends, the receiver answers when it has everything, both close."""
    with receiver.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((receiver.address, port))
        listener.listen()
        listener.settimeout(20)

        def serve() -> None:
            connection, _address = listener.accept()
            with connection, connection.makefile("rb") as stream:
                stream.read(len(data))
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with sender.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
            client.settimeout(20)
            client.connect((receiver.address, port))
            client.sendall(data)
            with client.makefile("rb") as stream:
                assert stream.read() == answer
        thread.join()
