"""Runs a store on a thread of its own, so that the event loop never waits for a disk."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from .store import Store

__all__ = ["StoreThread", "StoreUnavailable"]

log = logging.getLogger(__name__)

T = TypeVar("T")


class StoreUnavailable(Exception):
    """The disk is full, the file is locked, ...: nothing was changed, and it may work later."""


class StoreThread:
    """One call after the other, in the order in which they were asked for."""

    def __init__(self, path: Path, make: Callable[[Path], Store] = Store) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store")
        try:
            self._store = self._thread.submit(make, path).result()
        except BaseException:
            self._thread.shutdown()
            raise

    async def run(self, call: Callable[[Store], T]) -> T:
        """Raises `StoreUnavailable`, and what the call raises for reasons of its own."""
        running = self._thread.submit(call, self._store)
        try:
            return await asyncio.wrap_future(running)
        except sqlite3.Error as error:
            log.exception("the store failed")
            raise StoreUnavailable(str(error)) from error

    def close(self) -> None:
        """Finish what was begun, then close the file."""
        self._thread.submit(self._store.close)
        self._thread.shutdown()
