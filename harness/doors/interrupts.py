"""Ctrl-C, SIGTERM and a terminal that ends close a command in good order: what was found is kept."""

from __future__ import annotations

import signal
import types
from collections.abc import Iterator
from contextlib import contextmanager

from .exit_codes import INTERRUPTED

__all__ = ["Interrupted", "interruptible", "undisturbed"]

SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "the end of the terminal"}


class Interrupted(BaseException):
    """Somebody ended the command. Like `KeyboardInterrupt` it is no error that anybody judges."""

    def __init__(self, by: signal.Signals) -> None:
        self.exit_code = INTERRUPTED + by
        super().__init__(SIGNALS[by])


@contextmanager
def interruptible(*by: signal.Signals) -> Iterator[None]:
    """In this block the first of these signals (default: all) raises `Interrupted`; no later one disturbs the closing.

    A signal that is not named does nothing: it is for the process that started this one. Nor does the end of the
    terminal where `nohup` has said so.
    """
    before = {each: signal.getsignal(each) for each in SIGNALS}
    if before[signal.SIGHUP] is signal.SIG_IGN:
        del before[signal.SIGHUP]
    try:
        for each in before:
            # A handler, not SIG_IGN: programs that are started would inherit that.
            signal.signal(each, _interrupt if each in by or not by else _nothing)
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


@contextmanager
def undisturbed() -> Iterator[None]:
    """In this block nothing is raised: it starts something, and must know what. It is raised at the end."""
    _Deferred.depth += 1
    try:
        yield
    finally:
        _Deferred.depth -= 1
        came, _Deferred.came = _Deferred.came, None
        if came is not None:
            raise Interrupted(came)


class _Deferred:
    """The signal that came in a block that is not disturbed. There is one process, so there is one of these."""

    depth = 0
    came: signal.Signals | None = None


def _interrupt(number: int, _frame: types.FrameType | None) -> None:
    for each in SIGNALS:
        if signal.getsignal(each) is not signal.SIG_IGN:
            signal.signal(each, _nothing)
    if _Deferred.depth:
        _Deferred.came = signal.Signals(number)
        return
    raise Interrupted(signal.Signals(number))


def _nothing(_number: int, _frame: types.FrameType | None) -> None:
    """It is heard already."""
