"""Output for a person while the suite runs: sentences, or one symbol per test (`--cool`)."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from ...report.records import Verdict
from .tests import NAMES

__all__ = ["Console", "Result"]

GREEN, RED, PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[0m"
FAILURE_WIDTH = 120
LEFT_OUT = (Verdict.SKIPPED, Verdict.UNSUPPORTED, Verdict.NOT_REACHED)


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

    @property
    def left_out(self) -> bool:
        """It was not tried: this version, this machine or the server cannot, or a test before it explains it."""
        return self.verdict in LEFT_OUT


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
            self._output.write("✓ " if result.passed else "- " if result.left_out else "✗ ")
            self._output.flush()
            return
        if result.passed:
            self._line(
                self._paint(GREEN, f"✓ TEST #{result.number} PASSED: {name} ({result.duration:.2f} s)")
            )
        elif result.left_out:
            self._line(f"- TEST #{result.number} NOT RUN: {name}: {result.verdict}: {result.reason}")
        else:
            self._line(self._paint(RED, f"❌ TEST FAILED: #{result.number} {name}: {result.reason}"))
        for note in result.notes:
            self._line(f"  note: {note}")

    def summary(
        self, selected: Sequence[int], named: Collection[int], results: Sequence[Result], directory: Path
    ) -> None:
        """Totals, what failed, what was not run, and where the results are.

        `named`: tests that the caller asked for by number. One of these that was not run is a failure of the selection.
        """
        failed = [each for each in results if not each.passed and not each.left_out]
        missing = [each for each in results if each.left_out and each.number in named]
        passed = [each for each in results if each.passed]
        good = bool(passed) and not failed and not missing
        if self._cool:
            self._line("")
            self._line(
                f"{len(passed)} passed, {len(failed)} failed, {len(NAMES) - len(passed) - len(failed)} skipped"
            )
            for result in (*failed, *missing):
                self._line(f"#{result.number} {NAMES[result.number]}: {result.reason}"[:FAILURE_WIDTH])
            self._line(f"+------+\n| {'PASS' if good else 'FAIL'} |\n+------+")
        elif good:
            self._line(self._paint(GREEN, "\nSELECTED TESTS PASSED"))
        elif not passed and not failed:
            self._line("\nNOTHING RAN")
        if missing:
            self._line(f"selected, and not run: {_numbered(missing)}")
        self._line(f"Test finished. Results in {directory}")
        ran = {each.number for each in (*passed, *failed)}
        self._line(f"{len(ran)} of {len(NAMES)} tests ran, {len(passed)} passed")
        if others := [number for number in selected if number not in ran]:
            self._line(f"not run: {', '.join(map(str, others))}")

    def listing(self) -> None:
        for number, name in NAMES.items():
            self._line(f"--test-{number:<3} {name}")

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


def _numbered(results: Sequence[Result]) -> str:
    return ", ".join(f"#{each.number} {NAMES[each.number]} ({each.reason})" for each in results)
