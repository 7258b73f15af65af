"""TURN stands still, or is killed and started again, while people talk: what they notice, and what comes back."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping
from functools import partial

from ..calls.call import Media, place
from ..calls.peers import NoRelayCandidate
from ..clients.turn.client import TurnClient, TurnCredentials, TurnError
from ..report.observations import Measured
from ..servers.server import Program, ServerError
from ..stage.check import check
from ..stage.outcome import Outcome
from ..stage.stage import Stage
from ..steps.call_judges import expect_active, judge_relayed_call
from ..steps.calls import CALL_WITHIN, NEEDS, TURN_WORKS, Callers, account_now, friends, machine_too_slow
from ..steps.pauses import BEFORE, paused, talk_across, wait_until_closed
from ..target import Impact, Service
from ..urls import TurnUrl
from ..waiting import WaitTimeout, now

__all__ = ["call_survives_a_pause_of_turn", "calling_survives_a_restart_of_turn"]

progress = logging.getLogger("harness.progress")

PAUSE = 3.0
"""Seconds. aioice gives a call up after half a minute without an answer (RFC 7675)."""
TURN = (Service.TURN,)
WATCHED = "ImapInboxIdle"
BACK_WITHIN = 60.0
"""Seconds in which a core comes back to a mail server that was restarted."""


@check("TURN-10", needs=NEEDS, disturbs=TURN, impact=Impact.HARMFUL, after=TURN_WORKS)
def call_survives_a_pause_of_turn(stage: Stage, outcome: Outcome) -> None:
    """TURN stands still for 3 s during a call: the call stays up, and then each side hears the other again."""
    turn = stage.server.program(Service.TURN)
    with friends(stage) as callers:
        with callers.calling("paused", Media(policy="relay")) as call:
            pause, talked = talk_across(call, PAUSE, partial(paused, turn), "TURN stood still")
            account_now(callers, "paused", call, talked)
            expect_active(outcome, "after the pause", call.ringing.states)
        pause.judge(outcome, talked)


@check("TURN-2", "TURN-10", needs=NEEDS, disturbs=TURN, impact=Impact.HARMFUL, after=TURN_WORKS)
def calling_survives_a_restart_of_turn(stage: Stage, outcome: Outcome) -> None:
    """TURN is killed and started again: the call that it carried ends, the next one works with what phones know."""
    turn = stage.server.program(Service.TURN)
    with friends(stage) as callers:
        with callers.calling("cut-off", Media(policy="relay")) as call:
            with machine_too_slow():
                call.play_on(BEFORE)
            watched = {name: len(each.account.events(WATCHED)) for name, each in callers.devices.items()}
            killed = now()
            turn.restart(kill=True)
            progress.info("TURN was killed and started again")
            if refusal := _refusal(callers):
                outcome.expect(False, f"TURN rejects credentials issued before its restart: {refusal}")
                return
            wait_until_closed(outcome, "cut-off", call, killed)
            if stage.server.programs.get(Service.MAIL) is turn:
                _wait_until_back(callers, watched)
            states = call.ringing.states
        outcome.note(f"when the media had died, core still said {states}: only the window of a call notices")
        _call_without_turn(callers, turn)
        judge_relayed_call(callers, "after-the-restart", video=False)


def _wait_until_back(callers: Callers, watched: Mapping[str, int]) -> None:
    """Mail was killed with TURN: the cores log in again by themselves. `watched`: how often they did before."""
    for name, device in callers.devices.items():
        again = device.account.follow(WATCHED, "the inbox to be watched again", within=BACK_WITHIN)
        next(itertools.islice(again, watched[name], None))


def _refusal(callers: Callers) -> str:
    """The answer of TURN to the credentials that alice's core has had all the time; empty: it takes them."""
    [server, *_] = callers.servers["alice"]
    credentials = TurnCredentials(server.username or "", server.credential or "")
    try:
        with TurnClient(callers.devices["alice"].host, TurnUrl.parse(server.urls[0]), credentials) as client:
            client.allocate()
            client.refresh(0)
    except (TurnError, WaitTimeout) as error:
        return str(error)
    return ""


def _call_without_turn(callers: Callers, turn: Program) -> None:
    """Call while TURN stands still: it does not ring, and who called is told why."""
    outcome, bob = callers.outcome, callers.devices["bob"].account
    rang = len(bob.events("IncomingCall"))
    with callers.with_peers("without-turn") as both, paused(turn):
        try:
            place(*both, Media(policy="relay"), within=CALL_WITHIN)
        except NoRelayCandidate as error:
            outcome.observe(Measured("the caller is told while TURN stands still", str(error)))
        else:
            raise ServerError("TURN was made to stand still, and yet it gave a relayed transport address")
    rings = len(bob.events("IncomingCall")) - rang
    outcome.expect(rings == 0, "bob's phone rang although alice's call had no relayed transport address")
