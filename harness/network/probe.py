"""Finds out what a NAT does, in the manner of RFC 5780: one server with two addresses and two ports, fresh sockets.

Both ends are in this process, so that the server's word about an address is at hand at once. That something does not
arrive is never decided by the clock: it was sent before something else that did arrive, several times over.
"""

from __future__ import annotations

import contextlib
import functools
import secrets
import select
import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from ..hosts import Host, Socket
from ..waiting import Deadline, WaitTimeout
from .lab import Lab, LabHost
from .nat import BLOCKED, Behaviour, Dependence
from .profiles import Profile

__all__ = ["NotAsItSays", "Reflector", "arrived", "classify", "self_test", "udp_socket", "verify"]

Address = tuple[str, int]

PORTS = (3478, 3479)
DNS_PORT = 53
"""Firewalls let it pass: what arrives there proves that the rest was swallowed."""
ROUNDS = 3
RESEND_EVERY = 0.1
WITHIN = 10.0
"""Seconds; on a quiet machine an answer takes less than one millisecond."""
TOKEN_SIZE = 12

IPV4, IPV6 = socket.AF_INET, socket.AF_INET6


class NotAsItSays(Exception):
    """A network does not behave as its profile says: whatever was proven in it would be worth nothing."""


class Reflector:
    """Sockets of a server in a lab, at two addresses and two ports each, of one family."""

    def __init__(self, server: LabHost, family: socket.AddressFamily) -> None:
        self.family = family
        addresses = [each for each in server.addresses if (":" in each) == (family == IPV6)]
        self.first, self.other = addresses[:2]
        self._sockets: dict[Address, Socket] = {}
        for address in (self.first, self.other):
            for port in (*PORTS, DNS_PORT):
                self._sockets[address, port] = udp_socket(server, family, address, port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        for each in self._sockets.values():
            each.close()

    def sees(self, client: Socket, at: Address) -> Address:
        """The address that packets of this socket to `at` come from. Raises `WaitTimeout`."""
        return self.arrivals(client, [at])[at]

    def arrivals(self, client: Socket, at: Sequence[Address]) -> dict[Address, Address]:
        """Send to all of these until the last is reached, `ROUNDS` times: who was reached -> seen from where.

        They are ports of one address: the way to another one may still be looked for when this one is reached.
        Raises `WaitTimeout` when the last is not reached.
        """
        reached: dict[Address, Address] = {}
        for _ in range(ROUNDS):
            token = secrets.token_bytes(TOKEN_SIZE)
            last = _exchange([(client, token, each) for each in at], self._sockets[at[-1]], token)
            reached[at[-1]] = last[token]
            for each in at[:-1]:
                here = arrived(self._sockets[each])
                if token in here:
                    reached[each] = here[token]
        return reached

    def answers(self, client: Socket, mapped: Address, *, contacted: Address) -> dict[bytes, Address]:
        """All that the client gets until something from `contacted` arrives. Raises `WaitTimeout`."""
        token = secrets.token_bytes(TOKEN_SIZE)
        return _exchange([(self._sockets[contacted], token, mapped)], client, token)

    def passes(self, client: Socket, mapped: Address, *, contacted: Address, sender: Address) -> bool:
        """True if what `sender` sends to the client's mapped address arrives, when that of `contacted` does."""
        for _ in range(ROUNDS):
            unasked, control = secrets.token_bytes(TOKEN_SIZE), secrets.token_bytes(TOKEN_SIZE)
            packets = [
                (self._sockets[sender], unasked, mapped),
                (self._sockets[contacted], control, mapped),
            ]
            if unasked in _exchange(packets, client, control):
                return True
        return False


def classify(reflector: Reflector, host: LabHost) -> Behaviour:
    """Classify the UDP of this host on its way to the reflector. Raises `WaitTimeout` where not even DNS passes."""
    with udp_socket(host, reflector.family) as client:
        first, dns = (reflector.first, PORTS[0]), (reflector.first, DNS_PORT)
        if first not in reflector.arrivals(client, [first, dns]):
            return BLOCKED
        seen = [
            reflector.sees(client, (at, port)) for at in (reflector.first, reflector.other) for port in PORTS
        ]
        translated = seen[0] not in [(address, client.getsockname()[1]) for address in host.addresses]
        # While this socket is open no other gets its port, whose mapping lets in all that was contacted here.
        hairpin = translated and _hairpin(reflector, host)
        return Behaviour(_mapping(seen), _filtering(reflector, host), translated, hairpin)


def verify(lab: Lab, host: LabHost) -> None:
    """Raises `NotAsItSays` if the network of this host does not behave as its profile says."""
    server = lab.server("reflector", addresses=2)
    for family, name, promised in (
        (IPV4, "IPv4", host.profile.ipv4),
        (IPV6, "IPv6", host.profile.ipv6),
    ):
        if promised is None:
            continue
        with Reflector(server, family) as reflector:
            measured = classify(reflector, host)
        if measured != promised:
            raise NotAsItSays(
                f"the network '{host.profile.name}' says of UDP over {name}: {promised}; measured was: {measured}"
            )


@functools.cache
def self_test(profile: Profile) -> None:
    """Build this profile in a lab of its own and verify it; once per process. Raises `NotAsItSays`."""
    with Lab() as lab:
        verify(lab, lab.device("probe", profile))


def _mapping(seen: list[Address]) -> Dependence:
    """`seen` at: first address and port, first and other port, other address and port, both others (RFC 5780, 4.3)."""
    if len(set(seen)) == 1:
        return Dependence.ENDPOINT_INDEPENDENT
    if seen[0] == seen[1] and seen[2] == seen[3]:
        return Dependence.ADDRESS_DEPENDENT
    return Dependence.ADDRESS_AND_PORT_DEPENDENT


def _filtering(reflector: Reflector, host: Host) -> Dependence:
    """RFC 5780, 4.4."""
    with udp_socket(host, reflector.family) as client:
        contacted = (reflector.first, PORTS[0])
        mapped = reflector.sees(client, contacted)
        if reflector.passes(client, mapped, contacted=contacted, sender=(reflector.other, PORTS[1])):
            return Dependence.ENDPOINT_INDEPENDENT
        if reflector.passes(client, mapped, contacted=contacted, sender=(reflector.first, PORTS[1])):
            return Dependence.ADDRESS_DEPENDENT
        return Dependence.ADDRESS_AND_PORT_DEPENDENT


def _hairpin(reflector: Reflector, host: Host) -> bool:
    """RFC 5780, 4.5: whether one socket is reached by another at its mapped address."""
    at = (reflector.first, PORTS[0])
    with udp_socket(host, reflector.family) as one, udp_socket(host, reflector.family) as other:
        mapped = reflector.sees(one, at)
        for _ in range(ROUNDS):
            token = secrets.token_bytes(TOKEN_SIZE)
            other.sendto(token, mapped)
            reflector.sees(other, at)  # the router is done with what was sent before
            if token in reflector.answers(one, mapped, contacted=at):
                return True
    return False


def udp_socket(host: Host, family: socket.AddressFamily, address: str = "", port: int = 0) -> Socket:
    """One that never blocks. It is bound to all addresses and a free port, unless told otherwise."""
    bound = host.socket(family, socket.SOCK_DGRAM)
    try:
        bound.setblocking(False)
        bound.bind((address, port))
    except OSError:
        bound.close()
        raise
    return bound


def _exchange(
    packets: Sequence[tuple[Socket, bytes, Address]], receiver: Socket, token: bytes
) -> dict[bytes, Address]:
    """Send these, again while nothing comes, until `receiver` gets `token`: all that it got, and from where."""
    deadline = Deadline(WITHIN)
    poll = select.poll()
    poll.register(receiver, select.POLLIN)
    got: dict[bytes, Address] = {}
    while not deadline.over:
        for sender, data, to in packets:
            sender.sendto(data, to)
        poll.poll(RESEND_EVERY * 1000)
        got.update(arrived(receiver))
        if token in got:
            return got
    raise WaitTimeout(f"a probe's packet at {receiver.getsockname()[:2]}", WITHIN)


def arrived(receiver: Socket) -> dict[bytes, Address]:
    """Datagrams that have come, and their senders."""
    got: dict[bytes, Address] = {}
    with contextlib.suppress(BlockingIOError):
        while True:
            data, source = receiver.recvfrom(2048)
            got[data] = source[0], source[1]
    return got
