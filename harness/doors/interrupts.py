"""Ctrl-C, SIGTERM and a terminal that ends close a command in good order: what was found is kept."""

from __future__ import annotations

import atexit
import signal
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .exit_codes import INTERRUPTED

__all__ = ["Interrupted", "interruptible", "undisturbed", "uninterrupted"]

_Handler = Callable[[int, types.FrameType | None], None]
SIGNALS = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGHUP: "the end of the terminal"}


class Interrupted(BaseException):
    """Somebody ended the command. Like `KeyboardInterrupt` it is no error that anybody judges."""

    def __init__(self, by: signal.Signals) -> None:
        self.exit_code = INTERRUPTED + by
        super().__init__(SIGNALS[by])


@contextmanager
def interruptible(*by: signal.Signals) -> Iterator[None]:
    """In this block the first of these signals (default: all) raises `Interrupted`; no later one disturbs the closing.

    A signal that is not named does nothing: it is for the process that started this one.
    """
    with _handled(lambda each: _interrupt if each in by or not by else _nothing):
        yield


@contextmanager
def uninterrupted() -> Iterator[None]:
    """In this block signals do nothing, but in one of `interruptible` in it: what that found is written to the end.

    After it they come too late to disturb what this process closes at its exit.
    """
    with _handled(lambda _each: _nothing):
        yield
        atexit.register(_hear_nothing)  # the last that is registered is the first to run


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


@contextmanager
def _handled(handler_of: Callable[[signal.Signals], _Handler]) -> Iterator[None]:
    """Other handlers in this block. The end of the terminal is nothing to hear of where `nohup` has said so."""
    before = {each: signal.getsignal(each) for each in _heard()}
    try:
        for each in before:
            # A handler, not SIG_IGN: programs that are started would inherit that.
            signal.signal(each, handler_of(each))
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _heard() -> list[signal.Signals]:
    return [each for each in SIGNALS if signal.getsignal(each) is not signal.SIG_IGN]


def _hear_nothing() -> None:
    for each in _heard():
        signal.signal(each, _nothing)


def _interrupt(number: int, _frame: types.FrameType | None) -> None:
    _hear_nothing()
    if _Deferred.depth:
        _Deferred.came = signal.Signals(number)
        return
    raise Interrupted(signal.Signals(number))


def _nothing(_number: int, _frame: types.FrameType | None) -> None:
    """It is heard already."""
