"""TURN stands still, or is killed and started again, while people talk: what they notice, and what comes back."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from ..calls.agent import AgentError, NoRelayCandidate, Report
from ..calls.call import Call, Media, place
from ..clients.control import ControlError
from ..clients.core.rpc import now
from ..clients.turn.client import TurnClient, TurnCredentials, TurnError
from ..hosts import Host
from ..stage.session import DeviceFactory
from ..steps.calls import (
    CALL_WITHIN,
    WHOLE,
    Friends,
    account_now,
    judge_relayed_call,
    machine_too_slow,
    measure,
    need_agents,
    seated,
    set_up,
    talk,
    with_friends,
)
from ..steps.outcome import Outcome, check
from ..target import Impact, Target
from ..urls import TurnUrl
from ..waiting import Deadline, WaitTimeout

__all__ = [
    "call_survives_a_pause_of_turn",
    "calling_survives_a_restart_of_turn",
    "judge_pause",
    "wait_until_closed",
]

progress = logging.getLogger("harness.progress")

PAUSE = 3.0
"""Seconds. aioice gives a call up after half a minute without an answer (RFC 7675)."""
EARLY, LATE = 0.5, 1.0
"""Seconds by which the silence may differ from the pause; media was back 0.05 s after it (calls-and-media, A5)."""
CONSENT_ENDS = 45.0
"""Seconds: aioice gives up after six checks that are 4 to 6 s apart, and then says good-bye to TURN, which takes
6.4 s more where that does not answer."""


@check("TURN-10", needs=("iroh_relay", "turn", "faults"), impact=Impact.HARMFUL)
def call_survives_a_pause_of_turn(target: Target, host: Host, devices: DeviceFactory) -> Outcome:
    """TURN stands still for 3 s during a call: the call stays up, and then each side hears the other again."""
    need_agents()

    def judge(outcome: Outcome, friends: Friends) -> None:
        with seated(outcome, friends, "paused") as (caller, callee):
            call = set_up(outcome, "paused", caller, callee, Media(policy="relay"))
            with machine_too_slow():
                call.play_on(1.0)
            played = {side.name: side.agent.stats().played for side in call.sides}
            began = now()
            with _turn_paused(target), machine_too_slow():
                call.play_on(PAUSE)
            paused_for = now() - began
            progress.info("TURN goes on after %.1f s", paused_for)
            talked = talk(call, numbers=0)
            measure(outcome, "paused", call, talked, account_now(target, call))
            states = call.ringing.states
            call.hang_up(within=CALL_WITHIN)
        outcome.expect(
            set(states.values()) == {"Active"}, f"after the pause the users see {states}, not a call"
        )
        for listener, speaker in ((caller.name, callee.name), (callee.name, caller.name)):
            judge_pause(
                outcome,
                listener,
                talked.reports[listener],
                paused_at=played[speaker],
                paused_for=paused_for,
                played=talked.stats[speaker].played,
            )

    return with_friends(target, host, devices, judge)


@check("TURN-2", "TURN-10", needs=("iroh_relay", "turn", "faults"), impact=Impact.HARMFUL)
def calling_survives_a_restart_of_turn(target: Target, host: Host, devices: DeviceFactory) -> Outcome:
    """TURN is killed and started again: the call that it carried ends, the next one works with what phones know."""
    need_agents()
    assert target.control is not None
    control = target.control

    def judge(outcome: Outcome, friends: Friends) -> None:
        with seated(outcome, friends, "cut-off") as (caller, callee):
            call = set_up(outcome, "cut-off", caller, callee, Media(policy="relay"))
            with machine_too_slow():
                call.play_on(1.0)
            killed = now()
            control.restart("turn", kill=True)
            progress.info("TURN was killed and started again")
            if refusal := _refusal(host, friends):
                outcome.expect(
                    False, f"after its restart TURN is of no use to those who were there: {refusal}"
                )
                return
            outcome.measurements["closed_after_s"] = wait_until_closed(call, killed)
            states = call.ringing.states
            call.hang_up(within=CALL_WITHIN)
        outcome.measurements["states_after_media_died"] = states
        outcome.note(f"when the media had died, core still said {states}: only the window of a call notices")
        _call_without_turn(outcome, target, friends)
        judge_relayed_call(outcome, target, friends, "after-the-restart", video=False)

    return with_friends(target, host, devices, judge)


def judge_pause(
    outcome: Outcome,
    listener: str,
    report: Report,
    *,
    paused_at: float,
    paused_for: float,
    played: float,
    what: str = "TURN stood still",
) -> None:
    """The other side is heard until the pause and after it. `paused_at`, `played`: seconds of what that side played.

    What was said meanwhile may come late, out of the kernel's buffers, or be lost: to a listener both are silence.
    """
    audio = report.audio
    if audio is None or audio.seconds < WHOLE * played:
        heard = 0.0 if audio is None else audio.seconds
        outcome.expect(
            False, f"{listener} did not hear the other side again: {heard:.2f} of {played:.2f} s arrived"
        )
        return
    silence = max(audio.stalls, default=0.0)
    outcome.expect(
        paused_for - EARLY <= silence <= paused_for + LATE,
        f"{listener} had {silence:.2f} s of silence when {what} for {paused_for:.2f} s",
    )
    elsewhere = [
        gap
        for gap in audio.gaps
        if gap.start < paused_at - EARLY or gap.start + gap.length > paused_at + paused_for + LATE
    ]
    outcome.expect(
        not (elsewhere or audio.jumps or audio.others),
        f"{listener} heard the other side with faults apart from the pause: {len(elsewhere)} gaps, "
        f"{len(audio.jumps)} jumps, other streams {audio.others}",
    )


def _refusal(host: Host, friends: Friends) -> str:
    """What TURN says to the credentials that alice's core has had all the time; empty: it takes them."""
    [server, *_] = friends.servers[friends.alice.name]
    credentials = TurnCredentials(server.username or "", server.credential or "")
    try:
        with TurnClient(host, TurnUrl.parse(server.urls[0]), credentials) as client:
            client.allocate()
            client.refresh(0)
    except (TurnError, WaitTimeout) as error:
        return str(error)
    return ""


def wait_until_closed(call: Call, killed: float) -> dict[str, float]:
    """Seconds from `killed` (unix time) until each side noticed. That the agents do is up to us, not to the server."""
    deadline = Deadline(CONSENT_ENDS)
    noticed = {}
    for side in call.sides:
        try:
            closed = side.agent.wait_for("ice", "the end of ICE", within=deadline.remaining(), state="closed")
        except WaitTimeout as error:
            raise AgentError(f"an agent did not notice that its media had died: {error}") from error
        noticed[side.name] = round(closed.time - killed, 1)
        progress.info("%s noticed after %g s that the call is dead", side.name, noticed[side.name])
    return noticed


def _call_without_turn(outcome: Outcome, target: Target, friends: Friends) -> None:
    """Call while TURN stands still: it does not ring, and who called is told why."""
    rang = len(friends.bob.account.events("IncomingCall"))
    with seated(outcome, friends, "without-turn") as (caller, callee), _turn_paused(target):
        try:
            place(caller, callee, Media(policy="relay"), within=CALL_WITHIN)
        except NoRelayCandidate as error:
            said = str(error)
        else:
            raise ControlError("the server paused its TURN service, and yet that gave a relayed address")
    outcome.measurements["while_turn_stood_still"] = said
    rings = len(friends.bob.account.events("IncomingCall")) - rang
    outcome.expect(rings == 0, "bob's phone rang although alice's call had no relayed address")


@contextmanager
def _turn_paused(target: Target) -> Iterator[None]:
    assert target.control is not None
    target.control.pause("turn", paused=True)
    try:
        yield
    finally:
        target.control.pause("turn", paused=False)
