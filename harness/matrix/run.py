"""A matrix from its plan to its last record. The plan is written first: whatever ends us, the rest is `not run`."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from ..calls.kinds import AIORTC
from ..clients.core.errors import CoreUnusable
from ..clients.core.versions import core_binary, newest_version
from ..hosts import Host, MissingCapability
from ..report.cells import CellOf, Part, Shard
from ..report.interop import references
from ..report.plan import checks
from ..report.records import Record, Verdict, evidence, read_results
from ..report.run import RESULTS, Run
from ..stage.survey import machine_seen
from . import controls
from .children import OUTPUT, Ended, Job, run_jobs
from .costs import cost_of
from .plan import PAIRWISE, Axes, Plan, in_shard, plan, shard_of
from .registry import NEWEST, Interop

__all__ = ["Matrix", "Settings", "resolved"]

DOOR = "dc-harness matrix"
TAIL = 3
"""Lines of the output of a cell that ended without a result."""
LOST = "the process of the cell ended with {how} and left no result: {said}"

WHOLE = Shard()
Show = Callable[[CellOf, Record, int, int], None]
"""Gets each cell that ended, its record, and how many of how many have."""


@dataclass(frozen=True)
class Settings:
    """How a matrix is run, besides what the registry says."""

    axes: Axes
    pairs: str = PAIRWISE
    seed: int = 1
    shard: Shard = WHOLE
    repeat: int = 1
    at_once: int = 1
    processors: float = 1.0


def resolved(versions: Iterable[str], host: Host) -> dict[str, str]:
    """Version of core for each word, as the index has it now. Raises `MissingCapability` where no index answers."""
    wanted = list(versions)
    newest = newest_version(host) if NEWEST in wanted else ""
    return {each: newest if each == NEWEST else each for each in wanted}


class Matrix:
    """A matrix that runs, or a shard of it."""

    @classmethod
    def planned(cls, interop: Interop, settings: Settings, host: Host) -> Matrix:
        """Raises `ValueError` for a registry whose controls prove nothing; nothing is started or written yet."""
        axes, kills = settings.axes, controls.declared_kills(host)
        found = plan(interop, axes, kills, pairs=settings.pairs, seed=settings.seed, repeat=settings.repeat)
        return cls(interop, settings, found, host)

    def __init__(self, interop: Interop, settings: Settings, planned: Plan, host: Host) -> None:
        self._interop, self._settings, self._plan, self._host = interop, settings, planned, host
        self._seen = planned.seen(
            interop,
            settings.axes,
            pairs=settings.pairs,
            seed=settings.seed,
            repeat=settings.repeat,
            shard=settings.shard,
        )
        self._mine = in_shard(planned.cells, settings.shard)
        self._cells: dict[str, CellOf] = {}
        """Cells that were asked for, by name, with those that blame needs."""
        self._ended = 0
        self._looked: dict[str, controls.Looked] = {}

    @property
    def mine(self) -> frozenset[str]:
        """Names of the cells of this shard."""
        return frozenset(each.name for each in self._mine)

    def go(self, run: Run, show: Show) -> None:
        """Write the plan, then run each cell; `show` gets those that end."""
        self._run, self._show = run, show
        self._run.begin(machine_seen(), self._seen, target=", ".join(self._seen.servers))
        for cell in self._plan.cells:
            self._append(cell, Verdict.NOT_RUN, self._why_not_run(cell))
        self._cells = {each.name: each for each in self._mine}
        for name in dict.fromkeys(each.server for each in self._mine):
            self._look_at(name)
        refusals = self._missing_versions()
        jobs = []
        for cell in self._mine:
            refused = self._looked[cell.server].refused
            lacking = next((refusals[each] for each in (cell.core_a, cell.core_b) if each in refusals), None)
            if cell.part is Part.MADE_UP:
                self._end(cell, *self._looked[cell.server].made_up)
            elif (why := refused or lacking) is not None:
                verdict, reason = why  # nobody saw a control that could not be tried
                self._end(cell, Verdict.SKIPPED if cell.part is Part.MUTANT else verdict, reason)
            else:
                jobs.append(self._job(cell))
        run_jobs(
            sorted(jobs, key=lambda job: -job.cost),
            self._host,
            at_once=self._settings.at_once,
            processors=self._settings.processors,
            ended=self._child_ended,
        )

    def _why_not_run(self, cell: CellOf) -> str:
        shard, shards = shard_of(cell, self._plan.cells, self._settings.shard.of), self._settings.shard.of
        if shard in (0, self._settings.shard.number):
            return "the run did not come to it"
        return f"it is in shard {Shard(shard, shards)}"

    def _look_at(self, name: str) -> None:
        self._looked[name] = controls.look_at(self._interop.servers[name], self._run)

    def _missing_versions(self) -> dict[str, tuple[Verdict, str]]:
        """Versions of core that cannot be had, each looked for once, with the verdict of their cells."""
        found = {}
        for version in dict.fromkeys(
            each for cell in self._mine for each in (cell.core_a, cell.core_b) if each
        ):
            try:
                core_binary(version)
            except (CoreUnusable, MissingCapability) as error:
                found[version] = Verdict.SKIPPED, f"core {version}: {error}"
        return found

    def _job(self, cell: CellOf) -> Job:
        directory = self._run.directory / cell.directory
        words = (*self._words(cell), "--out", str(directory))
        scenario = self._interop.scenarios[cell.scenario]
        return Job(cell.name, words, directory, cost_of(scenario))

    def _words(self, cell: CellOf) -> tuple[str, ...]:
        """Arguments of `dc-harness` that try a cell."""
        server, scenario = self._interop.servers[cell.server], self._interop.scenarios[cell.scenario]
        words = ["check", scenario.check.name, *server.options]
        if cell.core_a:
            words += ["--core", f"alice={cell.core_a},bob={cell.core_b}"]
        if cell.peer not in ("", AIORTC.name):
            words += ["--peer", cell.peer]
        if cell.networks:
            words += ["--pair", cell.networks]
        return tuple(words)

    def _child_ended(self, ended: Ended) -> list[Job]:
        cell = replace(
            self._cells[ended.job.key],
            cpu_s=round(ended.cpu_s, 1),
            command=shlex.join(("dc-harness", *ended.job.words[:-2])),
        )
        record = _result_of(ended, self._check_of(cell)) or self._lost(cell, ended)
        inside = tuple(replace(each, path=f"{cell.directory}/{each.path}") for each in record.evidence)
        if not inside:
            inside = (evidence(ended.job.directory / OUTPUT, self._run.directory),)
        self._keep(cell, replace(record, evidence=inside))
        if record.verdict is Verdict.FAILED and cell.part is Part.MATRIX:
            return list(self._whose_failure(cell))
        return []

    def _whose_failure(self, failed: CellOf) -> Iterator[Job]:
        """The same with a reference on either side, where that is not tried anyway."""
        for cell in references(failed, self._seen):
            found = replace(cell, part=Part.BLAME, attempt=1, cpu_s=None, command="")
            found = replace(found, directory=f"{cell.directory.partition('/')[0]}/{_file_name(found)}")
            asked = {(*each.place[:-1],) for each in self._cells.values()}
            if found.place[:-1] in asked or self._looked_at(found.server).refused:
                continue
            self._cells[found.name] = found
            yield self._job(found)

    def _looked_at(self, name: str) -> controls.Looked:
        if name not in self._looked:
            self._look_at(name)
        return self._looked[name]

    def _lost(self, cell: CellOf, ended: Ended) -> Record:
        tail = (ended.job.directory / OUTPUT).read_text(errors="replace").splitlines()[-TAIL:]
        code = ended.exit_code
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        said = " ".join(each.strip() for each in tail) or "it wrote nothing"
        return self._record(cell, Verdict.UNDECIDED, LOST.format(how=how, said=said), ended.seconds)

    def _check_of(self, cell: CellOf) -> str:
        return self._interop.scenarios[cell.scenario].check.name

    def _record(self, cell: CellOf, verdict: Verdict, reason: str, seconds: float = 0.0) -> Record:
        name, promises = f"matrix.{cell.part}", tuple[str, ...]()
        if cell.part in (Part.MATRIX, Part.BLAME):
            check = self._interop.scenarios[cell.scenario].check
            name, promises = check.name, check.requirements
        versions = self._looked.get(cell.server, controls.Looked()).versions
        return Record(
            self._run.name,
            name,
            verdict,
            time.time() - seconds,
            seconds,
            cell.server,
            promises,
            reason,
            server=versions,
            door=DOOR,
        )

    def _append(self, cell: CellOf, verdict: Verdict, reason: str) -> None:
        record = self._record(cell, verdict, reason)
        self._run.add(replace(record, observations=(cell,)))

    def _end(self, cell: CellOf, verdict: Verdict, reason: str) -> None:
        self._keep(cell, self._record(cell, verdict, reason))

    def _keep(self, cell: CellOf, record: Record) -> None:
        """The record of a cell that ended. That of a control says whether the control is as it must be."""
        self._ended += 1
        if cell.part is not Part.MATRIX and cell.part is not Part.BLAME:
            cell = replace(cell, found=record.verdict.value)
            record = _as_control(cell, record)
        complete = self._run.complete(
            replace(
                record, run=self._run.name, door=DOOR, evidence=(), observations=(*record.observations, cell)
            ),
            (),
        )
        self._run.append(replace(complete, evidence=record.evidence))
        self._show(cell, self._run.records[-1], self._ended, len(self._cells))


def _result_of(ended: Ended, check: str) -> Record | None:
    """The record that the process of a cell left; None: there is none."""
    try:
        records = read_results(ended.job.directory / RESULTS).records
    except OSError:
        return None
    found = [each for each in checks(records) if each.check == check]
    if not found or found[-1].verdict is Verdict.NOT_RUN:
        return None
    return found[-1]


def _as_control(cell: CellOf, record: Record) -> Record:
    """Passed if it is what it must be; one that could not be judged stays what it is."""
    wanted = Verdict.FAILED if cell.must_be_red else Verdict.PASSED
    wanted = Verdict.UNSUPPORTED if cell.part is Part.MADE_UP else wanted
    note = f"{record.verdict}: {record.reason}" if record.reason else str(record.verdict)
    if record.verdict is wanted and cell.must_be_red in record.reason:
        return replace(record, check=f"matrix.{cell.part}", verdict=Verdict.PASSED, reason="", notes=(note,))
    judged = record.verdict in (Verdict.PASSED, Verdict.FAILED, Verdict.UNSUPPORTED)
    must = f"must be {wanted}" + (f" with {cell.must_be_red!r}" if cell.must_be_red else "")
    verdict = Verdict.FAILED if judged else record.verdict
    return replace(record, check=f"matrix.{cell.part}", verdict=verdict, reason=f"{must}, and is {note}")


def _file_name(cell: CellOf) -> str:
    return "".join(each if each.isalnum() or each in "._-" else "-" for each in cell.name)
