"""The iroh relay: what a node of Delta Chat meets on its way into it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..report.looks import HttpLook, Look, RelayLook, SwarmLook
from ..text import as_sentence
from .mail import certificate_in_words
from .part import Part
from .places import (
    judge_dead_addresses,
    judge_foreign,
    judge_name,
    listed,
    reached_in_words,
    told_with_the_name,
)

__all__ = ["judge_relay", "judge_swarm"]

OF_CERTIFICATE = {
    "expired": "expired",
    "not yet valid": "expired",
    "wrong name": "wrong_name",
    "untrusted": "untrusted",
}
SWITCHING, OK, NO_CONTENT = 101, 200, 204
BAD_GATEWAY = (502, 503, 504)
PROXIES = re.compile(
    r"nginx|openresty|caddy|apache|traefik|haproxy|envoy|cloudflare|litespeed|varnish", re.IGNORECASE
)
"""In `Server:`; an iroh relay sends none."""
SMALL = 1000
"""Bytes of a frame that fits into one datagram."""
NOT_WELCOME = "not authenticated"
"""Words of a relay to a node that `access` does not let in (0.35)."""
FRONT = (
    "relay.proxy_drops_upgrade",
    "relay.proxy_http_1_0",
    "relay.proxy_http2_only",
    "relay.upstream_dead",
    "relay.no_relay_there",
    "relay.generation_too_new",
    "relay.access_restricted",
    "relay.scheme_wrong",
)
CERTIFICATES = tuple(f"relay.certificate_{each}" for each in dict.fromkeys(OF_CERTIFICATE.values()))


def judge_relay(look: Look) -> Part:
    """The iroh relay that METADATA names."""
    part = Part()
    mail, name, relay = look.mail, look.relay_name, look.relay
    if mail is None or name is None:
        return part
    title = f"iroh relay {mail.relay}"
    part.include(judge_name(name, "relay", title))
    part.include(judge_foreign(name, "relay", title, look.own))
    if relay is None:
        return part
    if not any(each.reached == "open" for each in relay.ports):
        _judge_ports(part, title, relay)
        return part
    part.exclude("relay.port_closed", "relay.port_filtered")
    part.include(judge_dead_addresses(relay.ports, "relay", title, told_with_the_name(look, name)))
    if relay.other_scheme:
        spoken, named = ("http", "https") if relay.secure else ("https", "http")
        part.found(
            "relay.scheme_wrong",
            title,
            f"the port speaks {spoken}, and METADATA says {named}",
            f"At port {relay.ports[0].port} {named} failed, and {spoken} worked.",
        )
        return part
    if relay.certificate is not None and relay.certificate.problem:
        _judge_certificate(part, title, relay)
        return part
    part.exclude(*CERTIFICATES)
    if relay.upgrade is None:
        part.found(
            "relay.no_relay_there",
            title,
            "TLS fails there, and it is no plain HTTP either",
            f"TLS: {relay.words or 'nothing came'}.",
        )
    elif relay.admits_035:
        _judge_forwarding(part, title, relay)
    else:
        _judge_refusal(part, title, relay, relay.upgrade)
    return part


def _judge_ports(part: Part, title: str, relay: RelayLook) -> None:
    tried = [each for each in relay.ports if each.reached != "no route"]
    if not tried:
        part.cannot_tell(
            title, f"this machine has no way to {listed([each.address for each in relay.ports])}"
        )
    elif any(each.reached == "refused" for each in tried):
        part.found(
            "relay.port_closed",
            title,
            "nothing listens there",
            f"TCP port {tried[0].port}: {reached_in_words(tried)}.",
        )
        part.exclude("relay.port_filtered")
    else:
        part.found(
            "relay.port_filtered",
            title,
            "connections get no answer, not even a refusal",
            f"TCP port {tried[0].port}: {reached_in_words(tried)}.",
            "Other ports of the same server answer.",
        )
        part.exclude("relay.port_closed")


def _judge_certificate(part: Part, title: str, relay: RelayLook) -> None:
    certificate = relay.certificate
    assert certificate is not None
    part.found(
        f"relay.certificate_{OF_CERTIFICATE[certificate.problem]}",
        title,
        f"its certificate is {certificate.problem} for Delta Chat",
        *certificate_in_words(certificate),
        "It was judged by the roots that iroh has compiled in, whatever this machine trusts besides.",
    )


def _judge_forwarding(part: Part, title: str, relay: RelayLook) -> None:
    part.exclude(*FRONT)
    lost_small = [size for size in relay.lost if size < SMALL]
    if lost_small or (relay.lost and not relay.arrived):
        part.found(
            "relay.does_not_forward",
            title,
            "lets nodes in, and frames between them get lost",
            f"Two nodes logged in; of frames of {listed([str(each) for each in (*relay.arrived, *relay.lost)])} "
            "bytes, "
            f"those of {listed([str(each) for each in relay.lost])} did not arrive once, unchanged and from the "
            "right key.",
        )
    elif relay.lost:
        part.exclude("relay.does_not_forward")
        part.found(
            "relay.limits_size",
            title,
            f"frames of {listed([str(each) for each in relay.lost])} bytes get lost",
            f"Frames of {listed([str(each) for each in relay.arrived])} bytes arrived, in both directions.",
        )
    else:
        part.exclude("relay.does_not_forward", "relay.limits_size")
    if relay.ended_when_quiet:
        part.found(
            "relay.proxy_times_out",
            title,
            f"ends a connection on which nothing is said for {relay.quiet_s:g} s",
            f"A node logged in through `{_server(relay)}`, said nothing, and was cut off after {relay.quiet_s:g} s.",
        )
    _judge_paths(part, title, relay)
    if all(each.cause.name == "relay.paths_missing" for each in part.causes):
        generations = ["0.35", *(["v1, v2"] if relay.admits_v1 else [])]
        late = "" if relay.stun else "; no STUN at UDP 3478, so realtime starts 1 to 3 s late"
        part.ok(title, f"relays both ways ({', '.join(generations)}){late}")


def _judge_paths(part: Part, title: str, relay: RelayLook) -> None:
    """/ping and /generate_204. A note: nothing of today depends on them."""
    if not relay.paths_asked:
        return
    answers = {"/ping": (relay.ping, OK), "/generate_204": (relay.generate_204, NO_CONTENT)}
    if relay.secure:
        answers.pop("/generate_204")
    missing = {path: got for path, (got, wanted) in answers.items() if got != wanted}
    if missing:
        part.found(
            "relay.paths_missing",
            title,
            f"{listed(list(missing))} is missing",
            *(f"GET {path} was answered: {got or 'nothing'}." for path, got in missing.items()),
        )
    else:
        part.exclude("relay.paths_missing")


def _judge_refusal(part: Part, title: str, relay: RelayLook, upgrade: HttpLook) -> None:
    """No node of 0.35 gets in."""
    server = _server(relay)
    by = f" by `{server}`" if server else ""
    page_words = _page_in_words(relay)
    if upgrade.silent:
        part.found(
            "relay.does_not_forward",
            title,
            "takes connections, and says nothing",
            "A connection to its port stood, and a request over HTTP was not answered in 3 s: the program hangs.",
        )
    elif upgrade.is_http2 or (relay.page is not None and relay.page.is_http2):
        part.found(
            "relay.proxy_http2_only",
            title,
            "speaks HTTP/2 alone",
            "A request in HTTP/1.1 was answered with a frame of HTTP/2.",
        )
    elif upgrade.status is None:
        part.found(
            "relay.no_relay_there",
            title,
            "no HTTP is spoken there",
            as_sentence(upgrade.words),
            *([page_words] if relay.page is not None else []),
        )
    elif upgrade.status == SWITCHING:
        _judge_after_101(part, title, relay, by)
    elif upgrade.status in BAD_GATEWAY:
        _judge_bad_gateway(part, title, relay, upgrade, by)
    elif relay.admits_v1:
        proxied = PROXIES.search(server) is not None
        part.found(
            "relay.generation_too_new",
            title,
            f"lets in nodes of iroh 0.91 and later only ({upgrade.status} for those of Delta Chat)",
            f"The upgrade of 0.35 was answered: {upgrade.status}{by}; a node of `iroh-relay-v1` was let in.",
            rivals=("relay.proxy_drops_upgrade",) if proxied else (),
            tell_apart="Ask the relay itself, past the proxy: the proxy may pass on `websocket` alone."
            if proxied
            else "",
        )
    elif _is_relay(relay):
        part.found(
            "relay.proxy_drops_upgrade",
            title,
            f"answers {upgrade.status} instead of 101",
            f"GET /relay with `Upgrade: iroh derp http` was answered: {upgrade.status}{by}.",
            page_words,
            rivals=("relay.proxy_http_1_0",) if upgrade.status == 400 and server else (),
            tell_apart="Look for `proxy_http_version 1.1;` as well as for the header Upgrade: a relay answers "
            "both faults with 400."
            if upgrade.status == 400 and server
            else "",
        )
    else:
        part.found(
            "relay.no_relay_there",
            title,
            f"answers {upgrade.status}, and is no iroh relay",
            f"GET /relay with `Upgrade: iroh derp http` was answered: {upgrade.status}{by}.",
            page_words,
            *([_redirect_in_words(upgrade)] if upgrade.location else []),
        )


def _redirect_in_words(answer: HttpLook) -> str:
    return (
        f"It is a redirect to `{answer.location}`, and no iroh node follows one: METADATA must name the place where "
        "the relay answers itself."
    )


def _judge_after_101(part: Part, title: str, relay: RelayLook, by: str) -> None:
    if NOT_WELCOME in relay.words:
        part.found("relay.access_restricted", title, "lets in chosen nodes only", f"{relay.words}.")
    elif relay.closed_after_101 and not PROXIES.search(_server(relay)):
        part.cannot_tell(
            title,
            f"answers 101 to a node of Delta Chat, and then ends the connection: {relay.words}. It refuses new nodes "
            "(`access`, limits), or a proxy in front of it speaks HTTP/1.0 to it: its log tells",
        )
    elif relay.closed_after_101:
        part.found(
            "relay.proxy_http_1_0",
            title,
            "answers 101, and ends the connection",
            f"The upgrade was answered: 101{by}. {relay.words}.",
        )
    else:
        part.found(
            "relay.does_not_forward",
            title,
            "answers 101, and no ping of a node",
            f"The upgrade was answered: 101{by}. {relay.words}.",
        )


def judge_swarm(swarm: SwarmLook | None) -> Part:
    """Nodes that talk through the relay for a while."""
    part = Part()
    if swarm is None:
        return part
    title = "a swarm through the iroh relay"
    match swarm.answer:
        case "heard":
            part.ok(title, f"each of three nodes hears the others: {swarm.arrived} frames")
        case "failed":
            part.found(
                "relay.does_not_forward",
                title,
                f"of {swarm.sent} frames {swarm.sent - swarm.arrived} do not arrive",
                "Three nodes sent each other frames of 1,100 bytes, a few at a time: of "
                f"{swarm.sent}, {swarm.arrived} arrived once and unchanged. Then nothing more came, and the relay "
                "answered pings.",
            )
        case "undecided":
            part.cannot_tell(title, swarm.words)
        case "not tried":
            part.unseen(title, swarm.words)
    return part


def _judge_bad_gateway(part: Part, title: str, relay: RelayLook, upgrade: HttpLook, by: str) -> None:
    page_words = _page_in_words(relay)
    if _is_relay(relay) and relay.relay_path not in BAD_GATEWAY:
        part.found(
            "relay.proxy_http_1_0",
            title,
            f"passes plain requests, and answers {upgrade.status} to the upgrade",
            f"The upgrade was answered: {upgrade.status}{by}.",
            page_words,
        )
    else:
        part.found(
            "relay.upstream_dead",
            title,
            f"a proxy answers {upgrade.status}: the relay behind it does not run",
            f"The upgrade was answered: {upgrade.status}{by}; GET /relay without one: {relay.relay_path or 'nothing'}.",
            page_words,
        )


def _is_relay(relay: RelayLook) -> bool:
    """Plain requests get to a relay."""
    return relay.ping == OK or (relay.page is not None and relay.page.is_relay)


def _server(relay: RelayLook) -> str:
    looks: Sequence[HttpLook | None] = (relay.upgrade, relay.page)
    return next((each.server for each in looks if each is not None and each.server), "")


def _page_in_words(relay: RelayLook) -> str:
    page = relay.page
    if page is None or page.status is None:
        return f"GET / was answered with {page.words if page is not None and page.words else 'nothing'}."
    what = "the page of an iroh relay" if page.is_relay else "another page than an iroh relay's"
    return f"GET / was answered: {page.status}, {what}; GET /ping: {relay.ping or 'nothing'}."
