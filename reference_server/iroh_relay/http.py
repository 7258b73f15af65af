"""HTTP side of the relay: plain requests get answers, upgrade requests leave HTTP. Sans-IO, on top of h11."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from email.utils import formatdate
from enum import Enum
from functools import partial
from http import HTTPStatus
from typing import TypeAlias

import h11
from websockets.utils import accept_key

__all__ = [
    "MAX_HEAD",
    "Answer",
    "HttpConnection",
    "Output",
    "Request",
    "Responder",
    "Transport",
    "Upgrade",
    "captive_portal",
    "relay",
]

MAX_HEAD = 16 * 1024
"""Bytes of one request line with its headers."""

Headers: TypeAlias = tuple[tuple[str, str], ...]

FIXED_HEADERS: Headers = (
    ("Strict-Transport-Security", "max-age=63072000; includeSubDomains"),
    (
        "Content-Security-Policy",
        "default-src 'none'; frame-ancestors 'none'; form-action 'none'; base-uri 'self'; "
        "block-all-mixed-content; plugin-types 'none'",
    ),
)
INDEX = b"""<html><body>
<h1>Iroh Relay</h1>
<p>
  This is an <a href="https://iroh.computer/">Iroh</a> Relay server.
</p>
"""
CHALLENGE = re.compile(r"[A-Za-z0-9._-]{1,63}")


class Transport(Enum):
    """What an upgraded connection speaks; the value is the `Upgrade` header, compared byte for byte."""

    DERP = "iroh derp http"
    WEBSOCKET = "websocket"


@dataclass(frozen=True, slots=True)
class Request:
    """Header names are lower case."""

    method: str
    path: str
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


Responder: TypeAlias = Callable[[Request], Answer | Upgrade]

NOT_FOUND = Answer(404, body=b"Not Found")


def relay(*, tls: bool) -> Responder:
    """Answers of the relay's own listener. With TLS the captive portal check is served by the plain one only."""
    return partial(_relay, tls=tls)


def _relay(request: Request, *, tls: bool) -> Answer | Upgrade:
    answer = _route(request, tls=tls)
    headers = FIXED_HEADERS + answer.headers
    if isinstance(answer, Upgrade):
        return Upgrade(answer.transport, headers)
    return Answer(answer.status, headers, answer.body)


def _route(request: Request, *, tls: bool) -> Answer | Upgrade:  # noqa: PLR0911  # one per path
    if request.method != "GET":
        return NOT_FOUND
    match request.path:
        case "/relay" | "/derp":
            return _upgrade(request)
        case "/ping":
            return Answer(200, (("Access-Control-Allow-Origin", "*"),))
        case "/" | "/index.html":
            return Answer(200, (("Content-Type", "text/html; charset=utf-8"),), INDEX)
        case "/robots.txt":
            return Answer(200, body=b"User-agent: *\nDisallow: /\n")
        case "/generate_204" if not tls:
            return captive_portal(request)
        case _:
            return NOT_FOUND


def captive_portal(request: Request) -> Answer:
    """`/generate_204`: 204 and the challenge back, so that a client knows that nobody answers in our place."""
    if request.method != "GET" or request.path != "/generate_204":
        return NOT_FOUND
    challenge = request.header("x-tailscale-challenge")
    if challenge is None or not CHALLENGE.fullmatch(challenge):
        return Answer(204)
    return Answer(204, (("X-Tailscale-Response", f"response {challenge}"),))


def _upgrade(request: Request) -> Answer | Upgrade:
    wanted = request.header("upgrade")
    if wanted == Transport.DERP.value:
        return Upgrade(Transport.DERP, (("Upgrade", wanted), ("Connection", "upgrade")))
    if wanted != Transport.WEBSOCKET.value:
        return Answer(400)
    key, version = request.header("sec-websocket-key"), request.header("sec-websocket-version")
    if key is None or version is None:
        return Answer(400)
    if version != "13":
        return Answer(400, (("Sec-WebSocket-Version", "13"),))
    accept = ("Sec-WebSocket-Accept", accept_key(key))
    return Upgrade(Transport.WEBSOCKET, (("Upgrade", wanted), ("Connection", "upgrade"), accept))


@dataclass(slots=True)
class Output:
    """What follows from bytes that arrived: bytes to send, then perhaps an upgrade or the end."""

    data: bytearray = field(default_factory=bytearray)
    requests: int = 0
    upgrade: Transport | None = None
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
            output.upgrade = answer.transport
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
        for event in (
            h11.Response(status_code=answer.status, headers=list(headers), reason=reason),
            h11.Data(data=answer.body),
            h11.EndOfMessage(),
        ):
            output.data += self._h11.send(event) or b""


def _request(event: h11.Request) -> Request:
    path = event.target.decode("latin-1").partition("?")[0]
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in event.headers]
    return Request(event.method.decode("latin-1"), path, headers)
