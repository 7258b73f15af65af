"""One call between two real clients, with TURN as its only way: what a look from one host cannot show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..calls.agent import require_agents
from ..calls.call import Media
from ..calls.quality import MachineTooSlow
from ..hosts import MissingCapability
from ..network.profiles import Profile
from ..report.looks import CallLook
from ..report.observations import CallSeen
from ..servers.server import Unsupported
from ..stage.lab import LabStage
from ..stage.outcome import Outcome, PromiseBroken, promised
from ..stage.stage import Stage
from ..text import clean
from ..waiting import WaitTimeout
from .call_lab import lab_callers
from .calls import FAILURES, Callers, friends, talk

__all__ = ["call_through_turn"]

SECONDS = 1.0
NAME = "doctor"


def call_through_turn(stage: Stage | LabStage, network: Profile | None = None) -> CallLook:
    """Let alice call bob, each in a network of that kind where `stage` is a lab, and talk for a second."""
    outcome = stage.outcome
    try:
        require_agents()
        with (
            _callers(stage, network) as callers,
            promised(*FAILURES),
            callers.calling(NAME, Media(policy="relay")) as call,
        ):
            talked = talk(call, SECONDS, numbers=0)
    except PromiseBroken as broken:
        return CallLook("failed", clean(str(broken)), _connected(outcome))
    except (MachineTooSlow, MissingCapability, Unsupported, WaitTimeout) as ours:
        return CallLook("undecided", clean(str(ours)), _connected(outcome))
    deaf = [name for name, report in talked.reports.items() if report.audio is None]
    if talked.path != "relayed" or deaf or talked.ended:
        heard = f"; {' and '.join(deaf)} heard nothing" if deaf else ""
        return CallLook("failed", f"the call is {talked.path}{heard}", _connected(outcome))
    return CallLook("heard", connected_ms=_connected(outcome))


@contextmanager
def _callers(stage: Stage | LabStage, network: Profile | None) -> Iterator[Callers]:
    if isinstance(stage, Stage):
        with friends(stage) as callers:
            yield callers
        return
    assert network is not None, "in a lab, callers are in a network"
    with lab_callers(stage, {"alice": network, "bob": network}) as in_lab:
        in_lab.befriend("alice", "bob")
        yield in_lab


def _connected(outcome: Outcome) -> float | None:
    calls = [each for each in outcome.observations if isinstance(each, CallSeen)]
    return calls[-1].phases.connected_ms if calls and calls[-1].phases else None
