"""Shards of one run, each from a machine of its own, as one run directory.

Every shard has its plan: what a lost or interrupted one did not come to is `not run` in the merged run as well. Records
keep the name of their shard; its files lie below a directory of that name.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from ..errors import plain
from .interop import plans
from .observations import MachineSeen
from .plain import parsed
from .reading import ReadRun
from .records import Record
from .run import RENDERERS, RESULTS, Run
from .seal import MANIFEST, SIGNATURE

__all__ = ["MergeError", "below", "merge"]

HARNESS = "dc-harness"
MADE_ANEW = frozenset({RESULTS, MANIFEST, SIGNATURE, *RENDERERS})
"""Files of a shard that the merged run has of its own."""


class MergeError(Exception):
    """These runs do not belong together. The message is a sentence."""


def merge(shards: Sequence[ReadRun], directory: Path) -> Run:
    """Write one run into a directory that is new or empty. Raises `MergeError`, and then leaves nothing there."""
    for refused in _refused(shards, directory):
        raise MergeError(refused)
    try:
        merged = Run(directory)
        for shard in shards:
            _copy(shard.directory, merged.directory / shard.name)
            for record in shard.records:
                merged.append(below(shard.name, record))
        merged.finish()
    except OSError as error:
        shutil.rmtree(directory, ignore_errors=True)
        raise MergeError(f"{directory} cannot be written: {plain(error)}") from error
    return merged


def _refused(shards: Sequence[ReadRun], directory: Path) -> Iterator[str]:
    """Reasons for which these are not parts of one run."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        yield f"{directory} is there already, and not empty"
    for shard in shards:
        if not shard.records:
            yield f"{shard.directory} has no result: leave it out, and what it was to run stays `not run`"
    for one, other in combinations(shards, 2):
        if of_matrix := _not_of_one_matrix(one, other):
            yield of_matrix
        if one.name == other.name or _digest(one) == _digest(other):
            yield f"{one.directory} and {other.directory} are the same run"
        for of in (_versions, _schemas):
            versions = of(one), of(other)
            # A shard that was killed early does not say its version.
            if all(versions) and versions[0] != versions[1]:
                words = " and ".join(f"{each.name} by {of(each)}" for each in (one, other))
                yield f"these runs are of different versions: {words}"


def _not_of_one_matrix(one: ReadRun, other: ReadRun) -> str:
    """Reason for which two runs are not parts of one matrix, or empty; runs that are no matrix have none."""
    first, second = plans(one.records), plans(other.records)
    if not first and not second:
        return ""
    if not first or not second or first[0].digest != second[0].digest:
        return f"{one.directory} and {other.directory} are not parts of the same matrix: their plans differ"
    if first[0].shard == second[0].shard:
        return f"{one.directory} and {other.directory} are both shard {first[0].shard}"
    return ""


def _digest(shard: ReadRun) -> str:
    return hashlib.sha256((shard.directory / RESULTS).read_bytes()).hexdigest()


def _versions(shard: ReadRun) -> str:
    """Of dc-harness, in words."""
    machines = (machine for record in shard.records for machine in record.seen(MachineSeen))
    found = {machine.versions[HARNESS] for machine in machines if HARNESS in machine.versions}
    return f"{HARNESS} {', '.join(sorted(found))}" if found else ""


def _schemas(shard: ReadRun) -> str:
    """Of its records, in words."""
    found = set()
    for line in (shard.directory / RESULTS).read_bytes().split(b"\n"):
        with suppress(ValueError):  # what cannot be read is among the shard's problems
            found.add(str(parsed(line).get("schema", 1)))
    return f"records of version {', '.join(sorted(found))}"


def _copy(source: Path, target: Path) -> None:
    """All files of a run that are not made anew. What a symbolic link leads to is no part of it."""
    for file in sorted(source.rglob("*")):
        name = file.relative_to(source)
        if file.is_file() and not file.is_symlink() and str(name) not in MADE_ANEW:
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target / name)


def below(directory: str, record: Record) -> Record:
    """The record, with its evidence below that directory; `.` changes nothing."""
    if directory == ".":
        return record
    moved = tuple(replace(each, path=f"{directory}/{each.path}") for each in record.evidence)
    return replace(record, evidence=moved)
