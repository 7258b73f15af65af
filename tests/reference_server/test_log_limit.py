"""Strangers fill no disk with lines of log."""

from __future__ import annotations

import logging

from reference_server.log_limit import PER_SENTENCE, PER_SOURCE, WINDOW, LogLimit


def lines(count: int, *, sources: int = 1, clock: float = 0.0, limit: LogLimit | None = None) -> list[str]:
    """Texts that come through."""
    limit = limit or LogLimit(lambda: clock)
    shown = []
    for number in range(count):
        source = f"192.0.2.{number % sources}"
        record = logging.LogRecord("x", logging.INFO, "x.py", 1, "%s is gone", (f"{source}:{number}",), None)
        record.source = source
        if limit.filter(record):
            shown.append(record.getMessage())
    return shown


def test_one_source_has_few_lines_and_all_together_have_some_more() -> None:
    assert len(lines(10_000)) == PER_SOURCE
    assert len(lines(10_000, sources=200)) == PER_SENTENCE


def test_the_next_window_tells_how_many_were_left_out() -> None:
    now = 0.0
    limit = LogLimit(lambda: now)
    lines(PER_SOURCE + 7, limit=limit)
    now = WINDOW + 1
    assert lines(2, limit=limit) == [
        "192.0.2.0:0 is gone (7 lines were left out before)",
        "192.0.2.0:1 is gone",
    ]


def test_lines_without_a_source_and_of_asyncio_have_a_bound_as_well() -> None:
    limit = LogLimit(lambda: 0.0)
    texts = [f"Fatal error number {number}" for number in range(5000)]
    records = [logging.LogRecord("asyncio", logging.ERROR, "x.py", 1, text, (), None) for text in texts]
    assert sum(map(limit.filter, records)) == PER_SENTENCE
