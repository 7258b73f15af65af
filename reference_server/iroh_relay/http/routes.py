"""Answers of the relay to HTTP requests, some of which leave HTTP for another protocol."""

from __future__ import annotations

import json
import re
from functools import partial
from importlib.metadata import version
from urllib.parse import parse_qs

from websockets.utils import accept_key

from .http1 import Answer, Headers, Request, Responder, Transport, Upgrade

__all__ = ["captive_portal", "relay"]

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
READING = ("GET", "HEAD")
NOT_FOUND = Answer(404, body=b"Not Found")
CHALLENGE = re.compile(r"[A-Za-z0-9._-]{1,63}")
CHALLENGE_HEADERS = (
    ("x-iroh-challenge", "X-Iroh-Response"),
    ("x-tailscale-challenge", "X-Tailscale-Response"),
)
"""Since 0.93, and up to 0.93."""
SUBPROTOCOLS = (Transport.V2, Transport.V1)
"""Best first."""


def relay(*, tls: bool) -> Responder:
    """Answers of the relay's own listener. With TLS the captive portal check is served by the plain one only."""
    return partial(_relay, tls=tls)


def _relay(request: Request, *, tls: bool) -> Answer | Upgrade:
    answer = _route(request, tls=tls)
    headers = FIXED_HEADERS + answer.headers
    if isinstance(answer, Upgrade):
        return Upgrade(answer.transport, headers, answer.token)
    return Answer(answer.status, headers, answer.body)


def _route(request: Request, *, tls: bool) -> Answer | Upgrade:  # noqa: PLR0911  # one per path
    if request.method not in READING:
        return NOT_FOUND
    match request.path:
        case "/relay" | "/derp" if request.method != "GET":
            return NOT_FOUND
        case "/relay" if request.header("sec-websocket-protocol") is not None:
            return _upgrade_v1(request)
        case "/relay" | "/derp":
            return _upgrade_035(request)
        case "/ping":
            return Answer(200, (("Access-Control-Allow-Origin", "*"),))
        case "/healthz":
            return _health()
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
    if request.method not in READING or request.path != "/generate_204":
        return NOT_FOUND
    sent = ((request.header(asked), answered) for asked, answered in CHALLENGE_HEADERS)
    echoed = tuple(
        (answered, f"response {challenge}")
        for challenge, answered in sent
        if challenge is not None and CHALLENGE.fullmatch(challenge)
    )
    return Answer(204, echoed)


def _health() -> Answer:
    """The answer that upstream has had since 0.96. We have no commit to name: what runs is an installed version."""
    body = {"status": "ok", "version": version("dc-harness"), "git_hash": "unknown"}
    return Answer(200, (("Content-Type", "application/json"),), json.dumps(body).encode())


def _upgrade_035(request: Request) -> Answer | Upgrade:
    """Generation 0.35, which says nothing about a refused upgrade."""
    wanted = request.header("upgrade")
    if wanted == Transport.DERP.value:
        return Upgrade(Transport.DERP, (("Upgrade", wanted), ("Connection", "upgrade")))
    if wanted != "websocket":
        return Answer(400)
    key, number = request.header("sec-websocket-key"), request.header("sec-websocket-version")
    if key is None or number is None:
        return Answer(400)
    if number != "13":
        return Answer(400, (("Sec-WebSocket-Version", "13"),))
    return Upgrade(Transport.WEBSOCKET, _switch_to_websocket(key))


def _upgrade_v1(request: Request) -> Answer | Upgrade:
    """A request that offers subprotocols: ours is the best one that we know, whatever their order."""
    if request.header("upgrade") != "websocket":
        return _refused("missing or wrong header Upgrade: expected `websocket`")
    key, number = request.header("sec-websocket-key"), request.header("sec-websocket-version")
    if key is None:
        return _refused("missing header Sec-WebSocket-Key")
    if number != "13":
        return _refused("unsupported Sec-WebSocket-Version: expected `13`", ("Sec-WebSocket-Version", "13"))
    offers = [value for name, value in request.headers if name == "sec-websocket-protocol"]
    offered = {name.strip() for value in offers for name in value.split(",")}
    chosen = next((known for known in SUBPROTOCOLS if known.value in offered), None)
    if chosen is None:
        known = ", ".join(each.value for each in SUBPROTOCOLS)
        return _refused(f"no known protocol in Sec-WebSocket-Protocol: this relay speaks {known}")
    headers = (*_switch_to_websocket(key), ("Sec-WebSocket-Protocol", chosen.value))
    return Upgrade(chosen, headers, _token(request))


def _switch_to_websocket(key: str) -> Headers:
    accept = ("Sec-WebSocket-Accept", accept_key(key))
    return (("Upgrade", "websocket"), ("Connection", "upgrade"), accept)


def _refused(reason: str, *headers: tuple[str, str]) -> Answer:
    return Answer(400, (("Content-Type", "text/plain; charset=utf-8"), *headers), reason.encode())


def _token(request: Request) -> str | None:
    """`Authorization: Bearer TOKEN`, or `?token=TOKEN` where a client cannot set headers."""
    scheme, _, token = (request.header("authorization") or "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return next(iter(parse_qs(request.query, max_num_fields=100).get("token", [])), None)
