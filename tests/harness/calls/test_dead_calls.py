"""When a peer says that its media died: aiortc and libwebrtc have words of their own for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from harness.calls.peers import PeerEvent
from harness.report.observations import Timing
from harness.stage.outcome import Outcome
from harness.steps.pauses import wait_until_closed

HAPPENED = 1000.0
AIORTC = (("ice", "completed", -1), ("connection", "connected", -1), ("ice", "closed", 28.1))
CHROMIUM = (
    ("connection", "connected", -1),
    ("ice", "disconnected", 5.8),
    ("connection", "disconnected", 5.8),
    ("connection", "failed", 15.8),
)


class Said:
    """A peer by its events."""

    def __init__(self, states: tuple[tuple[str, str, float], ...]) -> None:
        self._events = [PeerEvent(HAPPENED + at, kind, {"state": state}) for kind, state, at in states]

    def events(self, kind: str) -> tuple[PeerEvent, ...]:
        return tuple(each for each in self._events if each.kind == kind)


@pytest.mark.parametrize(("states", "noticed"), [(AIORTC, 28.1), (CHROMIUM, 15.8)])
def test_each_kind_of_peer_notices_in_its_own_words(states, noticed):
    outcome = Outcome()
    call: Any = SimpleNamespace(sides=[SimpleNamespace(name="alice", peer=Said(states))])
    wait_until_closed(outcome, "a change", call, HAPPENED)
    [timing] = outcome.observations
    assert isinstance(timing, Timing) and timing.seconds == (noticed,)
