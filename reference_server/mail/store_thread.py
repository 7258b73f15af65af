"""Runs a store on a thread of its own, so that the event loop never waits for a disk."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from .store import Store

__all__ = ["StoreThread", "StoreUnavailable"]

log = logging.getLogger(__name__)

T = TypeVar("T")


class StoreUnavailable(Exception):
    """The disk is full, the file is locked, ...: nothing was changed, and it may work later."""


class StoreThread:
    """One call after the other, in the order in which they were asked for.

    Every command of every client comes here, and an executor's futures cost twice what this queue does.
    """

    def __init__(self, path: Path, make: Callable[[Path], Store] = Store) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="store")
        self._thread.start()
        opened: Future[Store] = Future()
        self._calls.put(lambda: _open(path, make, opened))
        try:
            self._store = opened.result()
        except BaseException:
            self._stop()
            raise

    async def run(self, call: Callable[[Store], T]) -> T:
        """Raises `StoreUnavailable`, and what the call raises for reasons of its own."""
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._calls.put(lambda: self._answer(call, answer))
        try:
            return await answer
        except sqlite3.Error as error:
            log.exception("the store failed")
            raise StoreUnavailable(str(error)) from error

    def close(self) -> None:
        """Finish what was begun, then close the file."""
        self._calls.put(self._store.close)
        self._stop()

    def _answer(self, call: Callable[[Store], T], answer: asyncio.Future[T]) -> None:
        """On the thread: make a call, and tell the loop what came of it."""
        try:
            result = call(self._store)
        except BaseException as error:
            tell = partial(_settle, answer, error=error)
        else:
            tell = partial(_settle, answer, result)
        with suppress(RuntimeError):  # the loop has ended, and nobody waits
            answer.get_loop().call_soon_threadsafe(tell)

    def _stop(self) -> None:
        self._calls.put(None)
        self._thread.join()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
            del call  # with a mail in it, until the next one comes


def _settle(
    answer: asyncio.Future[Any], result: object = None, *, error: BaseException | None = None
) -> None:
    if answer.done():  # whoever asked has gone
        return
    if error is None:
        answer.set_result(result)
    else:
        answer.set_exception(error)


def _open(path: Path, make: Callable[[Path], Store], opened: Future[Store]) -> None:
    try:
        opened.set_result(make(path))
    except BaseException as error:
        opened.set_exception(error)
