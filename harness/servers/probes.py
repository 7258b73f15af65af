"""Signs that a service is there: each is looked at again and again until it is, so that none of them raises."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..clients.relay.client import RelayError, probe
from ..clients.turn.client import TurnClient, TurnCredentials, TurnError
from ..hosts import Host
from ..urls import RelayUrl, TurnUrl
from ..waiting import WaitTimeout

__all__ = ["Sign", "Signs", "answers_http", "answers_stun"]

STUN_WITHIN = 0.5
HTTP_WITHIN = 1.0
ANY_STATUS = 1000


@dataclass(frozen=True)
class Sign:
    """One sign of readiness."""

    sentence: str
    """Completes "did not ..."."""
    holds: Callable[[], object]


class Signs:
    """Several signs, all of which are needed."""

    def __init__(self, signs: Sequence[Sign] = ()) -> None:
        self.signs = signs
        self._missing: Sign | None = None

    def hold(self) -> bool:
        """All of them do. The one that did not, the last time, is looked at first: looks at others fill a backlog."""
        if self._missing is not None and not self._missing.holds():
            return False
        self._missing = next((sign for sign in self.signs if not sign.holds()), None)
        return self._missing is None

    def missing(self) -> str:
        """The first that did not, the last time."""
        return self._missing.sentence if self._missing else ""


def answers_stun(host: Host, url: TurnUrl) -> bool:
    """A server answers a Binding request (RFC 8489)."""
    nobody = TurnCredentials(str(int(time.time())), "")
    try:
        with TurnClient(host, url, nobody, within=STUN_WITHIN) as client:
            client.binding()
    except (TurnError, WaitTimeout, OSError):
        return False
    return True


def answers_http(host: Host, url: RelayUrl, path: str, *, below: int = ANY_STATUS) -> bool:
    """A server answers a GET over plain HTTP, with a status below that."""
    try:
        return probe(host, url, path, within=HTTP_WITHIN).status < below
    except (RelayError, WaitTimeout, OSError):
        return False
