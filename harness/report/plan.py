"""How far a run came: each chosen check is written as `not run` before the first begins, and its verdict replaces that.

So a directory tells by itself what is missing, however the run ended. Pure functions of records.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .cells import CellOf
from .ending import RunEnded
from .records import Record, Verdict

__all__ = ["checks", "ended", "how_far"]


def checks(records: Iterable[Record]) -> list[Record]:
    """The results of checks in the order of the plan, `not run` where there is none; heads are left out."""
    results: dict[tuple[str, str, str], list[Record]] = {}
    for each in records:
        if not each.is_head:
            results.setdefault(_which(each), []).append(each)
    return [result for found in results.values() for result in _of_one_check(found)]


def _which(record: Record) -> tuple[str, str, str]:
    """The same for each result of one check in one run, or of one cell of a matrix, whose shards are several runs."""
    for cell in record.seen(CellOf):
        return "", record.check, cell.name
    return record.run, record.check, ""


def _of_one_check(records: Sequence[Record]) -> Sequence[Record]:
    """A test suite may run one check several times: each verdict stands for itself."""
    return [each for each in records if each.verdict is not Verdict.NOT_RUN] or records[:1]


def ended(records: Iterable[Record]) -> RunEnded | None:
    """The end of the run; None: it goes on, or was killed."""
    found = [each for record in records if record.is_head for each in record.seen(RunEnded)]
    return found[-1] if found else None


def how_far(records: Sequence[Record]) -> str:
    """Why nobody may take this run for a result, as a sentence; empty for one that came to its end.

    For example `interrupted after 4 of 9: no verdict`.
    """
    planned = checks(records)
    left = sum(each.verdict is Verdict.NOT_RUN for each in planned)
    end = ended(records)
    if not planned:
        return "no check has a result: no verdict"
    if not left:
        has_plan = any(each.verdict is Verdict.NOT_RUN for each in records)
        if end is None or not end.interrupted or has_plan:
            return ""
        ended_checks = f"{len(planned)} check{'s' if len(planned) > 1 else ''}"
        return f"interrupted after {ended_checks}: no verdict ({end.interrupted})"
    reached = f"after {len(planned) - left} of {len(planned)}: no verdict"
    if end is None:
        return f"not ended, or killed, {reached}"
    return f"interrupted {reached}" + (f" ({end.interrupted})" if end.interrupted else "")
