"""A bound on the lines of log that strangers can cause: per source, and altogether."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable

__all__ = ["LogLimit"]

WINDOW = 60.0
"""Seconds in which lines are counted."""
PER_SOURCE = 20
PER_SENTENCE = 200


class LogLimit(logging.Filter):
    """Lets `PER_SOURCE` lines of one sentence about one source through in each window, and `PER_SENTENCE` of all.

    A source is what a line has as `extra={"source": ...}`. What was left out is told by the first line of the next
    window.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._until = 0.0
        self._lines: Counter[tuple[str, str]] = Counter()
        """By sentence and source; those of all sources together have none."""
        self._left_out = 0

    def filter(self, record: logging.LogRecord) -> bool:
        now = self._clock()
        is_first = now >= self._until
        if is_first:
            self._until = now + WINDOW
            self._lines.clear()
        # asyncio writes what it failed at into its sentences.
        sentence = record.name if record.name == "asyncio" else f"{record.name} {record.msg}"
        source = str(getattr(record, "source", ""))
        if self._lines[sentence, ""] >= PER_SENTENCE or (
            source and self._lines[sentence, source] >= PER_SOURCE
        ):
            self._left_out += 1
            return False
        self._lines[sentence, ""] += 1
        if source:
            self._lines[sentence, source] += 1
        if is_first and self._left_out:
            record.msg, record.args = (
                f"{record.getMessage()} ({self._left_out} lines were left out before)",
                (),
            )
            self._left_out = 0
        return True
