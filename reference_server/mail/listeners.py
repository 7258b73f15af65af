"""The ports of a mail service by name; an operator can move one while the service runs."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping

from reference_server.ledger import ConnectionRecord, Ledger

from .listener import Admission, Connection, Listener
from .settings import Limits

__all__ = ["Listeners"]


class Listeners:
    """All of one service: they admit clients together."""

    def __init__(self, host: str, limits: Limits, ledger: Ledger) -> None:
        self._host = host
        self._limits = limits
        self._ledger = ledger
        self._admission = Admission(limits)
        self._open: dict[str, Listener] = {}
        self._makers: dict[str, Callable[[], Listener]] = {}
        self._first_ports: dict[str, int] = {}
        self.ports: dict[str, int] = {}
        """Where each listens now."""

    @property
    def first_ports(self) -> Mapping[str, int]:
        """Where each listened when it was opened."""
        return self._first_ports

    def open(
        self,
        name: str,
        port: int,
        make: Callable[[ConnectionRecord], Connection],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`tls`: from the first byte on. Raises `OSError` that names the address."""

        def listener() -> Listener:
            return Listener(
                name, make, tls=tls, admission=self._admission, limits=self._limits, ledger=self._ledger
            )

        self._makers[name] = listener
        made = self._open[name] = listener()
        self.ports[name] = self._first_ports[name] = made.open(self._host, port)

    async def move(self, name: str, port: int) -> None:
        """Listen at another port, and no more at the old one. Raises `OSError`, and the old one stays then."""
        if self.ports[name] != port:
            made = self._makers[name]()
            made.open(self._host, port)
            old, self._open[name], self.ports[name] = self._open[name], made, port
            await old.close()

    async def close(self) -> None:
        for each in self._open.values():
            await each.close()
