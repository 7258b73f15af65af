"""The only way to wait: for a condition, with a deadline, and with a sentence when it does not come true.

`watch` is for a person who looks on: it has no deadline.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

__all__ = ["Deadline", "WaitTimeout", "now", "wait_until", "watch"]

T = TypeVar("T")

POLL_INTERVAL = 0.01
"""Seconds between two looks at a condition that nobody can wake us for."""


_CLOCK_OFFSET = time.time() - time.monotonic()


def now() -> float:
    """Unix seconds that never step back while this process lives: fit for latencies and beside a server's log."""
    return time.monotonic() + _CLOCK_OFFSET


class WaitTimeout(Exception):
    """Something did not happen in time: the text says what, how long was waited, what was seen instead."""

    def __init__(self, what: str, within: float, seen: object = None) -> None:
        self.what = what
        self.within = within
        self.seen = seen
        text = f"waited {within:.3g} s for {what}"
        super().__init__(text if seen is None else f"{text}; seen instead: {seen}")


class Deadline:
    """A point in time that several steps share."""

    def __init__(self, within: float) -> None:
        self.within = within
        self._end = time.monotonic() + within

    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._end - time.monotonic())

    @property
    def over(self) -> bool:
        return self.remaining() == 0.0


def wait_until(
    condition: Callable[[], T | None],
    what: str,
    *,
    within: float,
    seen: Callable[[], object] | None = None,
    woken_by: threading.Condition | None = None,
) -> T:
    """Wait until `condition()` is true and return its value.

    `what` completes the sentence "waited 5 s for ..."; `seen` is asked at the end what was there instead.
    With `woken_by`, the condition is looked at with that lock held, each time somebody notifies; without it,
    the condition is polled.
    Raises `WaitTimeout` after `within` seconds, and whatever `condition` raises at once.
    """
    deadline = Deadline(within)
    while True:
        last_look = deadline.over
        if woken_by is None:
            if value := condition():
                return value
            time.sleep(min(POLL_INTERVAL, deadline.remaining()))
        else:
            with woken_by:
                if value := condition():
                    return value
                woken_by.wait(deadline.remaining())
        if last_look:
            raise WaitTimeout(what, within, seen() if seen else None)


def watch(look: Callable[[], Iterable[T]], *, every: float) -> Iterator[T]:
    """Yield what `look` finds, again and again, with `every` seconds between two looks.

    For following something, where `wait_until` is for one thing that has to come. It goes on until whoever iterates
    stops, or `look` raises.
    """
    while True:
        yield from look()
        time.sleep(every)
