"""Calls at the same time, through one TURN server.

Two cores signal all of them: a core is a phone's program, and what carries media is an agent. Cores cost next to
nothing once a call is up, and one more pair of them for each call would measure the machine rather than the server.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from ..calls.balance import SLACK, CallAccount, account, carried_by_sender, carried_since
from ..calls.call import Call, Media, Party, TalkResult, talk_at_once
from ..calls.kinds import AIORTC
from ..calls.peers import Stats
from ..calls.quality import MachineTooSlow
from ..clients.control import ServiceLedger
from ..report.observations import Measured
from ..stage.check import check
from ..stage.outcome import Outcome
from ..stage.stage import Stage
from ..steps.call_judges import judge_audio, judge_balance, observe_path
from ..steps.calls import (
    CALL_WITHIN,
    NEEDS,
    SECONDS,
    TURN_WORKS,
    Callers,
    friends,
    machine_too_slow,
    set_up,
)
from ..steps.observed import call_seen
from ..target import Impact
from ..waiting import WaitTimeout

__all__ = ["calls_at_once"]

progress = logging.getLogger("harness.progress")

SIX = 6
"""Audio calls; eight saturate two processors (calls-and-media, A6)."""


# Two allocations and more for each call, all of one address: a server of somebody else may take that for misuse.
@check("TURN-10", "E2E-path", needs=NEEDS, impact=Impact.LEAVES_TRACES, after=TURN_WORKS)
def calls_at_once(stage: Stage, outcome: Outcome, calls: int = SIX) -> None:
    """Six audio calls at once through TURN: each is heard whole, each account balances, and so does their sum."""
    stage.session.choice.peers.require_only(AIORTC, "a machine bears few browsers")
    with friends(stage) as callers:
        known = callers.ledger
        with ExitStack() as stack:
            up = _set_up_all(outcome, _seat_all(callers, calls, stack))
            talked = _talk_all(up)
            stats = {name: {side.name: side.peer.stats() for side in call.sides} for name, call in up.items()}
            ledger = callers.ledger
            for call in up.values():
                call.hang_up(within=CALL_WITHIN)
        for (name, call), said in zip(up.items(), talked, strict=True):
            carried = None if ledger is None else carried_by_sender(ledger, stats[name])
            _judge_call(outcome, name, call, said, account(stats[name], "relayed", carried))
        if known is not None and ledger is not None:
            _judge_sum(outcome, list(stats.values()), known, ledger)
        observe_path(callers, f"{calls} calls", "relayed")


def _seat_all(callers: Callers, calls: int, stack: ExitStack) -> Mapping[str, tuple[Party, Party]]:
    """All of them before the first call: the start of a program would take the time of those who talk."""
    pairs = {}
    for number in range(1, calls + 1):
        name = f"{number}-of-{calls}"
        pairs[name] = stack.enter_context(callers.with_peers(name, streams=(2 * number - 1, 2 * number)))
    progress.info("%d agents are ready", 2 * calls)
    return pairs


def _set_up_all(outcome: Outcome, pairs: Mapping[str, tuple[Party, Party]]) -> dict[str, Call]:
    """One after the other; those that are up talk already. Raises `MachineTooSlow` if they could not."""
    up: dict[str, Call] = {}
    try:
        for name, (caller, callee) in pairs.items():
            up[name] = set_up(outcome, name, caller, callee, Media(policy="relay"))
    except WaitTimeout:
        for side in itertools.chain.from_iterable(call.sides for call in up.values()):
            side.peer.stats().check_pace(side.name)
        raise
    return up


def _talk_all(up: Mapping[str, Call]) -> Sequence[TalkResult]:
    with machine_too_slow():
        talked = talk_at_once(list(up.values()), SECONDS)
    for name, each in zip(up, talked, strict=True):
        try:
            each.check_pace()
        except MachineTooSlow as error:
            raise MachineTooSlow(f"{error}, in call {name}") from error
    return talked


def _judge_call(outcome: Outcome, name: str, call: Call, talked: TalkResult, balance: CallAccount) -> None:
    outcome.observe(call_seen(name, call.ringing.phases, talked.path, balance, talked.reports))
    for each in balance.directions:
        report, played = talked.reports[each.receiver], talked.stats[each.sender].played
        judge_audio(outcome, f"{each.receiver} in {name}", report, played)
    judge_balance(outcome, name, balance)
    outcome.expect(talked.path == "relayed", f"the call {name} should be relayed, it is {talked.path}")


def _judge_sum(
    outcome: Outcome, stats: Sequence[Mapping[str, Stats]], known: ServiceLedger, ledger: ServiceLedger
) -> None:
    """All that the agents sent and received is all that new allocations took over and handed out."""
    sides = [side.traffic for each in stats for side in each.values()]
    ours = sum(each.packets_sent + each.packets_received for each in sides)
    carried = carried_since(known, ledger).packets
    for who, counted in (("agents", ours), ("server", carried)):
        outcome.observe(Measured("media of all calls", counted, "packets", subject=who))
    outcome.expect(
        abs(ours - carried) <= 2 * SLACK * len(sides),
        f"the agents of all calls sent and received {ours} packets of media, the server says {carried}",
    )
