"""Output for a person while the suite runs: sentences, or one symbol per test (`--cool`)."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ...report.records import Verdict
from .tests import AVAILABLE, NAMES

__all__ = ["Console", "Result"]

GREEN, RED, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[0m"
FAILURE_WIDTH = 120


@dataclass(frozen=True)
class Result:
    """One numbered test: the worst verdict of its checks. `duration` in seconds."""

    number: int
    verdict: Verdict
    reason: str
    notes: tuple[str, ...]
    duration: float

    @property
    def passed(self) -> bool:
        return self.verdict is Verdict.PASSED


class Console:
    """Writes to one stream. Progress of the checks arrives through logging (`harness.progress`)."""

    def __init__(self, output: TextIO, *, cool: bool, color: bool) -> None:
        self._output = output
        self._cool = cool
        self._color = color
        self._started = time.monotonic()
        if not cool:
            self._progress = _Progress(self)
            logger = logging.getLogger("harness.progress")
            logger.setLevel(logging.INFO)
            logger.addHandler(self._progress)

    def close(self) -> None:
        if not self._cool:
            logging.getLogger("harness.progress").removeHandler(self._progress)

    def header(self, target: str) -> None:
        self._line(f"Delta Chat tests against {target}")

    def step(self, text: str) -> None:
        """One step of what is going on, with the seconds since the start."""
        self._line(f"  {time.monotonic() - self._started:6.2f} s  {text}")

    def starts(self, number: int) -> None:
        if not self._cool:
            self._line(f"\nTEST #{number}: {NAMES[number]}")

    def ended(self, result: Result) -> None:
        name = NAMES[result.number]
        if self._cool:
            self._output.write("✓ " if result.passed else "✗ ")
            self._output.flush()
            return
        if result.passed:
            self._line(
                self._paint(GREEN, f"✓ TEST #{result.number} PASSED: {name} ({result.duration:.2f} s)")
            )
        else:
            self._line(self._paint(RED, f"❌ TEST FAILED: #{result.number} {name}: {result.reason}"))
        for note in result.notes:
            self._line(f"  note: {note}")

    def summary(self, selected: Sequence[int], results: Sequence[Result], directory: Path) -> None:
        """Totals, failures, where the results are, and what is not available yet."""
        failed = [result for result in results if not result.passed]
        passed = bool(results) and not failed
        if self._cool:
            self._line("")
            self._line(
                f"{len(results) - len(failed)} passed, {len(failed)} failed, {_left_out(selected)} skipped"
            )
            for result in failed:
                self._line(f"#{result.number} {NAMES[result.number]}: {result.reason}"[:FAILURE_WIDTH])
            self._line(f"+------+\n| {'PASS' if passed else 'FAIL'} |\n+------+")
        elif passed:
            self._line(self._paint(GREEN, "\nSELECTED TESTS PASSED"))
        elif not results:
            self._line("\nNOTHING RAN: none of the selected tests is available")
        self._line(f"Test finished. Results in {directory}")
        self._line(f"{len(NAMES) - len(AVAILABLE)} of {len(NAMES)} not available")

    def listing(self) -> None:
        for number, name in NAMES.items():
            self._line(f"--test-{number:<3} {name}{'' if number in AVAILABLE else '  (not available yet)'}")

    def _paint(self, colour: str, text: str) -> str:
        return f"{colour}{text}{PLAIN}" if self._color else text

    def _line(self, text: str) -> None:
        self._output.write(text + "\n")
        self._output.flush()


class _Progress(logging.Handler):
    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.step(record.getMessage())


def _left_out(selected: Sequence[int]) -> int:
    return len(set(NAMES) - (set(selected) & AVAILABLE))
