"""One TLS port for IMAP, submission and HTTPS: the client says by ALPN (RFC 7301) what it wants to speak.

Chatmail servers do this on port 443, which most networks let through.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import cast

from .listener import Connection

__all__ = ["HTTP", "AlpnConnection"]

HTTP = "http/1.1"


class AlpnConnection(asyncio.Protocol):
    """Hands the connection over as soon as TLS is up. A client that names nothing known speaks HTTP."""

    def __init__(self, choices: Mapping[str, Callable[[], Connection]]) -> None:
        self._choices = choices
        self._chosen: Connection | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        name = transport.get_extra_info("ssl_object").selected_alpn_protocol()
        self._chosen = self._choices.get(name, self._choices[HTTP])()
        protocol = cast(asyncio.Protocol, self._chosen)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)

    async def wait_closed(self) -> None:
        if self._chosen is not None:
            await self._chosen.wait_closed()
