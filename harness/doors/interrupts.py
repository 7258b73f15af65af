"""Ctrl-C and SIGTERM end a command in good order: everything that it started is closed, and what was found is kept."""

from __future__ import annotations

import signal
import types
from collections.abc import Iterator
from contextlib import contextmanager

from .console import complain
from .exit_codes import INTERRUPTED

__all__ = ["Interrupted", "interruptible"]

SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Interrupted(BaseException):
    """Somebody ended the command. Like `KeyboardInterrupt` it is no error that anybody judges."""

    def __init__(self, by: signal.Signals) -> None:
        self.exit_code = INTERRUPTED + by
        super().__init__(SIGNALS[by])


@contextmanager
def interruptible() -> Iterator[None]:
    """In this block the first signal raises `Interrupted`; a second one does not interrupt the closing."""
    before = {each: signal.getsignal(each) for each in SIGNALS}
    try:
        for each in SIGNALS:
            signal.signal(each, _interrupt)
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _interrupt(number: int, _frame: types.FrameType | None) -> None:
    for each in SIGNALS:
        signal.signal(each, _ending)
    raise Interrupted(signal.Signals(number))


def _ending(_number: int, _frame: types.FrameType | None) -> None:
    complain("interrupted already: closing what was started")
