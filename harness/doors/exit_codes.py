"""Exit codes of every door."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..report.records import Record, Verdict

__all__ = [
    "EXPLANATION",
    "FAILED",
    "INTERRUPTED",
    "NOTHING_RAN",
    "PASSED",
    "UNDECIDED",
    "USAGE",
    "exit_code",
    "exit_code_of",
]

PASSED, FAILED, USAGE, UNDECIDED, NOTHING_RAN = 0, 1, 2, 3, 5
INTERRUPTED = 128
"""And the number of the signal, as shells have it: 129 when a terminal ends, 130 after Ctrl-C, 143 after SIGTERM."""
EXPLANATION = (
    "Exit codes: 0 passed, 1 failed, 2 usage, 3 undecided (no failure, but something could not be judged), "
)
EXPLANATION += "5 nothing ran, 130 interrupted with Ctrl-C, 143 with SIGTERM, 129 by the end of the terminal."


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """Of a run with these verdicts: a broken promise weighs more than one that could not be judged."""
    from ..report.records import Verdict  # noqa: PLC0415 - who only names a code need not load it

    found = set(verdicts)
    if Verdict.FAILED in found:
        return FAILED
    if found & {Verdict.UNDECIDED, Verdict.NOT_RUN}:
        return UNDECIDED
    return PASSED if Verdict.PASSED in found else NOTHING_RAN


def exit_code_of(records: Sequence[Record]) -> int:
    """Of a run, of several or of a matrix. A must-list decides where there is one, and nothing else."""
    from ..report.interop import interop  # noqa: PLC0415
    from ..report.plan import checks  # noqa: PLC0415
    from ..report.release import must_list, verdict  # noqa: PLC0415

    if (must := must_list(records)) is not None:
        decision = verdict(records, must).decision.name
    elif (matrix := interop(records)) is not None:
        decision = matrix.decision.name
    else:
        return exit_code(each.verdict for each in checks(records))
    return {"OK": PASSED, "NOT_OK": FAILED, "NO_VERDICT": UNDECIDED}[decision]
