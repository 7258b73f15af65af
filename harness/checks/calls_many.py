"""Calls at the same time, through one TURN server.

Two cores signal all of them: a core is a phone's program, and what carries media is an agent. Cores cost next to
nothing once a call is up, and one more pair of them for each call would measure the machine rather than the server.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

from ..calls.agent import Stats
from ..calls.balance import SLACK, CallAccount, account, carried_by_sender, carried_since
from ..calls.call import Call, Media, Party, Talked, talk_at_once
from ..calls.quality import MachineTooSlow
from ..clients.control import ServiceLedger
from ..hosts import Host
from ..stage.session import DeviceFactory
from ..steps.calls import (
    CALL_WITHIN,
    SECONDS,
    Friends,
    judge_audio,
    judge_balance,
    keeps_ledger,
    machine_too_slow,
    measure,
    need_agents,
    seated,
    set_up,
    turn_ledger_of,
    with_friends,
)
from ..steps.outcome import Outcome, check
from ..target import Impact, Target
from ..waiting import WaitTimeout

__all__ = ["calls_at_once"]

progress = logging.getLogger("harness.progress")

SIX = 6
"""Audio calls; eight saturate two processors (calls-and-media, A6)."""


# Two allocations and more for each call, all of one address: a server of somebody else may take that for misuse.
@check("TURN-10", "E2E-path", needs=("iroh_relay", "turn"), impact=Impact.LEAVES_TRACES)
def calls_at_once(target: Target, host: Host, devices: DeviceFactory, calls: int = SIX) -> Outcome:
    """Six audio calls at once through TURN: each is heard whole, each account balances, and so does their sum."""
    need_agents()

    def judge(outcome: Outcome, friends: Friends) -> None:
        known = turn_ledger_of(target) if keeps_ledger(target) else None
        with ExitStack() as stack:
            pairs = {
                f"{number}-of-{calls}": stack.enter_context(
                    seated(outcome, friends, f"{number}-of-{calls}", streams=(2 * number - 1, 2 * number))
                )
                for number in range(1, calls + 1)
            }  # all of them first: the start of a program would take the time of those who talk
            progress.info("%d agents are ready", 2 * calls)
            up = _set_up_all(outcome, pairs)
            talked = _talk_all(up)
            stats = {
                name: {side.name: side.agent.stats() for side in call.sides} for name, call in up.items()
            }
            ledger = turn_ledger_of(target) if keeps_ledger(target) else None
            for call in up.values():
                call.hang_up(within=CALL_WITHIN)
        for (name, call), said in zip(up.items(), talked, strict=True):
            carried = None if ledger is None else carried_by_sender(ledger, stats[name])
            _judge_call(outcome, name, call, said, account(stats[name], "relayed", carried))
        if known is None or ledger is None:
            outcome.note(
                "the target keeps no ledger: only the agents themselves say which way the media took"
            )
        else:
            _judge_sum(outcome, list(stats.values()), known, ledger)
        proven = ledger is not None and outcome
        outcome.paths["media"] = f"relayed({target.name})" if proven else "relayed, not proven"

    return with_friends(target, host, devices, judge)


def _set_up_all(outcome: Outcome, pairs: Mapping[str, tuple[Party, Party]]) -> dict[str, Call]:
    """One after the other; those that are up talk already. Raises `MachineTooSlow` if they could not."""
    up: dict[str, Call] = {}
    try:
        for name, (caller, callee) in pairs.items():
            up[name] = set_up(outcome, name, caller, callee, Media(policy="relay"))
    except WaitTimeout:
        for side in itertools.chain.from_iterable(call.sides for call in up.values()):
            side.agent.stats().check_pace(side.name)
        raise
    return up


def _talk_all(up: Mapping[str, Call]) -> Sequence[Talked]:
    with machine_too_slow():
        talked = talk_at_once(list(up.values()), SECONDS)
    for name, each in zip(up, talked, strict=True):
        try:
            each.check_pace()
        except MachineTooSlow as error:
            raise MachineTooSlow(f"{error}, in call {name}") from error
    return talked


def _judge_call(outcome: Outcome, name: str, call: Call, talked: Talked, balance: CallAccount) -> None:
    measure(outcome, name, call, talked, balance)
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
    outcome.measurements["packets_of_all_calls"] = {"agents": ours, "server": carried}
    outcome.expect(
        abs(ours - carried) <= 2 * SLACK * len(sides),
        f"the agents of all calls sent and received {ours} packets of media, the server says {carried}",
    )
