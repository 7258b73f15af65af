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
from .links import Link, connect, prepare
from .namespace import Namespace

__all__ = ["Lab", "LabHost"]

PUBLIC4 = "5.9.{}.{}"
"""Ordinary public addresses: stacks treat the ranges for documentation as special, and nothing leaves the lab."""
PUBLIC6 = "2a01:4f8:{:x}::{:x}"


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

    def popen(self, args: Sequence[str | Path], **kwargs: Any) -> subprocess.Popen[bytes]:
        return self.namespace.popen(args, **kwargs)

    def socket(self, family: socket.AddressFamily, kind: socket.SocketKind) -> Socket:
        return self.namespace.socket(family, kind)


class Lab:
    """The internet, and who is in it. Closing it ends every program that was started in it."""

    def __init__(self) -> None:
        """Raises `OSError` where this user may not make namespaces; `preflight` finds out before."""
        self._open = ExitStack()
        self._numbers = itertools.count(1)
        self.internet = self._namespace("internet", forwards=True)

    def server(self, name: str, *, addresses: int = 1) -> LabHost:
        """A machine with public IPv4 addresses, and as many of IPv6."""
        numbers = [next(self._numbers) for _ in range(addresses)]
        namespace = self._namespace(name, forwards=False)
        public = [PUBLIC4.format(*divmod(number, 250)) for number in numbers]
        public += [PUBLIC6.format(number, 1) for number in numbers]
        link = connect(self.internet, namespace, numbers[0], public)
        return LabHost(name, public[0], namespace, link, tuple(public))

    def close(self) -> None:
        """A second call does nothing."""
        self._open.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def _namespace(self, name: str, *, forwards: bool) -> Namespace:
        namespace = self._open.enter_context(Namespace(name))
        prepare(namespace, forwards=forwards)
        return namespace
