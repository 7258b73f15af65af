"""Looking machine and server up before any check: capabilities are read off METADATA and the relay, never guessed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

from ..hosts import Host
from ..network.preflight import preflight
from ..report.looks import Look, PortLook
from ..report.observations import CertificateSeen, Listener, MachineSeen, ServerSeen
from ..target import Target
from ..versions import installed_versions

__all__ = ["look_up", "machine_seen", "server_seen"]

log = logging.getLogger(__name__)

GENERATIONS = {"relay_v035": "0.35", "relay_v1": "0.91 and later"}
"""Capabilities of a relay, by the version of iroh whose nodes it lets in."""
KEYS = {"turn": "turn", "turns": "turns", "irohrelay": "iroh_relay"}
"""Keys of METADATA, and the capabilities that a value for them means."""
DAY = 86400


def look_up(target: Target, host: Host) -> tuple[Target, Look]:
    """The target with the capabilities that it shows besides those that it states, and all that was seen.

    Of a server that gives no METADATA nothing is known: then it is meant to have TURN and a relay as every chatmail
    server has, and the checks say what is wrong.
    """
    from ..look.look import look_at  # noqa: PLC0415 - slow to load, and our own servers need no look

    look = look_at(target, host, parts=("turn", "relay"), briefly=True)
    mail, relay = look.mail, look.relay
    if mail is None or mail.metadata != "read":
        log.info("METADATA of %s was not read", target.name)
        return replace(target, capabilities=target.capabilities | {"turn", "iroh_relay"}), look
    found = {capability for key, capability in KEYS.items() if key in mail.keys}
    if relay is not None:
        admits = {"relay_v035": relay.admits_035, "relay_v1": relay.admits_v1}
        found.update(capability for capability, admitted in admits.items() if admitted)
    return replace(target, capabilities=target.capabilities | found), look


def machine_seen() -> MachineSeen:
    """For the head of a run: what this machine can do, and the versions of what runs on it."""
    return MachineSeen(tuple(preflight().sentences()), installed_versions())


def server_seen(target: Target, look: Look | None = None) -> ServerSeen:
    """For the head of a run: what is known of the server before any check. `look`: None if nobody looked."""
    stated = ServerSeen(
        target.name,
        domain=target.domain,
        addresses=(target.host, *sorted(target.other_addresses)),
        relay_generations=tuple(words for each, words in GENERATIONS.items() if each in target.capabilities),
        turn_transports=tuple(dict.fromkeys(url.transport for url in target.turn)),
        capabilities=tuple(sorted(target.capabilities)),
    )
    if look is None:
        return stated
    mail = look.mail
    return replace(
        stated,
        addresses=look.own or stated.addresses,
        listeners=tuple(_listeners(look)),
        certificates=tuple(_certificates(look)),
        imap_capabilities=mail.capabilities if mail else (),
        metadata=mail.keys if mail else (),
        turn_transports=tuple(_turn_transports(look)) or stated.turn_transports,
        clock_ahead_s=look.clock_ahead_s,
    )


def _listeners(look: Look) -> Iterator[Listener]:
    relay, turn = look.relay, look.turn
    yield from (_listener(each, "tcp" if each.service == "submission" else "tls") for each in look.ports)
    if relay is not None:
        yield from (_listener(each, "tls" if relay.secure else "tcp") for each in relay.ports)
    if turn is not None:
        yield from (_listener(each, "udp") for each in turn.udp)
        yield from (_listener(each, "tcp") for each in turn.tcp)


def _listener(port: PortLook, transport: Literal["tcp", "udp", "tls"]) -> Listener:
    return Listener(port.service, port.address, port.port, transport, port.reached == "open")


def _certificates(look: Look) -> Iterator[CertificateSeen]:
    of_others = [part.certificate for part in (look.relay, look.turns) if part is not None]
    for each in (*look.certificates, *of_others):
        if each is not None:
            expires = look.time + (each.days_left or 0.0) * DAY
            yield CertificateSeen(each.service, each.names, each.issuer, round(expires), not each.problem)


def _turn_transports(look: Look) -> Iterator[str]:
    """Those over which STUN is answered, all of them tried."""
    if look.turn is not None:
        yield from ["udp"] * any(each.reached == "open" for each in look.turn.udp)
        yield from ["tcp"] * any(each.reached == "open" for each in look.turn.tcp)
    if look.turns is not None and look.turns.answers:
        yield "tls"
