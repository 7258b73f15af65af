"""A name server, asked through dnspython."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .routes import LookupFailed, NameNotFound

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

__all__ = ["Dns"]

WITHIN = 15.0
"""Seconds for one question, over all name servers."""
PORT = 53


class Dns:
    """Implements `routes.Lookup`."""

    def __init__(self, name_server: tuple[str, int] | None = None) -> None:
        """`name_server`: its address and port; None: those of the system, read at the first question."""
        self._name_server = name_server
        self._resolver: Resolver | None = None

    async def mx(self, name: str) -> Sequence[tuple[int, str]]:
        return [(each.preference, _text(each.exchange)) for each in await self._ask(name, "MX")]

    async def addresses(self, name: str) -> Sequence[str]:
        found = [each.address for each in await self._ask(name, "A")]
        try:
            found += [each.address for each in await self._ask(name, "AAAA")]
        except LookupFailed:
            if not found:
                raise
        return found

    async def txt(self, name: str) -> Sequence[bytes]:
        return [b"".join(each.strings) for each in await self._ask(name, "TXT")]

    async def _ask(self, name: str, kind: str) -> Sequence[Any]:
        import dns.exception  # noqa: PLC0415 - dnspython is slow to load, and few servers send mail
        import dns.name  # noqa: PLC0415
        import dns.resolver  # noqa: PLC0415

        try:
            answer = await self._open().resolve(
                dns.name.from_text(name), kind, lifetime=WITHIN, raise_on_no_answer=False, search=False
            )
        except dns.resolver.NXDOMAIN:
            raise NameNotFound(f"there is no {name}") from None
        except dns.exception.DNSException as error:
            raise LookupFailed(f"the name server says nothing of {name} ({type(error).__name__})") from error
        return list(answer.rrset or ())

    def _open(self) -> Resolver:
        if self._resolver is None:
            from dns.asyncresolver import Resolver  # noqa: PLC0415

            self._resolver = Resolver(configure=self._name_server is None)
            if self._name_server is not None:
                address, self._resolver.port = self._name_server
                self._resolver.nameservers = [address]
        return self._resolver


def _text(name: Any) -> str:
    text: str = name.to_text(omit_final_dot=True)
    return "" if text in (".", "@") else text.lower()
