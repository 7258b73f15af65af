"""`POST /new` over HTTPS: an account for whoever asks (chatmail's account creation)."""

from __future__ import annotations

import asyncio
import json

import h11

from reference_server.ledger import ConnectionRecord

from .accounts import Accounts
from .settings import Limits
from .store_thread import StoreUnavailable

__all__ = ["WebConnection"]


class WebConnection(asyncio.Protocol):
    """One client and one request; the connection ends after the answer."""

    def __init__(self, accounts: Accounts, limits: Limits, record: ConnectionRecord) -> None:
        self._accounts = accounts
        self._limits = limits
        self._record = record
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.http_head)
        self._request: h11.Request | None = None
        self._body_size = 0
        self._answer: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._deadline = asyncio.get_running_loop().call_later(self._limits.http_connection, transport.abort)

    def data_received(self, data: bytes) -> None:
        self._record.bytes_in += len(data)
        if self._answer is not None or self._transport.is_closing():
            return  # a second request: this connection serves one
        try:
            self._http.receive_data(data)
            self._read_events()
        except h11.RemoteProtocolError as error:
            self._respond(error.error_status_hint, {"reason": "This is not a request that I understand"})

    def connection_lost(self, _exc: Exception | None) -> None:
        self._deadline.cancel()
        if self._answer is not None:
            self._answer.cancel()
        self._closed.set()

    async def wait_closed(self) -> None:
        await self._closed.wait()

    def _read_events(self) -> None:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                self._request = event
            elif isinstance(event, h11.Data):
                self._body_size += len(event.data)
                if self._body_size > self._limits.http_body:
                    self._respond(413, {"reason": "The request is too large"})
                    return
            elif isinstance(event, h11.EndOfMessage):
                assert self._request is not None
                self._answer = asyncio.create_task(self._serve(self._request))
                return
            else:
                return  # h11 needs more data, or the client is gone

    async def _serve(self, request: h11.Request) -> None:
        path = request.target.partition(b"?")[0]
        if path != b"/new":
            self._respond(404, {"reason": "There is only POST /new"})
        elif request.method != b"POST":
            self._respond(405, {"reason": "Use POST"}, allow=b"POST")
        else:
            await self._create_account()

    async def _create_account(self) -> None:
        try:
            created = await self._accounts.create_random()
        except StoreUnavailable:
            created = None
        if created is None:
            self._respond(503, {"reason": "No account can be created now"})
        else:
            address, password = created
            self._respond(200, {"email": address, "password": password})

    def _respond(self, status: int, content: dict[str, str], *, allow: bytes | None = None) -> None:
        body = json.dumps(content).encode()
        headers = [
            (b"Content-Type", b"application/json"),
            (b"Content-Length", b"%d" % len(body)),
            (b"Cache-Control", b"no-store"),
            (b"Connection", b"close"),
        ]
        if allow is not None:
            headers.append((b"Allow", allow))
        data = b"".join(
            self._http.send(event) or b""
            for event in (
                h11.Response(status_code=status, headers=headers),
                h11.Data(data=body),
                h11.EndOfMessage(),
            )
        )
        self._record.bytes_out += len(data)
        self._transport.write(data)
        self._transport.close()
