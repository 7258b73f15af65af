"""A server that is another one over IPv6 than over IPv4: each address is looked at by itself, and named."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from harness.diagnosis.diagnosis import Diagnosis, diagnose
from harness.hosts import LocalHost
from harness.look.look import look_at
from harness.target import Target

from ..scripted import Tls
from .hostile import (
    CAPABLE,
    RELAY,
    Answer,
    _accept,
    imap,
    metadata,
    over_tls,
    saying,
    serving,
    with_imap,
)

V4, V6 = "127.0.0.1", "::1"


class Both(LocalHost):
    """Finds the server over both families, IPv6 first or last."""

    def __init__(self, *addresses: str) -> None:
        super().__init__()
        self._addresses = addresses

    def resolve(self, name: str) -> tuple[str, ...]:
        return self._addresses if name == "localhost" else super().resolve(name)


@contextlib.contextmanager
def over_ipv6(target: Target, handlers: Mapping[str, Answer]) -> Iterator[None]:
    """Another server at the same ports."""
    with contextlib.ExitStack() as stack:
        for service, handler in handlers.items():
            address = (V6, getattr(target, service))
            listener = stack.enter_context(socket.create_server(address, family=socket.AF_INET6))
            threading.Thread(target=_accept, args=(listener, handler), daemon=True).start()
        yield


def seen(tls: Tls, ipv4: Mapping[str, Answer], ipv6: Mapping[str, Answer], *addresses: str) -> Diagnosis:
    with serving(tls, ipv4) as target, over_ipv6(target, ipv6):
        named = replace(target, host="localhost", domain="localhost")
        return diagnose(look_at(named, Both(*addresses), parts=("relay",)))


@pytest.mark.parametrize("addresses", [(V4, V6), (V6, V4)], ids=["IPv4 first", "IPv6 first"])
def test_imap_that_serves_one_family_alone(tls, addresses):
    right = with_imap(tls, imap(CAPABLE))
    wrong = {**right, "imaps": over_tls(tls, saying(b"* BYE not over IPv6\r\n"))}
    found = seen(tls, right, wrong, *addresses)
    [named] = [each for each in found.causes if each.cause.name == "mail.refuses_sessions"]
    assert [each for each in named.evidence if V6 in each and "* BYE not over IPv6" in each]
    assert not [each for each in named.evidence if V4 in each]
    assert found.look.mail is not None and found.look.mail.address == V4


def test_ports_that_are_closed_over_one_family(tls):
    right = with_imap(tls, imap(CAPABLE))
    found = seen(tls, right, {"imaps": right["imaps"]}, V4, V6)
    [named] = [
        each for each in found.causes if each.cause.name == "mail.port_closed" and each.weight == "sick"
    ]
    assert f"{V6} refuses" in " ".join(named.evidence)


def test_metadata_that_differs_is_that_of_the_address_that_is_named(tls):
    ours, theirs = (with_imap(tls, imap(metadata(RELAY, b"http://127.0.0.%d:9/" % each))) for each in (1, 7))
    found = seen(tls, ours, theirs, V6, V4)
    assert found.look.mail is not None
    assert (found.look.mail.address, found.look.mail.relay) == (V6, "http://127.0.0.7:9/")
