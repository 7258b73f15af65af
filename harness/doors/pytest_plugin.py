"""The pytest door: fixtures `target`, `host` and `devices`, the run directory, one writer of results.

Every process that runs tests has a server of its own, so `-n auto` needs no locks. Workers send their records home with
the test reports; only the main process writes `results.jsonl`. Nothing happens unless a test asks for a fixture, except
that an ordinary user becomes root of a user namespace, which cannot be done later: a lab is made of networks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ..hosts import Host
from ..network.preflight import enter_user_namespace, preflight
from ..report.records import Record, Verdict
from ..report.run import Run, new_run_directory
from ..report.summary import accounts_left, counts
from ..stage.lab import LabFactory
from ..stage.options import Choice, add_options
from ..stage.session import DeviceFactory, Session, open_session
from ..steps.outcome import recording
from ..target import Target

RECORD = "dc_harness_record"
"""Name of the user property that carries a record from a worker to the main process."""
WORKER_DIRECTORY = "dc_harness_run_directory"
RUNS = Path("reports/runs")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("dc-harness", "checks of a chatmail server")
    add_options(group.addoption)
    group.addoption(
        "--out", type=Path, metavar="DIR", help="directory for results (default: reports/runs/...)"
    )


_DIRECTORY = pytest.StashKey[Path]()
_CHOICE = pytest.StashKey[Choice]()


def pytest_configure(config: pytest.Config) -> None:
    enter_user_namespace()
    config.addinivalue_line("markers", "requirement(*ids): the promises that a test proves")
    config.addinivalue_line("markers", "server(*arguments): how an embedded server is started for this test")
    try:
        config.stash[_CHOICE] = Choice.read(config.getoption)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    if not _is_worker(config):
        config.stash[_DIRECTORY] = config.getoption("--out") or new_run_directory(RUNS)
        config.pluginmanager.register(_Writer(config.stash[_DIRECTORY]))


def pytest_report_header() -> list[str]:
    return preflight().sentences()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """xdist starts a worker: it writes logs below the same directory."""
    node.workerinput[WORKER_DIRECTORY] = str(node.config.stash[_DIRECTORY])


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


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
                self._run = self._run or Run(self._directory, machine=preflight().sentences())
                self._run.append(Record.from_json(str(value)))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._run is None:
            return
        self._run.finish()
        terminalreporter.section("dc-harness")
        terminalreporter.line(f"checks: {counts(self._run.records)}")
        for record in self._run.records:
            for note in record.notes:
                terminalreporter.line(f"{record.check}: {note}")
        if left := accounts_left(self._run.records):
            terminalreporter.line(left)
        terminalreporter.line(f"results in {self._run.directory}")


@pytest.fixture(scope="session")
def _session(request: pytest.FixtureRequest) -> Iterator[Session]:
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
def _served(_session: Session, request: pytest.FixtureRequest) -> Iterator[Session]:
    marker = request.node.get_closest_marker("server")
    with _session.served(marker.args if marker else ()) as session:
        yield session.apart(re.sub(r"[^\w.\[\]-]+", "_", request.node.name))


@pytest.fixture
def host(_served: Session) -> Host:
    """Where the harness's own clients run."""
    return _served.host


@pytest.fixture
def target(_served: Session, request: pytest.FixtureRequest) -> Iterator[Target]:
    """The server under test. Every check that a test makes with it is recorded."""

    def keep(record: Record, files: Sequence[Path]) -> None:
        complete = _served.run.complete(record, files)
        request.node.user_properties.append((RECORD, complete.to_json()))
        if record.verdict in (Verdict.SKIPPED, Verdict.UNSUPPORTED):
            pytest.skip(record.reason)

    with recording(keep, run=_served.run.name, door=request.node.nodeid):
        yield _served.target


@pytest.fixture
def devices(_served: Session) -> DeviceFactory:
    """Starts devices: `with devices(("alice", "bob")) as (alice, bob):`."""
    return _served.devices


@pytest.fixture
def labs(_served: Session) -> LabFactory:
    """Makes labs with a server in them: `with labs() as lab:`."""
    return _served.labs
