"""`dc-harness mutants --deployments`: doctor and checks against deployments that are wrong on purpose, as a table.

Each is a program to the harness, as every mutant is: `python -m mutants.deployments --list-json` says which there are
and what each declares, `python -m mutants.deployments FAULT LAYOUT` starts one and says what was seen of it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import queue
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from ..hosts import LocalHost
from ..report.records import Verdict
from ..report.run import new_run_directory
from .check import RUNS
from .choice import require_known
from .console import complain, say
from .exit_codes import FAILED, NOTHING_RAN, PASSED, UNDECIDED
from .interrupts import Interrupted, interruptible, uninterrupted

__all__ = [
    "Checked",
    "Deployment",
    "Seen",
    "declared_deployments",
    "faults_of",
    "judge",
    "run",
    "run_table",
    "too_slow",
]

TOO_SLOW = 4.0
"""Times. Two busy programs beside it on two cores make 2."""
COMMAND = (sys.executable, "-m", "mutants.deployments")
LIST = "python -m mutants.deployments --list-json"
LIST_WITHIN = 60.0


@dataclass(frozen=True)
class Deployment:
    """One fault on one layout, and what it declares."""

    fault: str
    wrong: str
    layout: str
    causes: tuple[str, ...]
    """That the doctor and the red checks must name, at least one and no other; none: it must name none."""
    red: Mapping[str, str]
    """Checks that must fail, with words that the reason must contain."""
    green: tuple[str, ...] = ()
    """Checks that must not fail; for a deployment that is right."""

    @property
    def name(self) -> str:
        return f"{self.fault} on {self.layout}"


class Checked(NamedTuple):
    """A check of one deployment."""

    verdict: str
    reason: str = ""
    cause: str = ""
    """That its record names; empty: none."""


@dataclass(frozen=True)
class Seen:
    """Everything that was seen of one deployment."""

    causes: tuple[str, ...] = ()
    """Named by the doctor: the server is sick by them."""
    notes: tuple[str, ...] = ()
    """Causes that the doctor mentions, with which a server is healthy."""
    doctor_seconds: float = 0.0
    checks: Mapping[str, Checked] = field(default_factory=dict)
    """By name."""
    unknown: tuple[str, ...] = ()
    """Sentences of the doctor on what it could not tell."""
    slowness: float = 1.0
    """Times that work took longer than on an idle machine, when the doctor looked."""
    missing: str = ""
    """Reason for which it cannot exist on this machine."""
    error: str = ""
    """Reason for which nothing was seen."""


def run(arguments: argparse.Namespace) -> int:
    """Print the table, and keep it as JSON and as Markdown. Exit code 1 for a wrong or a missing cause."""
    declared = declared_deployments()
    require_known("fault", arguments.fault, {each.fault for each in declared}, LIST)
    require_known("server of deployments", arguments.on, {each.layout for each in declared}, LIST)
    deployments = [
        each
        for each in declared
        if (not arguments.fault or each.fault in arguments.fault)
        and (not arguments.on or each.layout in arguments.on)
    ]
    if not deployments:
        complain(f"none of these faults is tried on such a server; `{LIST}` shows them")
        return NOTHING_RAN
    directory = arguments.out or new_run_directory(RUNS)
    directory.mkdir(parents=True, exist_ok=True)
    table: dict[str, Seen] = {}
    wanted, ending = len(deployments), None
    with uninterrupted():
        try:
            with interruptible(), closing(run_table(deployments, arguments.jobs)) as found_ones:
                for deployment, seen in found_ones:
                    table[deployment.name] = seen
                    sys.stderr.write(f"{deployment.name}: {_what_was_seen(seen)}\n")
        except Interrupted as signal:
            ending = signal
            deployments = [each for each in deployments if each.name in table]
        (directory / "deployments.json").write_text(as_json(deployments, table), encoding="utf-8")
        (directory / "deployments.md").write_text(render_markdown(deployments, table), encoding="utf-8")
    if table:
        say(render(deployments, table))
    found = [(each, sentence) for each in deployments for sentence in faults_of(each, table[each.name])]
    undecided = [each.name for each, _ in found if too_slow(table[each.name])]
    wrong = [sentence for each, sentence in found if each.name not in undecided]
    for each, sentence in found:
        say(f"{sentence}; undecided, for {why}" if (why := too_slow(table[each.name])) else sentence)
    if table:
        say(judge(deployments, table))
    say(f"Results in {directory}")
    if ending is not None:
        say(f"Interrupted after {len(table)} of {wanted} deployments: no verdict ({ending})")
        return ending.exit_code
    if all(seen.missing for seen in table.values()):
        return NOTHING_RAN
    if wrong:
        return FAILED
    return UNDECIDED if undecided else PASSED


def declared_deployments() -> list[Deployment]:
    """All, those first in which nothing is wrong. Raises RuntimeError when `mutants` does not say which there are."""
    process = LocalHost().start_program(
        [*COMMAND, "--list-json"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    output, _ = process.communicate(timeout=LIST_WITHIN)
    if process.returncode != 0:
        raise RuntimeError("python -m mutants.deployments --list-json failed")
    return [_declared(each, layout) for each in json.loads(output) for layout in each["on"]]


def _declared(fault: Mapping[str, Any], layout: str) -> Deployment:
    return Deployment(
        fault["name"],
        fault["wrong"],
        layout,
        tuple(fault["causes"]),
        fault["red"],
        tuple(fault["green"].get(layout, ())),
    )


def run_table(deployments: Sequence[Deployment], jobs: int) -> Generator[tuple[Deployment, Seen], None, None]:
    """Look at each deployment, `jobs` at a time, and give what is seen as it comes. Closing it ends what runs."""
    came: queue.SimpleQueue[tuple[Deployment, Seen]] = queue.SimpleQueue()
    shares = [share for number in range(jobs) if (share := deployments[number::jobs])]
    processes: list[subprocess.Popen[bytes]] = []
    with ThreadPoolExecutor(len(shares)) as pool:
        try:
            for share in shares:
                pool.submit(_look_at, share, came.put, processes.append)
            for _ in deployments:
                yield came.get()
        finally:
            for each in processes:
                each.terminate()


def _look_at(
    share: Sequence[Deployment],
    give: Callable[[tuple[Deployment, Seen]], None],
    started: Callable[[subprocess.Popen[bytes]], None],
) -> None:
    """One after the other, in one process: half of the work is to load everything."""
    process = LocalHost().start_program(
        [*COMMAND, *(f"{each.fault}:{each.layout}" for each in share)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    started(process)
    assert process.stdout is not None
    with process:
        for deployment, line in itertools.zip_longest(share, process.stdout):
            give((deployment, _seen(line)))


def _seen(line: bytes | None) -> Seen:
    if line is None:
        return Seen(error="the program that looked ended before")
    said = json.loads(line)
    checks = {name: Checked(*checked) for name, checked in said["checks"].items()}
    return Seen(
        tuple(said["causes"]),
        tuple(said["notes"]),
        said["doctor_seconds"],
        checks,
        tuple(said["unknown"]),
        said["slowness"],
        said["missing"],
        said["error"],
    )


def too_slow(seen: Seen) -> str:
    """The sentence for a machine on which the limits of the doctor, which are seconds, say nothing; or empty."""
    if seen.slowness <= TOO_SLOW:
        return ""
    return f"the machine was {seen.slowness:.0f} times slower than an idle one: run it with nothing else, or --jobs 1"


def faults_of(deployment: Deployment, seen: Seen) -> list[str]:
    """Sentences on everything that is not as declared, on a machine that is not `too_slow`."""
    if seen.missing:
        return []
    if seen.error:
        return [f"{deployment.name} was not looked at: {seen.error}"]
    return [*_faults_of_doctor(deployment, seen), *_faults_of_checks(deployment, seen)]


def _faults_of_doctor(deployment: Deployment, seen: Seen) -> Iterator[str]:
    declared = " or ".join(deployment.causes)
    if strange := [each for each in seen.causes if each not in deployment.causes]:
        how = "besides" if set(deployment.causes) & set(seen.causes) else "instead of"
        instead = f" {how} {declared}" if declared else ", and nothing is wrong"
        yield f"{deployment.name}: the doctor names {', '.join(strange)}{instead}"
    elif not deployment.causes and seen.unknown:
        yield f"{deployment.name}: the doctor cannot tell, and nothing is wrong: {'; '.join(seen.unknown)}"
    elif deployment.causes and not set(deployment.causes) & {*seen.causes, *seen.notes}:
        yield f"{deployment.name}: the doctor does not name {declared}"


def _faults_of_checks(deployment: Deployment, seen: Seen) -> Iterator[str]:
    yield from (
        f"{deployment.name}: {name} did not run" for name in deployment.red.keys() - seen.checks.keys()
    )
    for name, checked in seen.checks.items():
        words = deployment.red.get(name)
        if words is None:
            if checked.verdict in (Verdict.FAILED, Verdict.UNDECIDED):
                yield f"{deployment.name}: {name} is {checked.verdict}: {checked.reason}"
        elif checked.verdict != Verdict.FAILED or words not in checked.reason:
            yield f"{deployment.name}: {name} does not fail with {words!r}: {checked.verdict} {checked.reason}"
        elif checked.cause not in deployment.causes and (checked.cause or not _cannot_be_told_apart(seen)):
            declared = " or ".join(deployment.causes)
            yield f"{deployment.name}: {name} names {checked.cause or 'no cause'} instead of {declared}"


def _cannot_be_told_apart(seen: Seen) -> bool:
    """The doctor says two causes, so that a check, which names one, can name neither."""
    return len(seen.causes) > 1


def judge(deployments: Sequence[Deployment], table: Mapping[str, Seen]) -> str:
    """The last line: how many of the deployments were seen as they are."""
    looked_at = [each for each in deployments if not table[each.name].missing]
    right = [each for each in looked_at if not faults_of(each, table[each.name])]
    left_out = len(deployments) - len(looked_at)
    skipped = f"; {left_out} cannot exist on this machine" if left_out else ""
    return f"{len(right)} of {len(looked_at)} deployments are seen as they are{skipped}"


def render(deployments: Sequence[Deployment], table: Mapping[str, Seen]) -> str:
    """The table as text, a line for each deployment."""
    width = max(len(each.name) for each in deployments)
    return "\n".join(
        f"{'!' if faults_of(each, table[each.name]) else ' '} {each.name:{width}}  {_what_was_seen(table[each.name])}"
        for each in deployments
    )


def _what_was_seen(seen: Seen) -> str:
    if seen.missing or seen.error:
        return f"left out: {seen.missing}" if seen.missing else f"error: {seen.error}"
    return f"{_named(seen):30} {seen.doctor_seconds:5.1f} s  red: {', '.join(_red(seen)) or 'none'}"


def _named(seen: Seen) -> str:
    besides = f", with {', '.join(seen.notes)}" if seen.notes else ""
    return f"{', '.join(seen.causes) or 'healthy'}{besides}"


def _red(seen: Seen) -> list[str]:
    return [name for name, checked in seen.checks.items() if checked.verdict == Verdict.FAILED]


def _besides_the_doctor(seen: Seen, name: str) -> str:
    """The cause that a check names, where it is not all that the doctor does."""
    cause = seen.checks[name].cause
    if (cause,) == seen.causes:
        return ""
    return f" ({cause or 'no cause of the two'})"


def render_markdown(deployments: Sequence[Deployment], table: Mapping[str, Seen]) -> str:
    """The table for docs, as it was measured."""
    lines = [
        "| fault | server | cause that the doctor names | seconds | red checks |",
        "|---|---|---|---|---|",
    ]
    previous = ""
    for each in deployments:
        seen = table[each.name]
        about = f"**{each.fault}**: {each.wrong}" if each.fault != previous else ""
        previous = each.fault
        if seen.missing or seen.error:
            lines.append(f"| {about} | {each.layout} | not looked at | | |")
            continue
        red = ", ".join(f"`{name}`{_besides_the_doctor(seen, name)}" for name in _red(seen))
        lines.append(f"| {about} | {each.layout} | {_named(seen)} | {seen.doctor_seconds:.1f} | {red} |")
    return "\n".join(lines) + "\n"


def as_json(deployments: Sequence[Deployment], table: Mapping[str, Seen]) -> str:
    """Every deployment with what it declares, what was seen, and what is wrong about that."""
    rows = [
        asdict(each) | {"seen": asdict(table[each.name]), "wrong_about_it": faults_of(each, table[each.name])}
        for each in deployments
    ]
    return json.dumps(rows, ensure_ascii=False, indent=1)
