"""The HTTPS side: an account for whoever asks (`POST /new`), autoconfig for mail clients, a way to the iroh relay."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any
from urllib.parse import quote, urlencode
from xml.sax.saxutils import escape

import h11

from reference_server.ledger import ConnectionRecord

from .accounts import Accounts, TooManyNewAccounts
from .admin import PATH as ADMIN
from .admin import AdminApi
from .federation.inbound import Inbound
from .federation.mxdeliv import PATH as MXDELIV
from .federation.mxdeliv import take_posted
from .rates import MemoryBudget
from .relay_passage import PATHS as RELAY
from .relay_passage import RelayPassage
from .settings import MailSettings
from .store_thread import StoreUnavailable

__all__ = ["WebConnection", "WebServices"]

NEW_ACCOUNT = (b"/new", b"/cgi-bin/newemail.py")
_ORIGIN = re.compile(rb"https?://[^/]*(?=/)", re.IGNORECASE)
"""A target may name the server, as it does to a proxy (RFC 9112 section 3.2.2)."""
AUTOCONFIG = b"/.well-known/autoconfig/mail/config-v1.1.xml"
_SERVER = """    <{tag} type="{kind}">
      <hostname>{host}</hostname>
      <port>{port}</port>
      <socketType>{security}</socketType>
      <authentication>password-cleartext</authentication>
      <username>%EMAILADDRESS%</username>
    </{tag}>
"""


@dataclass(frozen=True)
class WebServices:
    """State that all web connections of a server share."""

    settings: MailSettings
    accounts: Accounts
    memory: MemoryBudget
    ports: Mapping[str, int]
    """By the names of the listeners, as they are now."""
    inbound: Inbound | None = None
    """Takes mail of other servers by `POST /mxdeliv`; None: there is no such path."""
    admin: AdminApi | None = None
    """None: nobody has a token for it."""

    @property
    def is_self_signed(self) -> bool:
        """True where clients have to be told not to verify."""
        return self.settings.tls_ca is not None

    def autoconfig(self) -> str:
        """The XML that clients ask for before they guess (https://www.bucksch.org/1/projects/thunderbird/autoconfiguration/)."""
        domain = escape(self.settings.domain)
        servers = [
            ("incomingServer", "imap", "imaps", "SSL"),
            ("incomingServer", "imap", "imap", "STARTTLS"),
            ("outgoingServer", "smtp", "submissions", "SSL"),
            ("outgoingServer", "smtp", "submission", "STARTTLS"),
        ]
        return (
            '<?xml version="1.0" encoding="UTF-8"?>\n\n<clientConfig version="1.1">\n'
            f'  <emailProvider id="{domain}">\n    <domain>{domain}</domain>\n'
            f"    <displayName>{domain} chatmail</displayName>\n"
            f"    <displayShortName>{domain}</displayShortName>\n"
            + "".join(
                _SERVER.format(tag=tag, kind=kind, host=domain, port=self.ports[name], security=security)
                for tag, kind, name, security in servers
            )
            + "  </emailProvider>\n</clientConfig>\n"
        )

    def login_url(self, address: str, password: str) -> str:
        """A `dclogin:` URI for a server whose name and certificate nobody knows."""
        host = self.settings.host
        imap = {"ih": host, "ip": self.ports["imaps"], "is": "ssl"}
        smtp = {"sh": host, "sp": self.ports["submissions"], "ss": "ssl"}
        return f"dclogin:{address}?" + urlencode(
            {"p": password, "v": 1, **imap, **smtp, "ic": 3}, quote_via=quote, safe=""
        )


class WebConnection(asyncio.Protocol):
    """One client and one request; the connection ends after the answer."""

    def __init__(self, services: WebServices, record: ConnectionRecord) -> None:
        self._services = services
        self._limits = limits = services.settings.limits
        self._record = record
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.http_head)
        self._request: h11.Request | None = None
        self._head = bytearray()
        """As it came, for the relay."""
        self._body = bytearray()
        self._passage: RelayPassage | None = None
        self._answer: asyncio.Task[None] | None = None
        self._closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._deadline = asyncio.get_running_loop().call_later(self._limits.http_connection, transport.abort)

    def data_received(self, data: bytes) -> None:
        self._record.bytes_in += len(data)
        if self._passage is not None:
            self._passage.send(data)
            return
        if self._answer is not None or self._transport.is_closing():
            return  # a second request: this connection serves one
        if self._request is None:
            self._head += data
        try:
            self._http.receive_data(data)
            self._read_events()
        except h11.RemoteProtocolError as error:
            self._respond(error.error_status_hint, {"reason": "This is not a request that I understand"})

    def connection_lost(self, _exc: Exception | None) -> None:
        self._deadline.cancel()
        self._services.memory.give_back(len(self._body))
        if self._answer is not None:
            self._answer.cancel()
        if self._passage is not None:
            self._passage.close()
        self._closed.set()

    def pause_writing(self) -> None:
        if self._passage is not None:
            self._passage.pause()

    def resume_writing(self) -> None:
        if self._passage is not None:
            self._passage.resume()

    async def wait_closed(self) -> None:
        await self._closed.wait()

    def _read_events(self) -> None:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                self._request = event
                relay = self._services.settings.relay_address
                if relay is not None and _path(event) in RELAY:
                    self._transport.pause_reading()
                    self._answer = asyncio.create_task(self._pass_on(relay))
                    return
                if self._is_mail(event):  # which may take as long as one that comes by SMTP
                    self._deadline.cancel()
                    loop = asyncio.get_running_loop()
                    self._deadline = loop.call_later(self._limits.transfer, self._transport.abort)
            elif isinstance(event, h11.Data):
                if not self._keep(event.data):
                    return
            elif isinstance(event, h11.EndOfMessage):
                assert self._request is not None
                self._answer = asyncio.create_task(self._serve(self._request))
                return
            else:
                if self._http.they_are_waiting_for_100_continue:  # RFC 9110, 10.1.1
                    going_on = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
                    self._transport.write(self._http.send(going_on) or b"")
                return  # h11 needs more data, or the client is gone

    def _is_mail(self, request: h11.Request) -> bool:
        return self._services.inbound is not None and _path(request) == MXDELIV

    def _keep(self, data: bytes) -> bool:
        """One more piece of the body; False: that is too much, and was said."""
        assert self._request is not None
        most = self._limits.message if self._is_mail(self._request) else self._limits.http_body
        if len(self._body) + len(data) > most:
            self._respond(413, {"reason": "The request is too large"})
        elif not self._services.memory.take(len(data)):
            self._respond(503, {"reason": "Too much mail is coming in, try again later"})
        else:
            self._body += data
            return True
        return False

    async def _serve(self, request: h11.Request) -> None:
        path, method = _path(request), request.method
        if self._is_mail(request):
            await self._take_mail(request)
        elif path == AUTOCONFIG:
            if method in (b"GET", b"HEAD"):
                self._send(200, b"text/xml; charset=utf-8", self._services.autoconfig().encode())
            else:
                self._respond(405, {"reason": "Use GET"}, {b"Allow": b"GET, HEAD"})
        elif path == ADMIN and self._services.admin is not None:
            await self._administer(self._services.admin, method)
        elif path not in NEW_ACCOUNT:
            self._respond(404, {"reason": "There is only POST /new, and autoconfig"})
        elif method == b"POST":
            await self._create_account()
        elif method == b"GET" and not self._services.is_self_signed:
            url = f"dcaccount:https://{self._services.settings.domain}/new"
            self._respond(301, {"reason": "Open this in Delta Chat"}, {b"Location": url.encode()})
        else:
            self._respond(405, {"reason": "Use POST"}, {b"Allow": b"POST"})

    async def _pass_on(self, relay: tuple[str, int]) -> None:
        passage = RelayPassage(self._transport, self._record)
        try:
            await passage.open(relay, bytes(self._head))
        except OSError:  # and asyncio's TimeoutError
            self._respond(502, {"reason": "The iroh relay does not answer"})
            return
        self._deadline.cancel()  # the relay has its own
        self._passage = passage
        self._transport.resume_reading()

    async def _take_mail(self, request: h11.Request) -> None:
        if request.method != b"POST":
            self._respond(405, {"reason": "Use POST"}, {b"Allow": b"POST"})
            return
        assert self._services.inbound is not None
        answer = await take_posted(self._services.inbound, request.headers, bytes(self._body))
        self._send(answer.status, b"text/plain; charset=utf-8", answer.text.encode())

    async def _administer(self, admin: AdminApi, method: bytes) -> None:
        if method == b"POST":
            self._respond(200, await admin.answer(bytes(self._body)))
        else:
            self._respond(405, {"reason": "Use POST"}, {b"Allow": b"POST"})

    async def _create_account(self) -> None:
        try:
            created = await self._services.accounts.create_random(self._record.remote.rpartition(":")[0])
        except StoreUnavailable:
            created = None
        except TooManyNewAccounts:
            self._respond(429, {"reason": "Too many new accounts from your address"}, {b"Retry-After": b"60"})
            return
        if created is None:
            status = 503 if self._services.accounts.on_request else 403
            self._respond(status, {"reason": "No account can be created now"})
            return
        address, password = created
        answer = {"email": address, "password": password}
        if self._services.is_self_signed:
            answer["dclogin_url"] = self._services.login_url(address, password)
        self._respond(200, answer)

    def _respond(
        self, status: int, content: Mapping[str, Any], headers: Mapping[bytes, bytes] | None = None
    ) -> None:
        self._send(status, b"application/json", json.dumps(content).encode(), headers or {})

    def _send(
        self, status: int, content_type: bytes, body: bytes, extra: Mapping[bytes, bytes] | None = None
    ) -> None:
        headers = [
            (b"Content-Type", content_type),
            (b"Content-Length", b"%d" % len(body)),
            (b"Cache-Control", b"no-store"),
            (b"Connection", b"close"),
            (b"Date", formatdate(usegmt=True).encode()),  # RFC 9110, 6.6.1
            *(extra or {}).items(),
        ]
        events: list[h11.Event] = [h11.Response(status_code=status, headers=headers), h11.EndOfMessage()]
        if self._request is None or self._request.method != b"HEAD":
            events.insert(1, h11.Data(data=body))
        data = b"".join(self._http.send(event) or b"" for event in events)
        self._record.bytes_out += len(data)
        self._transport.write(data)
        self._transport.close()


def _path(request: h11.Request) -> bytes:
    return _ORIGIN.sub(b"", request.target.partition(b"?")[0])
