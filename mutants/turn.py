"""TURN servers that are wrong in one way. Each function runs one until a signal."""

from __future__ import annotations

import ipaddress
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from reference_server.turn.__main__ import main
from reference_server.turn.allocations import Allocation, Channel, FiveTuple, Permissions
from reference_server.turn.core import Strategies
from reference_server.turn.credentials import Credentials, SharedSecrets
from reference_server.turn.ledger import CLASS_OF, CLASSES, TurnLedger
from reference_server.turn.peers import PeerPolicy
from reference_server.turn.service import TurnService
from reference_server.turn.settings import Transport, TurnSettings
from reference_server.turn.stun import Address

__all__ = [
    "accepting_any_realm",
    "accepting_expired_credentials",
    "asking_for_the_expiry_each_time",
    "counting_control_as_traffic",
    "dropping_every_20th",
    "ending_channels_early",
    "ending_calls_when_paused",
    "forgetting_its_secret",
    "forwarding_media_one_way",
    "forwarding_without_permissions",
    "leaving_errors_unsigned",
    "listening_on_ipv4_only",
    "losing_every_fifth",
    "losing_every_fifth_of_streams",
    "open_to_loopback",
    "reporting_nothing",
    "reporting_twice_as_much",
    "telling_a_wrong_relay_ip",
    "with_few_places",
    "with_one_direction_dead",
]

EVERY = 20
RTP = CLASSES.index("rtp")
FIFTH = 5
PART = 3 / 8
"""Of a channel's lifetime, after which clients believe that it lives for a while yet."""
FEW_PLACES = 5
WAYS = ("to_peer", "to_client")
SHORT_PAUSE = 1.5
"""Seconds."""


def _adapted(arguments: Sequence[str], adapt: Callable[[Strategies], Strategies]) -> int:
    return main(arguments, partial(TurnService, adapt=adapt))


def _with_settings(arguments: Sequence[str], **changes: bool) -> int:
    def service(settings: TurnSettings, *others: object, **options: object) -> TurnService:
        return TurnService(replace(settings, **changes), *others, **options)  # type: ignore[arg-type]

    return main(arguments, service)


def _with_credentials(arguments: Sequence[str], make: Callable[[Sequence[str], str], Credentials]) -> int:
    """`make` is given the secrets and the realm."""

    def service(
        settings: TurnSettings, secrets: Sequence[str], ledger: TurnLedger, **options: object
    ) -> TurnService:
        def adapt(right: Strategies) -> Strategies:
            return replace(right, credentials=make(secrets, settings.realm))

        return TurnService(settings, secrets, ledger, adapt=adapt, **options)  # type: ignore[arg-type]

    return main(arguments, service)


def listening_on_ipv4_only(arguments: Sequence[str]) -> int:
    return main([word for word in arguments if not word.startswith("--listen=udp://[")])


def telling_a_wrong_relay_ip(arguments: Sequence[str]) -> int:
    return main([*arguments, "--relay-ip", "203.0.113.7"])  # RFC 5737: nobody lives there


def leaving_errors_unsigned(arguments: Sequence[str]) -> int:
    return _with_settings(arguments, sign_errors=False)


class AnyRealm:
    """Takes the realm of the request for its own."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._secrets = secrets

    def keys(self, username: bytes, realm: bytes) -> Sequence[bytes]:
        return SharedSecrets(self._secrets, realm.decode(errors="replace")).keys(username, realm)


def accepting_any_realm(arguments: Sequence[str]) -> int:
    return _with_credentials(arguments, lambda secrets, _realm: AnyRealm(secrets))


class NeverExpired(SharedSecrets):
    def unexpired(self, username: bytes) -> bool:
        """Any number will do."""
        return username.isdigit()


def accepting_expired_credentials(arguments: Sequence[str]) -> int:
    return _with_credentials(arguments, NeverExpired)


def asking_for_the_expiry_each_time(arguments: Sequence[str]) -> int:
    return _with_settings(arguments, outlive_credentials=False)


class NoPermissions(Permissions):
    def permits(self, allocation: Allocation, host: str, now: float, /) -> bool:
        """Everybody may send to everybody."""
        del allocation, host, now
        return True


def forwarding_without_permissions(arguments: Sequence[str]) -> int:
    return _adapted(arguments, lambda right: replace(right, permissions=NoPermissions()))


@dataclass(frozen=True, slots=True)
class ShortChannels(Permissions):
    """Channels live for a part of their `lifetime`, whatever the server says, and permissions apart from them."""

    strict: bool = True
    lifetime: float = 600.0

    def open_until(self, channel: Channel, /) -> float:
        return channel.expires - (1 - PART) * self.lifetime


def ending_channels_early(arguments: Sequence[str]) -> int:
    def service(settings: TurnSettings, *others: object, **options: object) -> TurnService:
        permissions = ShortChannels(lifetime=settings.channel_lifetime)

        def adapt(right: Strategies) -> Strategies:
            return replace(right, permissions=permissions)

        return TurnService(settings, *others, adapt=adapt, **options)  # type: ignore[arg-type]

    return main(arguments, service)


class ControlIsTraffic(TurnLedger):
    """Says of every allocation that it carried what its client and the server only said to each other."""

    def snapshot(self) -> dict[str, Any]:
        found = super().snapshot()
        for each in found["allocations"]:
            said = each["control"]
            traffic = {"to_peer": {"rtp": said["in"]}, "to_client": {"rtp": said["out"]}}
            each["peers"].append({"peer": "others", "channel": None, **traffic})
        return found


def counting_control_as_traffic(arguments: Sequence[str]) -> int:
    def service(
        settings: TurnSettings, secrets: Sequence[str], ledger: TurnLedger, **options: object
    ) -> TurnService:
        return TurnService(settings, secrets, ControlIsTraffic(enabled=ledger.enabled), **options)  # type: ignore[arg-type]

    return main(arguments, service)


class LoopbackOpen:
    """Relays of the server on loopback must be reachable for each other; here everything else there is, too."""

    def __init__(self, right: PeerPolicy) -> None:
        self._right = right

    def allows(self, peer: Address) -> bool:
        return ipaddress.ip_address(peer.host).is_loopback or self._right.allows(peer)


def open_to_loopback(arguments: Sequence[str]) -> int:
    return _adapted(arguments, lambda right: replace(right, peers=LoopbackOpen(right.peers)))


class DropEvery20th:
    def __init__(self) -> None:
        self._seen: dict[FiveTuple, int] = {}

    def __call__(self, allocation: Allocation, payload: bytes, /, *, to_peer: bool) -> bool:
        del payload
        if not to_peer:
            return True
        seen = self._seen[allocation.five_tuple] = self._seen.get(allocation.five_tuple, 0) + 1
        return seen % EVERY != 0


def dropping_every_20th(arguments: Sequence[str]) -> int:
    return _adapted(arguments, lambda right: replace(right, forwarding=DropEvery20th()))


class EverySecondIsMute:
    """What the second client sends goes nowhere, and so on in turn; everybody receives."""

    def __init__(self) -> None:
        self._order: dict[FiveTuple, int] = {}

    def __call__(self, allocation: Allocation, payload: bytes, /, *, to_peer: bool) -> bool:
        del payload
        return not to_peer or self._order.setdefault(allocation.five_tuple, len(self._order)) % 2 == 0


def with_one_direction_dead(arguments: Sequence[str]) -> int:
    return _adapted(arguments, lambda right: replace(right, forwarding=EverySecondIsMute()))


def _is_rtp(payload: bytes) -> bool:
    return bool(payload) and CLASS_OF[payload[0]] == RTP


class OneWay:
    """Of two clients that call through us, one is never heard: what is not RTP passes, so the call connects."""

    def __init__(self) -> None:
        self._order: dict[Allocation, int] = {}

    def __call__(self, allocation: Allocation, payload: bytes, /, *, to_peer: bool) -> bool:
        if not (to_peer and _is_rtp(payload)):
            return True
        return self._order.setdefault(allocation, len(self._order)) % 2 == 0


def forwarding_media_one_way(arguments: Sequence[str]) -> int:
    return _adapted(arguments, lambda right: replace(right, forwarding=OneWay()))


class FourOfFive:
    """Every fifth packet of media is lost."""

    def __init__(self) -> None:
        self._packets = 0

    def __call__(self, _allocation: Allocation, payload: bytes, /, *, to_peer: bool) -> bool:
        if not (to_peer and _is_rtp(payload)):
            return True
        self._packets += 1
        return self._packets % FIFTH != 0


def losing_every_fifth(arguments: Sequence[str]) -> int:
    return _adapted(arguments, lambda right: replace(right, forwarding=FourOfFive()))


class FourOfFiveOfStreams(FourOfFive):
    """As `FourOfFive`, for clients that come over TCP or TLS."""

    def __call__(self, allocation: Allocation, payload: bytes, /, *, to_peer: bool) -> bool:
        if allocation.five_tuple.transport is Transport.UDP:
            return True
        return super().__call__(allocation, payload, to_peer=to_peer)


def losing_every_fifth_of_streams(arguments: Sequence[str]) -> int:
    return _adapted(arguments, lambda right: replace(right, forwarding=FourOfFiveOfStreams()))


def with_few_places(arguments: Sequence[str]) -> int:
    def service(settings: TurnSettings, *others: object, **options: object) -> TurnService:
        few = replace(settings, limits=replace(settings.limits, allocations_per_source=FEW_PLACES))
        return TurnService(few, *others, **options)  # type: ignore[arg-type]

    return main(arguments, service)


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


def ending_calls_when_paused(arguments: Sequence[str]) -> int:
    return _adapted(arguments, lambda right: replace(right, forwarding=NoMediaAfterPause()))


def forgetting_its_secret(arguments: Sequence[str]) -> int:
    given = arguments[arguments.index("--secret-file") + 1]
    began, other = (Path(given).with_name(name) for name in ("turn-began", "turn-other-secret"))
    if not began.exists():
        began.touch()
        return main(arguments)
    other.write_text(secrets.token_urlsafe(32) + "\n")
    return main([str(other) if word == given else word for word in arguments])


class FalseLedger(TurnLedger):
    """Says so many times of what was carried."""

    factor = 2

    def snapshot(self) -> dict[str, Any]:
        found = super().snapshot()
        peers = [peer for allocation in found["allocations"] for peer in allocation["peers"]]
        for count in (count for peer in peers for way in WAYS for count in peer[way].values()):
            count["packets"] *= self.factor
            count["bytes"] *= self.factor
        return found


class EmptyLedger(FalseLedger):
    factor = 0


def _with_ledger(arguments: Sequence[str], kind: type[TurnLedger]) -> int:
    def service(
        settings: TurnSettings, secrets: Sequence[str], ledger: TurnLedger, **options: object
    ) -> TurnService:
        return TurnService(settings, secrets, kind(enabled=ledger.enabled), **options)  # type: ignore[arg-type]

    return main(arguments, service)


def reporting_twice_as_much(arguments: Sequence[str]) -> int:
    return _with_ledger(arguments, FalseLedger)


def reporting_nothing(arguments: Sequence[str]) -> int:
    return _with_ledger(arguments, EmptyLedger)
