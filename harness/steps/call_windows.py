"""Call windows in a record: which program they were, and what a person saw in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..calls.call import START_WITHIN, Party
from ..calls.peers import Peer
from ..calls.quality import MachineTooSlow
from ..calls.window import Window
from ..clients.device import Device
from ..report.observations import Measured
from ..stage.outcome import Outcome
from ..waiting import WaitTimeout

__all__ = ["describe_windows", "further_window", "observe_windows", "states_of"]

IN_CALL, ENDED, DISMISSED = "in call", "ended", "closed unanswered"


def describe_windows(outcome: Outcome, sides: Iterable[Party]) -> None:
    """Say in the record which devices call with what a person would call with."""
    for side in sides:
        if side.peer.description:
            outcome.clients[side.name] = f"{side.device.description}, {side.peer.description}"


@contextmanager
def further_window(outcome: Outcome, name: str, device: Device, logs: Path) -> Iterator[Window]:
    """The window of a device that is no side of a call, and may ring with those that are.

    Raises `MachineTooSlow` where it does not start in time.
    """
    with Window(logs, device.name, host=device.host) as window:
        try:
            window.wait_for("ready", within=START_WITHIN)
        except WaitTimeout as error:
            raise MachineTooSlow(f"machine too slow ({error})") from error
        outcome.clients[device.name] = f"{device.description}, {window.description}"
        try:
            yield window
        finally:
            observe_windows(outcome, name, [window])


def observe_windows(outcome: Outcome, name: str, peers: Iterable[Peer]) -> None:
    """Keep what could be read in the windows of a call; pictures of it are evidence."""
    for peer in peers:
        if states := list(states_of(peer)):
            text = ", ".join(f"{state} ({after:.1f} s)" for state, after in states)
            outcome.observe(Measured(f"read in the call window of {peer.name}", text, subject=name))


def states_of(peer: Peer) -> Iterator[tuple[str, float]]:
    """Each state in which the window was, and seconds since it was opened."""
    seen, opened = "", 0.0
    for event in peer.events("shown"):
        opened = opened or event.time
        state = ", ".join(event.fields["status"]) or IN_CALL
        if state != seen:
            yield state, event.time - opened
        seen = state
    for kind, state in (("ended", ENDED), ("dismissed", DISMISSED)):
        for event in peer.events(kind):
            yield state, event.time - opened
