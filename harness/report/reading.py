"""Runs as they lie in directories: their records, and whether the files that these name are there."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from ..errors import plain
from .html import Files
from .records import Record, read_results
from .run import RESULTS

__all__ = ["ReadRun", "Unreadable", "files_of", "read_run", "read_runs"]

MOST_NAMED = 3
"""Missing files that are named in a sentence."""


class Unreadable(Exception):
    """There is no run at that place. The message is a sentence."""


@dataclass(frozen=True)
class ReadRun:
    """A run directory, read whole."""

    directory: Path
    records: tuple[Record, ...]
    problems: tuple[str, ...]
    missing: frozenset[tuple[str, str]]
    """Run and path of evidence that is named and not there."""

    @property
    def name(self) -> str:
        return self.directory.resolve().name


def read_run(place: Path) -> ReadRun:
    """The run in this directory, or with this `results.jsonl`. Raises `Unreadable`."""
    directory = place.parent if place.name == RESULTS else place
    try:
        results = read_results(directory / RESULTS)
    except OSError as error:
        raise Unreadable(f"{place} is no run: {RESULTS} cannot be read ({plain(error)})") from error
    missing = {
        (record.run, each.path): None
        for record in results.records
        for each in record.evidence
        if not _is_there(directory, each.path)
    }
    problems = list(results.problems)
    if not results.records:
        problems.append(f"{place} has no result")
    if missing:
        named = ", ".join(path for _, path in list(missing)[:MOST_NAMED])
        more = f" and {len(missing) - MOST_NAMED} more" if len(missing) > MOST_NAMED else ""
        problems.append(f"evidence that records name is missing: {named}{more}")
    return ReadRun(directory, results.records, tuple(problems), frozenset(missing))


def read_runs(places: Sequence[Path]) -> list[ReadRun]:
    """Several runs, each once. Raises `Unreadable`."""
    found: dict[Path, ReadRun] = {}
    for place in places:
        run = read_run(place)
        if (same := run.directory.resolve()) in found:
            raise Unreadable(f"{place} is given twice")
        found[same] = run
    return list(found.values())


def files_of(runs: Sequence[ReadRun], page: Path) -> Files:
    """Links from a page, wherever it is written, to the files of these runs."""
    base: dict[str, str] = {}
    for run in runs:
        way = os.path.relpath(run.directory.resolve(), page.resolve().parent)
        url = "" if way == "." else f"{quote(way)}/"
        base |= dict.fromkeys((record.run for record in run.records), url)
    return Files(base, frozenset().union(*(run.missing for run in runs)))


def _is_there(directory: Path, path: str) -> bool:
    """Below the directory, and no way out of it."""
    try:
        return (directory / path).resolve().is_relative_to(directory.resolve()) and (
            directory / path
        ).is_file()
    except (OSError, ValueError):
        return False
