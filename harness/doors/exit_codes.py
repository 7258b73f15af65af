"""Exit codes of every door."""

from __future__ import annotations

from collections.abc import Iterable

from ..report.records import Verdict

__all__ = ["EXPLANATION", "FAILED", "NOTHING_RAN", "PASSED", "UNDECIDED", "USAGE", "exit_code"]

PASSED, FAILED, USAGE, UNDECIDED, NOTHING_RAN = 0, 1, 2, 3, 5
EXPLANATION = (
    "Exit codes: 0 passed, 1 failed, 2 usage, 3 undecided (no failure, but something could not be judged), "
)
EXPLANATION += "5 nothing ran."


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """Of a run with these verdicts: a broken promise weighs more than one that could not be judged."""
    found = set(verdicts)
    if Verdict.FAILED in found:
        return FAILED
    if Verdict.UNDECIDED in found:
        return UNDECIDED
    return PASSED if Verdict.PASSED in found else NOTHING_RAN
