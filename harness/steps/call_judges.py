"""Judges of a call: what one side heard and saw of the other, the account of packets, and the way that they took."""

from __future__ import annotations

from collections.abc import Mapping

from ..calls.balance import CallAccount
from ..calls.call import Call, Media, TalkResult
from ..calls.peers import Report, Stats
from ..calls.quality import LONGEST_PAUSE
from ..stage.outcome import Outcome
from ..target import Service
from .calls import NUMBERS, SECONDS, Callers, account_now, talk
from .observed import path_by_agents

__all__ = [
    "VIDEO",
    "WHOLE",
    "expect_active",
    "judge_audio",
    "judge_balance",
    "judge_numbers",
    "judge_relayed_call",
    "judge_video",
    "observe_path",
    "talk_through_turn",
]

VIDEO = (320, 240, 15.0)
MOST_GAPS = 5
"""Silences that are told one by one."""
WHOLE = 0.9
"""Part of what was played that must be there: the first frames may come before the other side listens."""
WITHOUT_LEDGER = "TURN keeps no ledger here: only the agents themselves say which way the media took"


def judge_relayed_call(callers: Callers, name: str, *, video: bool = True) -> None:
    """Make a call with no way but TURN and judge all of it: media, data messages, account and path."""
    media = Media(video=VIDEO if video else None, policy="relay")
    with callers.calling(name, media) as call:
        talked = talk_through_turn(callers, call, name)
    if video:
        for side, report in talked.reports.items():
            others = (stats for name, stats in talked.stats.items() if name != side)
            left_out = talked.stats[side].pictures_dropped + sum(each.pictures_not_sent for each in others)
            judge_video(callers.outcome, side, report, left_out)


def talk_through_turn(
    callers: Callers,
    call: Call,
    name: str,
    *,
    seconds: float = SECONDS,
    longest_pause: float = LONGEST_PAUSE,
) -> TalkResult:
    """Talk in a call that is relayed; judge what was heard, the way that it took, and the account with TURN."""
    outcome = callers.outcome
    talked = talk(call, seconds, longest_pause=longest_pause)
    balance = account_now(callers, name, call, talked)
    for side, how in talked.ended.items():
        outcome.expect(False, f"{side}'s call ended by itself ({how})")
    for side, report in talked.reports.items():
        judge_audio(outcome, side, report, seconds)
        judge_numbers(outcome, side, talked.stats[side])
    judge_balance(outcome, name, balance)
    outcome.expect(talked.path == "relayed", f"the call should be relayed, it is {talked.path}")
    observe_path(callers, name, talked.path)
    return talked


def observe_path(callers: Callers, name: str, path: str) -> None:
    """Keep the path of a call that its agents selected. It is proven where the ledger of TURN says the same."""
    outcome, doubt = callers.outcome, ""
    if callers.ledger is None:
        doubt = WITHOUT_LEDGER
        outcome.note(doubt)
    elif not outcome:
        doubt = "the call was not as it should be"
    outcome.observe(path_by_agents(path, Service.TURN, subject=name, phase="media", doubt=doubt))


def expect_active(outcome: Outcome, name: str, states: Mapping[str, str]) -> None:
    """`states`: what the user of each device sees."""
    outcome.expect(set(states.values()) == {"Active"}, f"{name}: the users see {states}, not a call")


def judge_audio(outcome: Outcome, name: str, report: Report, seconds: float = SECONDS) -> None:
    """One side heard the other for as long as it talked, without a fault."""
    audio = report.audio
    if audio is None:
        outcome.expect(False, f"{name} got no audio")
        return
    heard = audio.seconds * audio.known
    outcome.expect(heard >= WHOLE * seconds, f"{name} heard {heard:.2f} of {seconds:.2f} s")
    outcome.expect(
        audio.seconds >= WHOLE * seconds, f"{name} heard nothing any more after {audio.seconds:.1f} s"
    )
    for gap in audio.gaps[:MOST_GAPS]:
        outcome.expect(False, f"{name} heard nothing for {gap.length:.2f} s from second {gap.start:.1f} on")
    outcome.expect(
        not (audio.gaps or audio.jumps or audio.others),
        f"{name} heard the other side with faults: {len(audio.gaps)} gaps, {len(audio.jumps)} jumps, "
        f"{len(audio.others)} streams of others",
    )


def judge_video(outcome: Outcome, name: str, report: Report, left_out: int = 0) -> None:
    """One side saw the other, without a fault.

    `left_out`: pictures that the other side itself says it did not send, and this one that it dropped.
    """
    video = report.video
    if video is None:
        outcome.expect(False, f"{name} got no video")
        return
    outcome.expect(
        video.frames >= WHOLE * SECONDS * VIDEO[2], f"{name} saw {video.frames} pictures in {SECONDS:g} s"
    )
    outcome.expect(
        not (video.unreadable or video.foreign or video.missing > left_out),
        f"{name} saw the other side with faults: {video.missing} pictures missing, {video.unreadable} unreadable, "
        f"{len(video.foreign)} streams of others",
    )


def judge_numbers(outcome: Outcome, name: str, stats: Stats) -> None:
    """One side got every data message of the other, in order."""
    outcome.expect(
        stats.numbers_received == NUMBERS and stats.numbers_in_order,
        f"{name} got {stats.numbers_received} of {NUMBERS} data messages"
        f"{'' if stats.numbers_in_order else ', out of order'}",
    )


def judge_balance(outcome: Outcome, name: str, balance: CallAccount) -> None:
    """Sender, server and receiver counted the same. `name` is that of the call."""
    columns = "; ".join(line.strip() for line in str(balance).splitlines())
    outcome.expect(
        balance, f"{name}: the account does not balance: {'; '.join(balance.problems)} ({columns})"
    )
