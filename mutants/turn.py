"""TURN services that are wrong in one way. Each function runs one until a signal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from reference_server.turn.__main__ import main
from reference_server.turn.allocations import Allocation
from reference_server.turn.ledger import CLASS_OF, CLASSES
from reference_server.turn.server import Forwarding, Strategies
from reference_server.turn.service import TurnService

__all__ = ["forwarding_media_one_way", "losing_every_fifth"]

RTP = CLASSES.index("rtp")
FIFTH = 5


def _forwarding(arguments: Sequence[str], forwarding: Forwarding) -> int:
    def adapt(standard: Strategies) -> Strategies:
        return replace(standard, forwarding=forwarding)

    return main(arguments, partial(TurnService, adapt=adapt))


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
    return _forwarding(arguments, OneWay())


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
    return _forwarding(arguments, FourOfFive())
