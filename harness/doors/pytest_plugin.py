"""The pytest door: the fixtures `dc_stage` and `dc_lab`, options `--dc-...`, and one writer of results.

It is asked for with one line in a conftest, `pytest_plugins = ["harness.doors.pytest_plugin"]`, and is a guest there:
nothing changes for tests that use neither fixture. Every process that runs tests has a server of its own, so `-n auto`
needs no locks. Workers send their records home with the test reports; only the main process writes `results.jsonl`.

A lab needs root, or a user namespace, which a process can enter only as long as it has no threads: where a collected
test uses a lab, at the end of the collection. A worker of pytest-xdist has threads before; so with xdist an ordinary
user says `dc_labs = true` in pytest's ini file, and the main process enters it before any worker is started.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ..network.preflight import enter_user_namespace
from ..report.findings import accounts_left, counts, took_part
from ..report.records import Record
from ..report.run import Run, new_run_directory
from ..stage.check import Check, recording
from ..stage.lab import LabStage
from ..stage.options import Choice, add_options
from ..stage.session import Session, open_session
from ..stage.stage import Stage
from ..stage.survey import machine_seen

RECORD = "dc_harness_record"
"""Name of the user property that carries a record from a worker to the main process."""
WORKER_DIRECTORY = "dc_harness_run_directory"
RUNS = Path("reports/runs")
PREFIX = "--dc-"
LABS = "dc_labs"

_DIRECTORY = pytest.StashKey[Path]()
_CHOICE = pytest.StashKey[Choice]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("dc-harness", "checks of a chatmail server")
    add_options(_prefixed(group.addoption))
    group.addoption(
        f"{PREFIX}out", type=Path, metavar="DIR", help="directory for results (default: reports/runs/...)"
    )
    parser.addini(LABS, "with pytest-xdist: let tests make networks", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "dc_check(check): the check of dc-harness that a test runs")
    if config.getini(LABS):
        enter_user_namespace()
    try:
        config.stash[_CHOICE] = Choice.read(
            lambda name: config.getoption(f"{PREFIX}{name.replace('_', '-')}".lstrip("-").replace("-", "_"))
        )
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    if not _is_worker(config):
        config.stash[_DIRECTORY] = config.getoption(f"{PREFIX}out") or new_run_directory(RUNS)
        config.pluginmanager.register(_Writer(config.stash[_DIRECTORY]))


def pytest_collection_finish(session: pytest.Session) -> None:
    if not session.config.option.collectonly and any(_uses_lab(item) for item in session.items):
        enter_user_namespace()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """xdist starts a worker: it writes logs below the same directory."""
    node.workerinput[WORKER_DIRECTORY] = str(node.config.stash[_DIRECTORY])


def _prefixed(add: Callable[..., object]) -> Callable[..., object]:
    """Options of ours may not be in the way of a guest's own."""

    def add_prefixed(flag: str, **settings: Any) -> object:
        return add(f"{PREFIX}{flag.removeprefix('--')}", **settings)

    return add_prefixed


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def _uses_lab(item: pytest.Item) -> bool:
    marker = item.get_closest_marker("dc_check")
    entry = marker.args[0] if marker else None
    in_lab = isinstance(entry, Check) and "lab" in entry.needs
    return in_lab or "dc_lab" in getattr(item, "fixturenames", ())


class _Writer:
    """Lives in the main process only: gathers the records of all tests and writes the reports."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._run: Run | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "teardown":
            return
        for name, value in report.user_properties:
            if name == RECORD:
                if self._run is None:
                    self._run = Run(self._directory)
                    self._run.begin(machine_seen())
                self._run.append(Record.from_json(str(value)))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._run is None:
            return
        self._run.finish()
        terminalreporter.section("dc-harness")
        for sentence in took_part(self._run.records):
            terminalreporter.line(sentence)
        terminalreporter.line(f"checks: {counts(self._run.records)}")
        for record in self._run.records:
            for note in record.notes:
                terminalreporter.line(f"{record.check}: {note}")
        if left := accounts_left(self._run.records):
            terminalreporter.line(left)
        terminalreporter.line(f"results in {self._run.directory}")


@pytest.fixture(scope="session")
def _dc_session(request: pytest.FixtureRequest) -> Iterator[Session]:
    config = request.config
    worker = getattr(config, "workerinput", None)
    choice = config.stash[_CHOICE]
    if worker:
        choice = choice.for_worker(int(worker["workerid"].removeprefix("gw")), worker["workercount"])
    run = Run(Path(worker[WORKER_DIRECTORY]) if worker else config.stash[_DIRECTORY])
    logs = run.logs / (worker["workerid"] if worker else "main")
    with open_session(run, choice, logs=logs) as session:
        yield session
    run.redactor.tree(logs)


@pytest.fixture
def dc_stage(_dc_session: Session, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """The server under test, and everything that a check takes. Each check that a test runs with it is recorded."""

    def keep(record: Record, files: Sequence[Path]) -> None:
        complete = _dc_session.run.complete(record, files)
        request.node.user_properties.append((RECORD, complete.to_json()))

    with recording(keep, run=_dc_session.run.name, door=request.node.nodeid):
        yield _dc_session.stage(re.sub(r"[^\w.\[\]-]+", "_", request.node.name))


@pytest.fixture
def dc_lab(dc_stage: Stage) -> Iterator[LabStage]:
    """A lab with a server of the same kind in it: `with dc_lab.people(alice=profiles.HOME) as people:`."""
    with dc_stage.lab() as lab:
        yield lab
