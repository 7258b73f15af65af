"""Hosts that look: they stop when the look is over, send what they may, and look names up once."""

from __future__ import annotations

import ipaddress
import socket
import subprocess
import threading
from collections.abc import Sequence
from pathlib import Path
from socket import SocketKind
from typing import Any

from ..closing import Closing
from ..hosts import Host, Socket
from .packets import Allowance, counted

__all__ = ["KnowingHost", "LookingHost"]

QUESTIONS = 2
"""Packets to a name server for one name: A and AAAA."""


class _Same(Host):
    """The same place in the network as another host."""

    def __init__(self, inner: Host) -> None:
        self.inner = inner
        self.name = inner.name
        self.address = inner.address

    def popen(self, args: Sequence[str | Path], **kwargs: Any) -> subprocess.Popen[bytes]:
        return self.inner.popen(args, **kwargs)

    def start_program(self, args: Sequence[str | Path], **kwargs: Any) -> subprocess.Popen[bytes]:
        return self.inner.start_program(args, **kwargs)

    def socket(self, family: socket.AddressFamily, kind: SocketKind) -> Socket:
        return self.inner.socket(family, kind)

    def resolve(self, name: str) -> tuple[str, ...]:
        return self.inner.resolve(name)


class LookingHost(_Same, Closing):
    """Opens nothing any more when it is closed: a look that was too slow ends at its next step.

    `allowance`: for all that leaves by it.
    """

    def __init__(self, inner: Host, allowance: Allowance) -> None:
        super().__init__(inner)
        self.allowance = allowance
        self._closed = threading.Event()

    def socket(self, family: socket.AddressFamily, kind: SocketKind) -> Socket:
        if self._closed.is_set():
            raise OSError("the look is over")
        return counted(super().socket(family, kind), self.allowance)

    def resolve(self, name: str) -> tuple[str, ...]:
        if not _is_address(name):
            self.allowance.take(QUESTIONS)
        return super().resolve(name)

    def close(self) -> None:
        self._closed.set()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


class KnowingHost(_Same):
    """For it, one name stands for these addresses: those at which somebody answered."""

    def __init__(self, inner: Host, name: str, addresses: Sequence[str]) -> None:
        super().__init__(inner)
        self._name = name
        self._addresses = tuple(addresses)

    def resolve(self, name: str) -> tuple[str, ...]:
        return self._addresses if name == self._name else self.inner.resolve(name)
