"""TURN servers that are wrong in one way."""

from __future__ import annotations

import ipaddress
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from reference_server.turn.allocations import Allocation, Channel, FiveTuple, Permissions
from reference_server.turn.core import Forwarding
from reference_server.turn.credentials import SharedSecrets
from reference_server.turn.ledger import CLASS_OF, CLASSES
from reference_server.turn.peers import PeerPolicy
from reference_server.turn.service import TurnService
from reference_server.turn.settings import Transport, TurnSettings
from reference_server.turn.stun import Address, AddressFamily

from .declaration import mutant

EVERY = 20
RTP = CLASSES.index("rtp")
FIFTH = 5
PART = 3 / 8
"""Of a channel's lifetime, after which clients believe that it lives for a while yet."""
FEW_PLACES = 5
SHORT_PAUSE = 1.5
"""Seconds."""


# Credentials


class AnyRealm:
    """Takes the realm of the request for its own."""

    def __init__(self, secrets: Sequence[str], _realm: str, *, bare: bool) -> None:
        self._secrets = secrets
        self._bare = bare

    def keys(self, username: bytes, realm: bytes) -> Sequence[bytes]:
        right = SharedSecrets(self._secrets, realm.decode(errors="replace"), bare=self._bare)
        return right.keys(username, realm)


@mutant(
    "turn",
    "credentials for any realm are accepted",
    kills={"turn.turn_refuses_wrong_credentials": "accepts credentials with another realm"},
)
def turn_realm_not_checked(settings: TurnSettings) -> TurnService:
    return TurnService(settings, credentials=AnyRealm)


class NeverExpired(SharedSecrets):
    def unexpired(self, username: bytes) -> bool:
        """Any number will do."""
        return username.isdigit()


@mutant(
    "turn",
    "credentials are good for ever",
    kills={
        "turn.turn_credentials_expire": "grants a new allocation with credentials that have expired",
        "turn.turn_refuses_wrong_credentials": "accepts credentials with an expiry in the past",
    },
)
def turn_expired_accepted(settings: TurnSettings) -> TurnService:
    return TurnService(settings, credentials=NeverExpired)


@mutant(
    "turn",
    "allocations cannot be refreshed any more when their credentials have expired",
    kills={
        "turn.turn_credentials_expire": "an allocation must outlive the credentials",
        "calls_lifetimes.relayed_call_outlives_credentials": "call ended by itself",
    },
)
def turn_refresh_refused_after_expiry(settings: TurnSettings) -> TurnService:
    return TurnService(replace(settings, outlive_credentials=False))


@mutant(
    "turn",
    "errors after authentication are not signed, so aioice does not see them",
    kills={"turn.turn_refuses_wrong_credentials": "an error after authentication is not signed"},
)
def turn_errors_unsigned(settings: TurnSettings) -> TurnService:
    return TurnService(replace(settings, sign_errors=False))


@mutant(
    "turn",
    "when TURN starts again, it refuses the credentials that METADATA gave before",
    kills={
        "calls_interrupted.calling_survives_a_restart_of_turn": (
            "TURN rejects credentials issued before its restart"
        )
    },
)
def turn_forgets_secret_at_restart(settings: TurnSettings) -> TurnService:
    assert settings.control is not None
    began = settings.control.with_name("turn-began")
    if not began.exists():
        began.touch()
        return TurnService(settings)
    return TurnService(replace(settings, secret_files=(), secrets=(secrets.token_urlsafe(32),)))


# Allocations, permissions, channels


@mutant(
    "turn",
    "clients are told relayed transport addresses that are not the server's",
    kills={
        "turn.turn_allocates_with_offered_credentials": "tells clients the relayed transport address 203.0.113.7:"
    },
)
def turn_wrong_relay_ip(settings: TurnSettings) -> TurnService:
    told = {**settings.relay_ips, AddressFamily.IPV4: "203.0.113.7"}  # RFC 5737: nobody lives there
    return TurnService(replace(settings, relay_ips=told))


@mutant(
    "turn",
    "people behind one address cannot make many calls at once",
    kills={"calls_many.calls_at_once": "486"},
)
def turn_few_places(settings: TurnSettings) -> TurnService:
    return TurnService(replace(settings, limits=replace(settings.limits, allocations_per_source=FEW_PLACES)))


class NoPermissions(Permissions):
    def permits(self, allocation: Allocation, host: str, now: float, /) -> bool:
        """Everybody may send to everybody."""
        del allocation, host, now
        return True


@mutant(
    "turn",
    "data passes without a permission",
    kills={"turn.turn_enforces_permissions": "without a permission for"},
)
def turn_permissions_not_enforced(settings: TurnSettings) -> TurnService:
    return TurnService(settings, adapt=lambda right: replace(right, permissions=NoPermissions()))


@dataclass(frozen=True, slots=True)
class NoOutsiders(Permissions):
    """Relays of the server's own hosts reach each other, and nothing passes between them and anybody else."""

    own: frozenset[str] = frozenset()

    def open_until(self, channel: Channel, /) -> float:
        return Permissions.open_until(self, channel) if channel.peer.host in self.own else 0.0

    def permits(self, allocation: Allocation, host: str, now: float, /) -> bool:
        return host in self.own and Permissions.permits(self, allocation, host, now)


@mutant(
    "turn",
    "a firewall closes the range of relay ports: two clients of the server reach each other, nobody else does",
    kills={
        "turn_from_outside.relayed_address_answers_a_plain_peer": (
            "nothing from outside reaches the relayed transport address"
        ),
        "calls_paths.one_leg_call_is_relayed": "2 sides use an allocation, where one is enough",
    },
)
def turn_relay_ports_closed(settings: TurnSettings) -> TurnService:
    own = frozenset(listener.address.host for listener in settings.listeners)
    return TurnService(settings, adapt=lambda right: replace(right, permissions=NoOutsiders(own=own)))


@dataclass(frozen=True, slots=True)
class ShortChannels(Permissions):
    """Channels live for a part of their `lifetime`, whatever the server says, and permissions apart from them."""

    strict: bool = True
    lifetime: float = 600.0

    def open_until(self, channel: Channel, /) -> float:
        return channel.expires - (1 - PART) * self.lifetime


@mutant(
    "turn",
    "channels live for three eighths of their lifetime",
    kills={"calls_lifetimes.relayed_call_outlives_lifetimes": "heard nothing for"},
)
def turn_channels_expire_early(settings: TurnSettings) -> TurnService:
    short = ShortChannels(lifetime=settings.channel_lifetime)
    return TurnService(settings, adapt=lambda right: replace(right, permissions=short))


class LoopbackOpen:
    """Relays of the server on loopback must be reachable for each other; here everything else there is, too."""

    def __init__(self, right: PeerPolicy) -> None:
        self._right = right

    def allows(self, peer: Address) -> bool:
        return ipaddress.ip_address(peer.host).is_loopback or self._right.allows(peer)


@mutant(
    "turn",
    "the exception for relays of the server itself covers all of loopback",
    kills={"turn.turn_enforces_permissions": "a datagram was relayed to a program on 127."},
)
def turn_loopback_open(settings: TurnSettings) -> TurnService:
    return TurnService(settings, adapt=lambda right: replace(right, peers=LoopbackOpen(right.peers)))


class NobodyElse:
    """A peer must be a relayed transport address of this server, which it never asks about."""

    def allows(self, peer: Address) -> bool:
        del peer
        return False


@mutant(
    "turn",
    "a peer must have an allocation of its own, as if every phone had one in use",
    kills={
        "calls_paths.one_leg_call_is_relayed": "use an allocation, where one is enough for both",
        "turn_from_outside.relayed_address_answers_a_plain_peer": "403",
    },
)
def turn_relays_to_its_own_only(settings: TurnSettings) -> TurnService:
    return TurnService(settings, adapt=lambda right: replace(right, peers=NobodyElse()))


# Forwarding


def _forwarding(settings: TurnSettings, forwarding: Forwarding) -> TurnService:
    return TurnService(settings, adapt=lambda right: replace(right, forwarding=forwarding))


def _is_rtp(payload: bytes) -> bool:
    return bool(payload) and CLASS_OF[payload[0]] == RTP


class DropEvery20th:
    def __init__(self) -> None:
        self._seen: dict[FiveTuple, int] = {}

    def __call__(self, allocation: Allocation, payload: bytes, /, *, to_peer: bool) -> bool:
        del payload
        if not to_peer:
            return True
        seen = self._seen[allocation.five_tuple] = self._seen.get(allocation.five_tuple, 0) + 1
        return seen % EVERY != 0


@mutant(
    "turn",
    "one of twenty datagrams is lost",
    kills={"turn.turn_allocates_with_offered_credentials": "of 48 datagrams were lost or changed"},
)
def turn_drops_every_20th(settings: TurnSettings) -> TurnService:
    return _forwarding(settings, DropEvery20th())


class EverySecondIsMute:
    """Whatever the second client sends goes nowhere, and so on in turn; everybody receives."""

    def __init__(self) -> None:
        self._order: dict[FiveTuple, int] = {}

    def __call__(self, allocation: Allocation, payload: bytes, /, *, to_peer: bool) -> bool:
        del payload
        return not to_peer or self._order.setdefault(allocation.five_tuple, len(self._order)) % 2 == 0


@mutant(
    "turn",
    "one of two clients is heard by nobody",
    kills={"turn.turn_allocates_with_offered_credentials": "none of 48 datagrams arrived"},
)
def turn_one_direction_dead(settings: TurnSettings) -> TurnService:
    return _forwarding(settings, EverySecondIsMute())


class OneWay:
    """Of two clients that call through us, one is never heard: what is not RTP passes, so the call connects."""

    def __init__(self) -> None:
        self._order: dict[Allocation, int] = {}

    def __call__(self, allocation: Allocation, payload: bytes, /, *, to_peer: bool) -> bool:
        if not (to_peer and _is_rtp(payload)):
            return True
        return self._order.setdefault(allocation, len(self._order)) % 2 == 0


@mutant(
    "turn",
    "calls connect through TURN, but one side hears nothing",
    kills={"calls.relayed_call_is_heard_and_seen": "audio to arrive at the peer"},
)
def turn_forwards_one_way(settings: TurnSettings) -> TurnService:
    return _forwarding(settings, OneWay())


class FourOfFive:
    """Every fifth packet of media is lost."""

    def __init__(self) -> None:
        self._packets = 0

    def __call__(self, _allocation: Allocation, payload: bytes, /, *, to_peer: bool) -> bool:
        if not (to_peer and _is_rtp(payload)):
            return True
        self._packets += 1
        return self._packets % FIFTH != 0


@mutant(
    "turn",
    "TURN loses every fifth packet of media",
    kills={
        "calls.relayed_call_is_heard_and_seen": "the account does not balance",
        "calls_changes.calls_on_bad_links_stay_up": "were lost, at most",
    },
)
def turn_loses_every_fifth(settings: TurnSettings) -> TurnService:
    return _forwarding(settings, FourOfFive())


class FourOfFiveOfStreams(FourOfFive):
    """As `FourOfFive`, for clients that come over TCP or TLS."""

    def __call__(self, allocation: Allocation, payload: bytes, /, *, to_peer: bool) -> bool:
        if allocation.five_tuple.transport is Transport.UDP:
            return True
        return super().__call__(allocation, payload, to_peer=to_peer)


@mutant(
    "turn",
    "over TCP and TLS, TURN loses every fifth packet of media",
    kills={"calls.relayed_call_over_tcp_and_tls": "the account does not balance"},
)
def turn_loses_every_fifth_of_streams(settings: TurnSettings) -> TurnService:
    return _forwarding(settings, FourOfFiveOfStreams())


class NoMediaAfterPause:
    """Media that has stopped for a moment may not go on."""

    def __init__(self) -> None:
        self._latest = float("inf")

    def __call__(self, _allocation: Allocation, payload: bytes, /, *, to_peer: bool) -> bool:
        if not (to_peer and _is_rtp(payload)):
            return True
        now = time.monotonic()
        if now > self._latest + SHORT_PAUSE:
            return False
        self._latest = now
        return True


@mutant(
    "turn",
    "media that has stopped for a moment does not go on",
    kills={
        "calls_interrupted.call_survives_a_pause_of_turn": "did not hear the other side again",
        "calls_changes.calls_survive_outages": "did not hear the other side again",
    },
)
def turn_ends_calls_when_paused(settings: TurnSettings) -> TurnService:
    return _forwarding(settings, NoMediaAfterPause())
