"""The iroh relay: what answers at its URL, which generations it lets in, and whether it brings two nodes together."""

from __future__ import annotations

import contextlib
import secrets
import ssl
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ..clients.relay.client import Packet, RelayClient, RelayError, probe
from ..clients.relay.client_v1 import RelayClientV1, RelayNoProtocol
from ..clients.turn import stun
from ..errors import plain
from ..hosts import Host, Socket
from ..report.looks import CertificateLook, HttpLook, PortLook, RelayLook
from ..text import clean
from ..urls import RelayUrl
from ..waiting import Deadline, WaitTimeout
from .certificates import public_roots, shake_hands, unverified
from .host import KnowingHost
from .ports import reach
from .together import side_by_side

__all__ = ["look_at_paths", "look_at_relay"]

WITHIN = 3.0
"""Seconds for one answer."""
ARRIVES_WITHIN = 1.5
"""Seconds for a frame."""
QUIET = 3.6
"""Seconds for which a node is silent. An iroh relay pings every 15 s, so a longer patience of a proxy does no harm."""
SIZES = (64, 1201, 6000)
"""Bytes: what one datagram holds, a little more, and a batch of them."""
MAX_HEAD = 16 * 1024
SHOWN = 120
STUN_PORT = 3478
STUN_WITHIN = 1.5
SETTINGS = 4
"""Type of the frame with which HTTP/2 begins (RFC 9113, 6.5); nginx may say GOAWAY (7) at once."""
GOAWAY = 7
SWITCHING = 101
BAD_GATEWAY = (502, 503, 504)
BROKEN = (RelayError, WaitTimeout, OSError)


@dataclass(frozen=True)
class _Place:
    """The relay at one address, for looks at it."""

    host: Host
    url: RelayUrl
    tls: ssl.SSLContext | None


def look_at_relay(host: Host, url: RelayUrl, addresses: Sequence[str], *, briefly: bool = False) -> RelayLook:
    """Look at each address of the relay, and closely at the first that answers.

    What a relay that works need not be asked, `look_at_paths` asks. `briefly`: only which generations it lets in.
    """
    ports, connection = _reached(host, url, addresses)
    look = RelayLook(str(url), url.secure, ports, paths_asked=False)
    answering = [each.address for each in look.ports if each.reached == "open"]
    if connection is None:
        return look
    host = KnowingHost(host, url.host, answering)
    tls = None
    if url.secure:
        look, tls, connection = _with_tls(look, host, url, connection, answering[0])
        if connection is None:
            return look
    place = _Place(host, url, tls)
    upgrade = _upgrade(place, connection)
    look = replace(look, upgrade=upgrade)
    if upgrade.silent:
        return look
    if upgrade.status != SWITCHING and not url.secure and _speaks_tls(host, url, answering[0]):
        return replace(look, other_scheme=True)
    if briefly:
        return _with(
            look,
            nodes=lambda: _admits(place, RelayClient, "admits_035"),
            v1=lambda: _v1(place),
        )
    if upgrade.status == SWITCHING:
        proxied = bool(upgrade.server)
        look = _with(look, nodes=lambda: _nodes(place, proxied=proxied), stun=lambda: _stun(host, url.host))
    else:
        look = replace(look, admits_035=False)
    return look if look.admits_035 else _with(look, **_reasons(place, upgrade))


def look_at_paths(host: Host, url: RelayUrl, look: RelayLook) -> RelayLook:
    """Ask a relay that works for its further paths, and whether it lets in nodes of the next generation."""
    answering = [each.address for each in look.ports if each.reached == "open"]
    place = _Place(KnowingHost(host, url.host, answering), url, public_roots() if url.secure else None)
    return replace(_with(look, http=lambda: _http(place), v1=lambda: _v1(place)), paths_asked=True)


def _with(look: RelayLook, **parts: Callable[[], dict[str, Any]]) -> RelayLook:
    """The same look with what these parts of it find, side by side."""
    for found in side_by_side(parts, within=2 * WITHIN).values():
        look = replace(look, **found)
    return look


def _reasons(place: _Place, upgrade: HttpLook) -> dict[str, Callable[[], dict[str, Any]]]:
    """Whatever tells why no node of 0.35 was let in. Where no HTTP is spoken, nothing more is asked."""
    if upgrade.status is None and not upgrade.is_http2:
        return {}
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "http": lambda: _http(place) | {"paths_asked": True},
        "v1": lambda: _v1(place),
    }
    if upgrade.status != SWITCHING:
        parts["page"] = lambda: {"page": _page(place)}
    if upgrade.status in BAD_GATEWAY:
        parts["path"] = lambda: {"relay_path": _status(place, "/relay")}
    return parts


def _reached(
    host: Host, url: RelayUrl, addresses: Sequence[str]
) -> tuple[tuple[PortLook, ...], Socket | None]:
    """The port at each address, and a connection to the first that takes one."""
    found = side_by_side(
        {each: partial(reach, host, each, url.port) for each in addresses}, within=2 * WITHIN
    )
    ports = tuple(PortLook("relay", each, url.port, found[each][0]) for each in addresses if each in found)
    first, *others = [*filter(None, (found[each.address][1] for each in ports)), None]
    for connection in others:
        if connection is not None:
            connection.close()
    return ports, first


def _with_tls(
    look: RelayLook, host: Host, url: RelayUrl, connection: Socket, address: str
) -> tuple[RelayLook, ssl.SSLContext | None, Socket | None]:
    """The certificate as iroh judges it, settings for what follows, and a session; without one nothing follows."""
    wanted = CertificateLook("relay", address, url.port, url.host)
    roots = public_roots()
    session, certificate, trouble = shake_hands(host, connection, wanted, roots, within=WITHIN)
    look = replace(look, certificate=certificate)
    if certificate is not None and not certificate.problem:
        return look, roots, session
    if session is not None:
        session.close()
    if certificate is not None:
        return look, None, None
    plainly = RelayUrl(False, url.host, url.port)
    if _page(_Place(host, plainly, None)).status is not None:
        look = replace(look, other_scheme=True)
    return replace(look, words=trouble), None, None


def _speaks_tls(host: Host, url: RelayUrl, address: str) -> bool:
    _, connection = reach(host, address, url.port)
    if connection is None:
        return False
    wanted = CertificateLook("relay", address, url.port, url.host)
    session, _, _ = shake_hands(host, connection, wanted, unverified(), within=WITHIN)
    if session is not None:
        session.close()
    return session is not None


def _upgrade(place: _Place, connection: Socket) -> HttpLook:
    """As a node of iroh 0.35 asks: without `Connection: Upgrade`."""
    authority = str(place.url).split("/")[2]
    return _ask(
        connection, f"GET /relay HTTP/1.1\r\nHost: {authority}\r\nUpgrade: iroh derp http\r\n\r\n".encode()
    )


def _ask(connection: Socket, request: bytes) -> HttpLook:
    """One request over a connection, which ends with it; only the head of the answer is read."""
    deadline, head = Deadline(WITHIN), b""
    try:
        with connection:
            connection.settimeout(WITHIN)
            connection.sendall(request)
            while b"\r\n\r\n" not in head and len(head) < MAX_HEAD and _may_be_http(head):
                connection.settimeout(max(deadline.remaining(), 0.001))
                if not (data := connection.recv(4096)):
                    break
                head += data
    except OSError as error:
        if not head:
            return HttpLook(words=plain(error), silent=isinstance(error, TimeoutError))
    return _read(head)


def _read(head: bytes) -> HttpLook:
    if _is_http2(head):
        return HttpLook(words="a frame of HTTP/2", is_http2=True)
    status_line, *lines = head.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    version, _, rest = status_line.partition(" ")
    if not version.startswith("HTTP/") or not (rest[:3].isascii() and rest[:3].isdigit()):
        shown = f"`{clean(status_line, SHOWN)}`" if head else "nothing"
        return HttpLook(words=f"{shown} in place of HTTP")
    pairs = (line.partition(":") for line in lines)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    status, location = int(rest[:3]), headers.get("location", "") if rest[:1] == "3" else ""
    return HttpLook(
        status, clean(headers.get("server", ""), SHOWN), clean(status_line, SHOWN), clean(location, SHOWN)
    )


def _may_be_http(head: bytes) -> bool:
    """What came so far is the beginning of an answer in HTTP/1, or of a frame of HTTP/2."""
    return head.startswith(b"HTTP/"[: len(head)]) or (head[:1] == b"\x00" and not _is_http2(head))


def _is_http2(head: bytes) -> bool:
    return len(head) >= 9 and head[:1] == b"\x00" and head[3] in (SETTINGS, GOAWAY) and head[5:9] == bytes(4)


def _page(place: _Place) -> HttpLook:
    """The page at `/`, which an iroh relay has."""
    try:
        answer = probe(place.host, place.url, "/", tls=place.tls, within=WITHIN)
    except BROKEN as error:
        return HttpLook(words=clean(str(error), SHOWN))
    server = clean(answer.headers.get("server", ""), SHOWN)
    return HttpLook(answer.status, server, is_relay=b"Iroh Relay" in answer.body)


def _http(place: _Place) -> dict[str, Any]:
    """Probes. A relay with TLS has /generate_204 on its plain port only."""
    portal = None if place.url.secure else _status(place, "/generate_204")
    return {
        "ping": _status(place, "/ping"),
        "generate_204": portal,
    }


def _status(place: _Place, path: str) -> int | None:
    try:
        return probe(place.host, place.url, path, tls=place.tls, within=WITHIN).status
    except BROKEN:
        return None


def _nodes(place: _Place, *, proxied: bool) -> dict[str, Any]:
    """Two nodes of 0.35 log in, and send each other frames of every size; then one of them has nothing to say."""
    try:
        with _node(place) as first, _node(place) as second:
            first.ping(within=WITHIN)
            second.ping(within=WITHIN)
            lost = _lost(first, second, SIZES) or _lost(second, first, SIZES[:2])
            quiet = _quiet(first) if proxied and not lost else {}
    except (RelayError, WaitTimeout, OSError) as error:
        closed = not isinstance(error, WaitTimeout)
        return {"admits_035": False, "closed_after_101": closed, "words": clean(str(error), SHOWN)}
    arrived = tuple(each for each in SIZES if each not in lost)
    return {"admits_035": True, "arrived": arrived, "lost": tuple(sorted(lost)), **quiet}


def _admits(place: _Place, client: type[RelayClient], name: str) -> dict[str, Any]:
    try:
        with client(place.host, place.url, tls=place.tls, within=WITHIN) as node:
            node.ping(within=WITHIN)
    except BROKEN:
        return {name: False}
    return {name: True}


def _quiet(node: RelayClient) -> dict[str, Any]:
    """A proxy must not take the connection of a node that is silent for one that is over."""
    began = time.monotonic()
    try:
        node.wait_closed(within=QUIET)
    except WaitTimeout:
        return {"quiet_s": QUIET}
    return {"quiet_s": round(time.monotonic() - began, 1), "ended_when_quiet": True}


def _node(place: _Place) -> RelayClient:
    return RelayClient(place.host, place.url, tls=place.tls, within=WITHIN)


def _lost(sender: RelayClient, receiver: RelayClient, sizes: Sequence[int]) -> set[int]:
    """Sizes of the frames that do not arrive once, unchanged and from the right key; each is waited for."""
    sent = {size: secrets.token_bytes(size) for size in sizes}
    arrived: list[Packet] = []
    with contextlib.suppress(WaitTimeout, RelayError):  # what came until then counts
        for payload in sent.values():
            sender.send(receiver.node_id, payload)
            with contextlib.suppress(WaitTimeout):
                arrived += receiver.receive_until(payload, within=ARRIVES_WITHIN)
        receiver.ping(within=WITHIN)  # answered behind whatever comes a second time
        while True:
            arrived.append(receiver.receive(within=0))
    counts = Counter((each.source, each.payload) for each in arrived)
    return {size for size, payload in sent.items() if counts[sender.node_id, payload] != 1}


def _v1(place: _Place) -> dict[str, Any]:
    try:
        with RelayClientV1(place.host, place.url, tls=place.tls, within=WITHIN) as node:
            node.ping(within=WITHIN)
    except RelayNoProtocol:
        return {"admits_v1": False, "without_subprotocol": True}
    except BROKEN:
        return {"admits_v1": False}
    return {"admits_v1": True}


def _stun(host: Host, name: str) -> dict[str, Any]:
    try:
        stun.probe(host, name, STUN_PORT, within=STUN_WITHIN)
    except (stun.StunError, WaitTimeout, OSError):
        return {"stun": False}
    return {"stun": True}
