"""Looking machine and server up before any check: capabilities are read off METADATA and the relay, never guessed."""

from __future__ import annotations

import logging
import platform
from collections.abc import Iterator
from dataclasses import replace

from ..calls.servers import TURN_KEY, TURNS_KEY
from ..clients.mail.imap import ImapClient, ImapError
from ..clients.relay.client import RelayClient, RelayError
from ..clients.relay.client_v1 import RelayClientV1
from ..hosts import Host, MissingCapability
from ..network.preflight import preflight
from ..report.observations import MachineSeen, ServerSeen
from ..target import Target
from ..urls import RelayUrl, UrlError
from ..versions import installed_versions
from ..waiting import WaitTimeout
from .offers import IROH_RELAY_KEY, belongs_to

__all__ = ["look_up", "machine_seen", "server_seen"]

log = logging.getLogger(__name__)

WITHIN = 10.0
GENERATIONS = {"relay_v035": "0.35", "relay_v1": "0.91 and later"}
"""Capabilities of a relay, by the version of iroh whose nodes it lets in."""
KEYS = {TURN_KEY: "turn", TURNS_KEY: "turns", IROH_RELAY_KEY: "iroh_relay"}


def look_up(target: Target, host: Host) -> Target:
    """The target with the capabilities that it shows besides those that it states.

    Of a server that gives no METADATA nothing is known: then it is meant to have TURN and a relay as every chatmail
    server has, and the checks say what is wrong.
    """
    values: dict[str, str] = {}
    try:
        with ImapClient(host, target) as imap:
            imap.login(target.any_account())
            for key in KEYS:
                value = imap.get_metadata(key).get(key)
                if value is not None and value.value:
                    values[key] = value.value
    except (ImapError, MissingCapability, WaitTimeout, OSError) as error:
        log.info("METADATA of %s was not read: %s", target.name, error)
        return replace(target, capabilities=target.capabilities | {"turn", "iroh_relay"})
    for key in (TURN_KEY, TURNS_KEY):
        if key in values:
            target.on_secret(values[key].rpartition(":")[2])
    found = {KEYS[key] for key in values}
    if IROH_RELAY_KEY in values:
        found.update(_generations(values[IROH_RELAY_KEY], target, host))
    return replace(target, capabilities=target.capabilities | found)


def machine_seen() -> MachineSeen:
    """For the head of a run: what this machine can do, and the versions of what runs on it."""
    return MachineSeen(tuple(preflight().sentences()), installed_versions(), platform.node())


def server_seen(target: Target) -> ServerSeen:
    """For the head of a run: what is known of the server before any check."""
    return ServerSeen(
        target.name,
        domain=target.domain,
        addresses=(target.host, *sorted(target.other_addresses)),
        relay_generations=tuple(words for each, words in GENERATIONS.items() if each in target.capabilities),
        turn_transports=tuple(dict.fromkeys(url.transport for url in target.turn)),
        capabilities=tuple(sorted(target.capabilities)),
    )


def _generations(text: str, target: Target, host: Host) -> Iterator[str]:
    """Capabilities for those of our clients whom the relay lets in; that of somebody else is not asked."""
    try:
        url = RelayUrl.parse(text)
    except UrlError:
        return
    if not belongs_to(target, url.host, host):
        return
    tls = target.ssl_context() if url.secure else None
    for client, capability in ((RelayClient, "relay_v035"), (RelayClientV1, "relay_v1")):
        try:
            with client(host, url, tls=tls, within=WITHIN) as admitted:
                admitted.ping(within=WITHIN)
        except RelayError:
            continue
        except (WaitTimeout, OSError):
            return  # of one that is silent nothing is known: it has not refused this generation
        yield capability
