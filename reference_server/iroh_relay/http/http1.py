"""HTTP/1.1 connections: plain requests get answers, upgrade requests leave HTTP. Sans-IO, on top of h11.

What is answered is decided by a responder (routes.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import Enum
from http import HTTPStatus
from typing import TypeAlias

import h11

__all__ = [
    "MAX_HEAD",
    "Answer",
    "HttpConnection",
    "Output",
    "Request",
    "Responder",
    "Transport",
    "Upgrade",
]

MAX_HEAD = 16 * 1024
"""Bytes of one request line with its headers."""

ABSOLUTE_FORM = re.compile(r"^https?://[^/?]*", re.IGNORECASE)
"""Scheme and host of a target as proxies get it; servers accept it, too (RFC 9112, section 3.2.2)."""

CONTINUE = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
"""A client may wait for it with its content (RFC 9110, section 10.1.1)."""

Headers: TypeAlias = tuple[tuple[str, str], ...]


class Transport(Enum):
    """Protocol of an upgraded connection, by the name that is negotiated.

    The first two are values of `Upgrade` and belong to generation 0.35; the others are WebSocket subprotocols.
    """

    DERP = "iroh derp http"
    WEBSOCKET = "websocket"
    V1 = "iroh-relay-v1"
    V2 = "iroh-relay-v2"


@dataclass(frozen=True, slots=True)
class Request:
    """Header names are lower case."""

    method: str
    path: str
    query: str = ""
    headers: Sequence[tuple[str, str]] = ()

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Headers = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Upgrade:
    transport: Transport
    headers: Headers = ()
    token: str | None = field(default=None, repr=False)
    """The access token that the client sent, a secret."""


Responder: TypeAlias = Callable[[Request], Answer | Upgrade]


@dataclass(slots=True)
class Output:
    """Consequences of bytes that arrived: bytes to send, then perhaps an upgrade or the end."""

    data: bytearray = field(default_factory=bytearray)
    requests: int = 0
    upgrade: Upgrade | None = None
    trailing: bytes = b""
    """Bytes behind the upgrade request: a client need not wait for the 101."""
    close: bool = False


class HttpConnection:
    """One HTTP/1.1 connection, until it ends or leaves HTTP."""

    def __init__(self, responder: Responder) -> None:
        self._responder = responder
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._request: Request | None = None

    def receive(self, data: bytes, unix_time: float) -> Output:
        """Take bytes that arrived; `unix_time` is for the `Date` header."""
        output = Output()
        self._h11.receive_data(data)
        try:
            while not output.close and output.upgrade is None and self._step(output, unix_time):
                pass
        except h11.RemoteProtocolError as error:
            if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                self._send(output, Answer(error.error_status_hint), unix_time)
            output.close = True
        return output

    def _step(self, output: Output, unix_time: float) -> bool:
        """Handle one event; False when there is none."""
        event = self._h11.next_event()
        if isinstance(event, h11.Request):
            self._request = _request(event)
        elif isinstance(event, h11.EndOfMessage) and self._request is not None:
            self._respond(output, self._request, unix_time)
        elif isinstance(event, h11.ConnectionClosed):
            output.close = True
        elif event is h11.NEED_DATA and self._h11.they_are_waiting_for_100_continue:
            output.data += self._h11.send(CONTINUE) or b""
        return isinstance(event, h11.Request | h11.Data | h11.EndOfMessage)

    def _respond(self, output: Output, request: Request, unix_time: float) -> None:
        output.requests += 1
        answer = self._responder(request)
        if isinstance(answer, Upgrade):
            headers = (*answer.headers, ("Date", formatdate(unix_time, usegmt=True)))
            switch = h11.InformationalResponse(
                status_code=101, headers=list(headers), reason=b"Switching Protocols"
            )
            output.data += self._h11.send(switch) or b""
            output.upgrade = answer
            output.trailing = self._h11.trailing_data[0]
            return
        self._send(output, answer, unix_time)
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
        else:
            output.close = True

    def _send(self, output: Output, answer: Answer, unix_time: float) -> None:
        length = () if answer.status == 204 else (("Content-Length", str(len(answer.body))),)
        headers = (*answer.headers, *length, ("Date", formatdate(unix_time, usegmt=True)))
        reason = HTTPStatus(answer.status).phrase.encode()
        # RFC 9110, section 9.3.2: its length is told all the same.
        body = b"" if self._asked_for_head else answer.body
        for event in (
            h11.Response(status_code=answer.status, headers=list(headers), reason=reason),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            output.data += self._h11.send(event) or b""

    @property
    def _asked_for_head(self) -> bool:
        return self._request is not None and self._request.method == "HEAD"


def _request(event: h11.Request) -> Request:
    target = ABSOLUTE_FORM.sub("", event.target.decode("latin-1"), count=1)
    path, _, query = target.partition("?")
    headers = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in event.headers
        if name != b"upgrade" or event.http_version != b"1.0"  # ignored there (RFC 9110, section 7.8)
    ]
    return Request(event.method.decode("latin-1"), path or "/", query, headers)
