"""Call windows in a record: which program they were, and what a person saw in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..calls.call import Party
from ..calls.peers import Peer
from ..report.observations import Measured
from ..stage.outcome import Outcome

__all__ = ["describe_windows", "observe_windows", "states_of"]

IN_CALL, ENDED = "in call", "ended"


def describe_windows(outcome: Outcome, sides: Iterable[Party]) -> None:
    """Say in the record which devices call with what a person would call with."""
    for side in sides:
        if side.peer.description:
            outcome.clients[side.name] = f"{side.device.description}, {side.peer.description}"


def observe_windows(outcome: Outcome, name: str, sides: Iterable[Party]) -> None:
    """Keep what could be read in the windows of a call; pictures of it are evidence."""
    for side in sides:
        if states := list(states_of(side.peer)):
            text = ", ".join(f"{state} ({after:.1f} s)" for state, after in states)
            outcome.observe(Measured(f"read in the call window of {side.name}", text, subject=name))


def states_of(peer: Peer) -> Iterator[tuple[str, float]]:
    """Each state in which the window was, and seconds since it was opened."""
    seen, opened = "", 0.0
    for event in peer.events("shown"):
        opened = opened or event.time
        state = ", ".join(event.fields["status"]) or IN_CALL
        if state != seen:
            yield state, event.time - opened
        seen = state
    for event in peer.events("ended"):
        yield ENDED, event.time - opened
