"""Numbers of calls for the record: phases of the set-up, packets both ways, and what was heard."""

from __future__ import annotations

from dataclasses import asdict, replace

from ..calls.agent import Report
from ..calls.balance import CallAccount, Direction
from ..calls.call import Call, Phases, Ringing, TalkResult
from ..report.calls import CALLS, MeasuredCall, Way
from ..stage.outcome import Outcome

__all__ = ["measure", "measure_phases"]


def measure_phases(outcome: Outcome, name: str, ringing: Ringing) -> None:
    """Keep how far the call `name` has come, for the table of calls."""
    _keep(outcome, MeasuredCall(name, _milliseconds(ringing.phases)))


def measure(outcome: Outcome, name: str, call: Call, talked: TalkResult, balance: CallAccount) -> None:
    """Keep what the table of calls shows of a call that was talked over."""
    ways = [_way(each, talked.reports[each.receiver]) for each in balance.directions]
    _keep(outcome, MeasuredCall(name, _milliseconds(call.ringing.phases), talked.path, ways))


def _way(direction: Direction, report: Report) -> Way:
    counted = Way(
        direction.sender,
        direction.receiver,
        sent=direction.sent.packets,
        server=None if direction.server is None else direction.server.packets,
        received=direction.received.packets,
        lost=report.packets_lost,
    )
    if (audio := report.audio) is None:
        return counted
    return replace(
        counted,
        delay_ms=None if audio.delay is None else round(audio.delay * 1000, 1),
        heard_s=round(audio.seconds * audio.known, 2),
        gaps_ms=[round(gap.length * 1000) for gap in audio.gaps],
        stall_ms=round(max(audio.stalls, default=0.0) * 1000),
    )


def _keep(outcome: Outcome, call: MeasuredCall) -> None:
    """In the order of the calls; a newer word about one takes the place of the older."""
    known = {each["name"]: each for each in outcome.measurements.get(CALLS, ())}
    outcome.measurements[CALLS] = list({**known, call.name: asdict(call)}.values())


def _milliseconds(phases: Phases) -> dict[str, float]:
    """After the click; without those that were not reached."""
    return {
        name: round(seconds * 1000, 1)
        for name, seconds in asdict(phases).items()
        if name != "clicked" and seconds is not None
    }
