"""Pauses and the end of media while people talk: what listeners must hear of it, and how agents notice."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial

from ..calls.call import Call, TalkResult
from ..calls.peers import Peer, PeerError, PeerEvent, Stats
from ..report.observations import Timing
from ..servers.server import Program
from ..stage.outcome import Outcome
from ..waiting import Deadline, WaitTimeout, now, wait_until
from .call_judges import WHOLE
from .calls import machine_too_slow, talk

__all__ = ["BEFORE", "Pause", "paused", "talk_across", "wait_until_closed"]

progress = logging.getLogger("harness.progress")

BEFORE = 1.0
"""Seconds of talking before something happens."""
EARLY, LATE = 0.5, 1.0
"""Seconds by which the silence may differ from the pause; media was back 0.05 s after it."""
CONSENT_ENDS = 45.0
"""Seconds: aioice gives up after six checks that are 4 to 6 s apart (RFC 7675), and then says good-bye to TURN, which
takes 6.4 s more where that does not answer. libwebrtc calls a connection failed after 16 s, measured."""


@dataclass(frozen=True)
class Pause:
    """A while in which nothing came through, in the middle of a call that was talked over before and after it."""

    what: str
    """For people, such as "TURN stood still"."""
    seconds: float
    before: Mapping[str, Stats]
    """Counts of the sides when it began, by name."""
    after: Mapping[str, Stats]
    """And when it was over."""

    @property
    def sent_into_it(self) -> dict[str, int]:
        """Packets that each side sent meanwhile; some of the first and the last may have come through."""
        return {
            name: self.after[name].traffic.packets_sent - self.before[name].traffic.packets_sent
            for name in self.before
        }

    def judge(self, outcome: Outcome, talked: TalkResult) -> None:
        """Each side hears the other until the pause and after it.

        What was said meanwhile may come late, out of the kernel's buffers, or be lost: to a listener both are silence.
        """
        listener, other = talked.stats
        for hearing, speaking in ((listener, other), (other, listener)):
            self._judge_listener(outcome, talked, hearing, speaking)

    def _judge_listener(self, outcome: Outcome, talked: TalkResult, listener: str, speaker: str) -> None:
        audio, played = talked.reports[listener].audio, talked.stats[speaker].played
        if audio is None or audio.seconds < WHOLE * played:
            heard = 0.0 if audio is None else audio.seconds
            outcome.expect(
                False, f"{listener} did not hear the other side again: {heard:.2f} of {played:.2f} s arrived"
            )
            return
        # What was lost meanwhile is a gap, what came late a stall.
        silence = max((*audio.stalls, *(gap.length for gap in audio.gaps)), default=0.0)
        outcome.expect(
            self.seconds - EARLY <= silence <= self.seconds + LATE,
            f"{listener} had {silence:.2f} s of silence when {self.what} for {self.seconds:.2f} s",
        )
        begins = self.before[speaker].played - EARLY
        ends = self.before[speaker].played + self.seconds + LATE
        elsewhere = [gap for gap in audio.gaps if gap.start < begins or gap.start + gap.length > ends]
        outcome.expect(
            not (elsewhere or audio.jumps or audio.others),
            f"{listener} heard the other side with faults apart from the pause: {len(elsewhere)} gaps, "
            f"{len(audio.jumps)} jumps, {len(audio.others)} streams of others",
        )


def talk_across(
    call: Call, seconds: float, pausing: Callable[[], AbstractContextManager[None]], what: str
) -> tuple[Pause, TalkResult]:
    """Talk before, during and after a pause of so many seconds, which `pausing` makes. Raises `MachineTooSlow`."""
    with machine_too_slow():
        call.play_on(BEFORE)
    before, began = _counted(call), now()
    with pausing(), machine_too_slow():
        call.play_on(seconds)
    pause = Pause(what, now() - began, before, _counted(call))
    progress.info("%s for %.1f s", what, pause.seconds)
    return pause, talk(call, numbers=0)


@contextmanager
def paused(program: Program) -> Iterator[None]:
    """A program stands still while the block lasts."""
    program.pause()
    try:
        yield
    finally:
        program.resume()


def wait_until_closed(outcome: Outcome, name: str, call: Call, since: float) -> None:
    """Wait until each side has noticed that its media died at `since`, in unix seconds.

    That the agents do so is up to us, and not to the server: `PeerError` if they do not.
    """
    deadline = Deadline(CONSENT_ENDS)
    noticed = []
    for side in call.sides:
        try:
            closed = wait_until(
                partial(_end_of_media, side.peer), "its peer to give up", within=deadline.remaining()
            )
        except WaitTimeout as error:
            raise PeerError(f"{side.name} did not notice that its media had died: {error}") from error
        noticed.append(round(closed.time - since, 1))
        progress.info("%s noticed after %g s that the call is dead", side.name, noticed[-1])
    outcome.observe(Timing("until each side noticed", tuple(noticed), CONSENT_ENDS, subject=name))


def _end_of_media(peer: Peer) -> PeerEvent | None:
    """The word of a peer that nobody answers any more: of aiortc that ICE is closed, of libwebrtc that the connection
    has failed, while its ICE stays `disconnected`."""
    said = (*peer.events("ice"), *peer.events("connection"))
    return next((each for each in said if each.fields["state"] in ("closed", "failed")), None)


def _counted(call: Call) -> dict[str, Stats]:
    return {side.name: side.peer.stats() for side in call.sides}
