"""UDP ports of relayed transport addresses: random ones (RFC 6056), and none twice in a row."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from typing import Protocol

from .settings import PortRange
from .stun import AddressFamily

__all__ = ["RelayPorts", "RelaySockets"]

RANDOM_TRIES = 32


class RelaySockets(Protocol):
    """The sockets behind relays; they belong to the shell."""

    def open(self, family: AddressFamily, port: int) -> bool:
        """Bind a UDP socket for a relay. False: the port is not to be had."""

    def close(self, family: AddressFamily, port: int) -> None: ...


class RelayPorts:
    """Opens relay sockets on ports of its choice.

    `rest` is how many seconds a port that was freed stays unused while there are others: datagrams that were on
    their way to the old owner must not reach the new one.
    """

    def __init__(
        self, sockets: RelaySockets, ports: PortRange, *, rest: float, never: Collection[int] = ()
    ) -> None:
        self._sockets = sockets
        self._range = ports
        self._rest = rest
        self._never = frozenset(never)
        self._open: set[tuple[AddressFamily, int]] = set()
        self._resting: dict[tuple[AddressFamily, int], float] = {}
        """In the order of their release."""

    def take(self, family: AddressFamily, now: float, *, even: bool = False) -> int | None:
        """A port with an open socket; `even` asks for an even number."""
        return self._take(family, now, 1, even=even)

    def take_pair(self, family: AddressFamily, now: float) -> int | None:
        """An even port, opened together with the one above it."""
        return self._take(family, now, 2, even=True)

    def release(self, family: AddressFamily, port: int, now: float) -> None:
        self._sockets.close(family, port)
        self._open.discard((family, port))
        self._resting.pop((family, port), None)
        self._resting[family, port] = now + self._rest

    def _take(self, family: AddressFamily, now: float, count: int, *, even: bool) -> int | None:
        while self._resting and (oldest := next(iter(self._resting))) and self._resting[oldest] <= now:
            del self._resting[oldest]
        first, last = self._range
        size = last - first + 1
        for _ in range(RANDOM_TRIES):
            port = first + secrets.randbelow(size)
            if self._usable(family, port, count, even=even) and self._try(family, port, count):
                return port
        start = secrets.randbelow(size)
        everyone = [first + (start + step) % size for step in range(size)]
        for resting_too in (False, True):
            for port in everyone:
                if self._usable(family, port, count, even=even, resting_too=resting_too) and self._try(
                    family, port, count
                ):
                    return port
        return None

    def _usable(
        self, family: AddressFamily, port: int, count: int, *, even: bool, resting_too: bool = False
    ) -> bool:
        if (even and port % 2) or port + count - 1 > self._range.last:
            return False
        wanted = [(family, port + step) for step in range(count)]
        return not any(
            place in self._open or place[1] in self._never or (place in self._resting and not resting_too)
            for place in wanted
        )

    def _try(self, family: AddressFamily, port: int, count: int) -> bool:
        for step in range(count):
            if not self._sockets.open(family, port + step):
                for opened in range(step):
                    self._sockets.close(family, port + opened)
                return False
        self._open.update((family, port + step) for step in range(count))
        return True
