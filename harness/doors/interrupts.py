"""Ctrl-C and SIGTERM end a command in good order: everything that it started is closed, and what was found is kept."""

from __future__ import annotations

import signal
import types
from collections.abc import Iterator
from contextlib import contextmanager

from .exit_codes import INTERRUPTED

__all__ = ["Interrupted", "interruptible"]

SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Interrupted(BaseException):
    """Somebody ended the command. Like `KeyboardInterrupt` it is no error that anybody judges."""

    def __init__(self, by: signal.Signals) -> None:
        self.exit_code = INTERRUPTED + by
        super().__init__(SIGNALS[by])


@contextmanager
def interruptible(*by: signal.Signals) -> Iterator[None]:
    """In this block the first of these signals (default: both) raises `Interrupted`; no later one disturbs the closing.

    Of both signals, one that is not named does nothing: it is for the process that started this one.
    """
    before = {each: signal.getsignal(each) for each in SIGNALS}
    try:
        for each in SIGNALS:
            # A handler, not SIG_IGN: programs that are started would inherit that.
            signal.signal(each, _interrupt if each in by or not by else _nothing)
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _interrupt(number: int, _frame: types.FrameType | None) -> None:
    for each in SIGNALS:
        signal.signal(each, _nothing)
    raise Interrupted(signal.Signals(number))


def _nothing(_number: int, _frame: types.FrameType | None) -> None:
    """It is heard already."""
