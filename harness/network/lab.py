"""A lab: an internet of our own, servers in it, and devices behind routers; each in a network namespace.

    with Lab() as lab:
        server = lab.server("chatmail")
        alice = lab.device("alice", profiles.HOME)

What `server` and `device` return are hosts like any other: programs and sockets are made on them.
"""

from __future__ import annotations

import itertools
import socket
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ..hosts import Host, Socket
from . import resolver
from .links import Link, connect, prepare
from .names import Names
from .nameserver import NameServer
from .namespace import Namespace

__all__ = ["Lab", "LabHost"]

PUBLIC4 = "5.9.{}.{}"
"""Ordinary public addresses: stacks treat the ranges for documentation as special, and nothing leaves the lab."""
PUBLIC6 = "2a01:4f8:{:x}::{:x}"
NAME_SERVERS = (PUBLIC4.format(0, 1), PUBLIC6.format(1, 1))
"""The first machine is the name server, so that every other can be told."""


@dataclass(frozen=True, eq=False)
class LabHost(Host):
    """A machine in the lab."""

    name: str
    address: str
    """Its IPv4 address, or the IPv6 address of a host that has no other."""
    namespace: Namespace
    link: Link
    """Its way out; whoever counts what it sends does so at the outer end."""
    addresses: tuple[str, ...] = ()
    """All of them."""

    def resolve(self, name: str) -> tuple[str, ...]:
        return resolver.resolve(self.namespace, name)

    def popen(self, args: Sequence[str | Path], **kwargs: Any) -> subprocess.Popen[bytes]:
        return self.namespace.popen(args, **kwargs)

    def socket(self, family: socket.AddressFamily, kind: socket.SocketKind) -> Socket:
        return self.namespace.socket(family, kind)


class Lab:
    """The internet, and who is in it. Closing it ends every program that was started in it."""

    def __init__(self) -> None:
        """Raises `OSError` where this user may not make namespaces; `preflight` finds out before."""
        self._numbers = itertools.count(1)
        self.names = Names()
        """The names that programs in the lab find. Whatever else they ask for does not exist, and is recorded."""
        self._open = ExitStack()
        try:
            self.internet = self._namespace("internet", forwards=True)
            self._open.enter_context(NameServer(self.server("names"), NAME_SERVERS, self.names))
        except BaseException:
            self.close()
            raise

    def server(self, name: str, *, addresses: int = 1) -> LabHost:
        """A machine with public IPv4 addresses, and as many of IPv6."""
        numbers = [next(self._numbers) for _ in range(addresses)]
        namespace = self._namespace(name, forwards=False)
        public = [PUBLIC4.format(*divmod(number, 250)) for number in numbers]
        public += [PUBLIC6.format(number, 1) for number in numbers]
        link = connect(self.internet, namespace, numbers[0], public)
        return self._machine(name, namespace, link)

    def close(self) -> None:
        """A second call does nothing."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    def _machine(name: str, namespace: Namespace, link: Link) -> LabHost:
        """A host in a namespace that has its link; it asks the lab's name server."""
        reachable = {":" in each for each in link.addresses}
        name_servers = [each for each in NAME_SERVERS if (":" in each) in reachable]
        resolver.give_name_servers(namespace, name_servers[:1])
        resolver.give_hosts(namespace, {})
        return LabHost(name, link.addresses[0], namespace, link, link.addresses)

    def _namespace(self, name: str, *, forwards: bool) -> Namespace:
        namespace = self._open.enter_context(Namespace(name))
        prepare(namespace, forwards=forwards)
        return namespace
