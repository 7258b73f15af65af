"""The METADATA gate: services that a server offers to Delta Chat clients, and that must be its own (RFC 5464).

It stands before everything that starts a Delta Chat core: without a usable value, core silently uses public servers of
somebody else, and a test of this server would test theirs.
"""

from __future__ import annotations

import socket

from ..calls.servers import TURN_KEY, TURNS_KEY, TurnOffer
from ..clients.mail.imap import ImapClient, ImapError
from ..clients.turn.client import TurnError
from ..errors import plain
from ..hosts import Host
from ..target import Target
from ..urls import RelayUrl, UrlError
from .outcome import PromiseBroken

__all__ = [
    "IROH_RELAY_KEY",
    "TURNS_KEY",
    "TURN_KEY",
    "addresses",
    "belongs_to",
    "own_addresses",
    "own_relay",
    "own_turn",
    "relay_in_metadata",
    "require_generation_of_cores",
    "require_own_services",
    "turn_in_metadata",
]

IROH_RELAY_KEY = "/shared/vendor/deltachat/irohrelay"
MISSING = {TURN_KEY: "metadata.turn_missing", IROH_RELAY_KEY: "metadata.relay_missing"}


def own_relay(target: Target, host: Host) -> RelayUrl:
    """The target's own relay, by METADATA. Raises `PromiseBroken` for a missing, unusable or foreign value."""
    with ImapClient(host, target) as imap:
        imap.login(target.any_account())
        return relay_in_metadata(target, imap, host)


def require_own_services(target: Target, host: Host) -> RelayUrl:
    """As `own_relay`, for those who start cores: a core without a TURN value asks for public servers, too."""
    if "turn" in target.capabilities:
        own_turn(target, host)
    return own_relay(target, host)


def require_generation_of_cores(target: Target) -> None:
    """Raise `PromiseBroken` for a relay that is known to speak other generations only: every core speaks 0.35."""
    if "relay_v1" in target.capabilities and "relay_v035" not in target.capabilities:
        raise PromiseBroken(
            "the relay does not speak the generation of the target's clients (0.35): it lets in nodes since iroh "
            "0.91 only, and realtime channels of Delta Chat do not work over it",
            cause="relay.generation_too_new",
        )


def own_turn(target: Target, host: Host, key: str = TURN_KEY) -> TurnOffer:
    """The target's own TURN server, by one METADATA key. Raises `PromiseBroken` as `own_relay` does."""
    offer = turn_in_metadata(target, host, key)
    if not belongs_to(target, offer.host, host):
        raise PromiseBroken(
            f"METADATA offers the TURN server of somebody else: {offer} is not on {target.host} ({target.domain}) "
            f"alone, but {addresses(offer.host, host)}",
            cause=_misled("turn", offer.host, host),
        )
    return offer


def turn_in_metadata(target: Target, host: Host, key: str = TURN_KEY) -> TurnOffer:
    """The TURN server that METADATA names, whosever it is. Raises `PromiseBroken` for a missing or unusable value."""
    with ImapClient(host, target) as imap:
        imap.login(target.any_account())
        value = _value(imap, key, "public servers of others")
    try:
        offer = TurnOffer.parse(value)
    except TurnError as error:
        sentence = f"METADATA offers an unusable TURN server: {error}"
        raise PromiseBroken(sentence, cause="metadata.turn_unusable") from error
    target.on_secret(offer.password)
    return offer


def relay_in_metadata(target: Target, imap: ImapClient, host: Host) -> RelayUrl:
    """The target's own relay, read by a client that has logged in. Raises `PromiseBroken` as `own_relay` does."""
    value = _value(imap, IROH_RELAY_KEY, "public relays of others")
    try:
        url = RelayUrl.parse(value)
    except UrlError as error:
        sentence = f"METADATA offers an unusable relay: {error}"
        raise PromiseBroken(sentence, cause="metadata.relay_unusable") from error
    if not belongs_to(target, url.host, host):
        raise PromiseBroken(
            f"METADATA offers the relay of somebody else: {url} is not on {target.host} ({target.domain}) alone, "
            f"but {addresses(url.host, host)}",
            cause=_misled("relay", url.host, host),
        )
    return url


def belongs_to(target: Target, name: str, host: Host) -> bool:
    """`name`, a DNS name or an address, leads to the target and nowhere else, as `host` sees it.

    Each address counts: clients go to any of them, and phones send their credentials to all.
    """
    if _normal(name) == _normal(target.host):
        return True
    found = _resolved(name, host)
    return bool(found) and found <= own_addresses(target, host)


def own_addresses(target: Target, host: Host) -> frozenset[str]:
    """All that the target is known to have, as `host` sees it."""
    return _resolved(target.host, host) | target.other_addresses


def addresses(name: str, host: Host) -> str:
    """Addresses of a name, in words: `at 203.0.113.5`, or `nowhere` with the reason."""
    try:
        return f"at {', '.join(sorted(host.addresses_of(name)))}"
    except OSError as error:
        return f"nowhere: {plain(error)}"


def _value(imap: ImapClient, key: str, instead: str) -> str:
    """One value of METADATA, asked for as core does: only where the capability is there after log-in."""
    if "METADATA" not in imap.capabilities():
        raise PromiseBroken(
            "the server does not advertise the IMAP capability METADATA after login",
            cause="metadata.not_advertised",
        )
    try:
        value = imap.get_metadata(key).get(key)
    except ImapError as error:
        raise PromiseBroken(f"METADATA cannot be read: {error}", cause="metadata.unreadable") from error
    if value is None or not value.value:
        raise PromiseBroken(
            f"METADATA has no value for {key}: clients would use {instead}", cause=MISSING.get(key, "")
        )
    return value.value


def _misled(service: str, name: str, host: Host) -> str:
    """Cause for which a name in METADATA does not lead to the target alone."""
    try:
        host.addresses_of(name)
    except OSError as error:
        silent = error.errno == socket.EAI_AGAIN
        return f"{service}.name_silent" if silent else f"{service}.name_does_not_resolve"
    return f"{service}.address_foreign"


def _resolved(name: str, host: Host) -> frozenset[str]:
    try:
        return host.addresses_of(name)
    except OSError:
        return frozenset()


def _normal(name: str) -> str:
    return name.lower().rstrip(".")
