"""What HTTPS passes on to the iroh relay of this server, as chatmail's nginx does: bytes, both ways."""

from __future__ import annotations

import asyncio

from reference_server.ledger import ConnectionRecord

__all__ = ["PATHS", "RelayPassage"]

PATHS = (b"/relay", b"/ping", b"/generate_204")
CONNECT = 5.0
"""Seconds within which the relay has to take the connection."""


class RelayPassage(asyncio.Protocol):
    """The connection to the relay for one client; both end with either. Who reads slowly slows the other side down."""

    def __init__(self, client: asyncio.Transport, record: ConnectionRecord) -> None:
        self._client = client
        self._record = record

    async def open(self, relay: tuple[str, int], request: bytes) -> None:
        """Connect, and send what the client has said so far. Raises `OSError` where the relay does not answer."""
        async with asyncio.timeout(CONNECT):
            await asyncio.get_running_loop().create_connection(lambda: self, *relay)
        self.send(request)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._relay = transport

    def send(self, data: bytes) -> None:
        self._relay.write(data)

    def pause(self) -> None:
        self._relay.pause_reading()

    def resume(self) -> None:
        self._relay.resume_reading()

    def close(self) -> None:
        self._relay.close()

    def data_received(self, data: bytes) -> None:
        self._record.bytes_out += len(data)
        self._client.write(data)

    def pause_writing(self) -> None:
        self._client.pause_reading()

    def resume_writing(self) -> None:
        self._client.resume_reading()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._client.close()
