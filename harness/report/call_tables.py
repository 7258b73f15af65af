"""Calls of a run as two tables, how they were set up and what was heard. Pure functions of records."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from .observations import CallDirection, CallPhases, CallSeen
from .records import Record
from .tables import NOTHING, Section, Table, number

__all__ = ["calls"]

PHASES = {
    "offer": "offer_ms",
    "ring": "ring_ms",
    "answer": "answer_ms",
    "ICE": "connected_ms",
    "audio": "first_audio_ms",
}
MEDIA = ("sent", "server", "received", "lost", "delay", "heard", "gaps", "stall", "video")
LEGEND = (
    "offer to audio: ms after the click",
    "sent, server, received: packets as agents and TURN counted them; lost: RTP packets",
    "delay: ms, median over audio frames; heard: s; gaps: silences in what was heard, and ms of all together; "
    "stall: longest time without any audio, ms; video: pictures seen",
)


def calls(records: Sequence[Record]) -> Section | None:
    """Below the name of each check its calls, and below those the two directions; None if there was no call."""
    made = [(record.check, found) for record in records if (found := record.seen(CallSeen))]
    if not made:
        return None
    tables = [("", Table(["call", *PHASES, "path"], list(_set_up(made)), frozenset(PHASES)))]
    if any(call.directions for _, found in made for call in found):
        tables.append(("", Table(["from, to", *MEDIA], list(_media(made)), frozenset(MEDIA))))
    return Section("Calls", tables, LEGEND)


def _set_up(made: Sequence[tuple[str, Sequence[CallSeen]]]) -> Iterator[list[str]]:
    for check, found in made:
        yield [check]
        for call in found:
            yield [f"  {call.name}", *_phases(call.phases), call.path or NOTHING]


def _phases(phases: CallPhases) -> Iterator[str]:
    reached = dataclasses.asdict(phases)
    return (number(reached[name]) for name in PHASES.values())


def _media(made: Sequence[tuple[str, Sequence[CallSeen]]]) -> Iterator[list[str]]:
    for check, found in made:
        if talked := [call for call in found if call.directions]:
            yield [check]
            for call in talked:
                yield [f"  {call.name}"]
                yield from map(_direction, call.directions)


def _direction(way: CallDirection) -> list[str]:
    return [
        f"    {way.sender} to {way.receiver}",
        *map(number, (way.sent, way.server, way.received, way.lost, way.delay_ms)),
        number(way.heard_s, 2),
        f"{len(way.gaps_ms)} ({sum(way.gaps_ms):.0f})" if way.gaps_ms else "0",
        number(way.stall_ms),
        number(way.pictures),
    ]
