"""The pytest door: the fixtures `dc_stage` and `dc_lab`, options `--dc-...`, and one writer of results.

It is asked for with one line in a conftest, `pytest_plugins = ["harness.doors.pytest_plugin"]`, and is a guest there:
nothing changes for tests that use neither fixture. Every process that runs tests has a server of its own, so `-n auto`
needs no locks. Workers send their records home with the test reports; only the main process writes `results.jsonl`.

A lab needs root, or a user namespace, which a process can enter only as long as it has no threads: where a collected
test uses a lab, at the end of the collection. A worker of pytest-xdist has threads before; so with xdist an ordinary
user says `dc_labs = true` in pytest's ini file, and the main process enters it before any worker is started.
"""

from __future__ import annotations

import argparse
import re
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from ..hosts import MissingCapability
from ..network.preflight import enter_user_namespace
from ..report.findings import accounts_left, counts, took_part
from ..report.records import Record
from ..report.run import Run, new_run_directory
from ..servers.server import ServerError, Unsupported
from ..stage.check import Check, recording
from ..stage.lab import LabStage
from ..stage.options import Choice, add_options
from ..stage.session import Session, open_session
from ..stage.stage import Stage
from ..stage.survey import machine_seen
from .exit_codes import INTERRUPTED
from .values import results_directory

RECORD = "dc_harness_record"
"""Name of the user property that carries a record from a worker to the main process."""
WORKER_DIRECTORY = "dc_harness_run_directory"
RUNS = Path("reports/runs")
PREFIX = "--dc-"
ENDINGS = (signal.SIGTERM, signal.SIGHUP)
LABS = "dc_labs"

_DIRECTORY = pytest.StashKey[Path]()
_CHOICE = pytest.StashKey[Choice]()
_HAS_LABS = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("dc-harness", "checks of a chatmail server")
    add_options(_prefixed(group.addoption))
    group.addoption(
        f"{PREFIX}out", type=Path, metavar="DIR", help="directory for results (default: reports/runs/...)"
    )
    parser.addini(LABS, "with pytest-xdist: let tests make networks", type="bool", default=False)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "dc_check(check): the check of dc-harness that a test runs")
    config.addinivalue_line("markers", "nightly: takes minutes")
    if config.getini(LABS):
        enter_user_namespace()
    try:
        config.stash[_CHOICE] = Choice.read(
            lambda name: config.getoption(f"{PREFIX}{name.replace('_', '-')}".lstrip("-").replace("-", "_"))
        )
        if (out := config.getoption(f"{PREFIX}out")) and not _is_worker(config):
            results_directory(out)
    except (ValueError, argparse.ArgumentTypeError) as error:
        raise pytest.UsageError(str(error)) from None
    if not _is_worker(config):
        config.stash[_DIRECTORY] = out or new_run_directory(RUNS)
        config.pluginmanager.register(_Writer(config))


def pytest_collection_finish(session: pytest.Session) -> None:
    if not session.config.option.collectonly and any(_uses_lab(item) for item in session.items):
        session.config.stash[_HAS_LABS] = True
        enter_user_namespace()


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Skip a test of ours that needs a capability which this machine lacks."""
    try:
        return (yield)
    except MissingCapability as missing:
        if "dc_stage" not in pyfuncitem.fixturenames:
            raise
        pytest.skip(str(missing))


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


@contextmanager
def _in_words(hint: str = "") -> Iterator[None]:
    """Skip a test for what cannot be had here, and fail it for a server that does not start, without a traceback."""
    try:
        yield
    except (MissingCapability, Unsupported) as missing:
        raise pytest.skip.Exception(f"{missing}{hint}") from None
    except ServerError as error:
        raise pytest.fail.Exception(str(error), pytrace=False) from None


def _end_in_order() -> None:
    """From now on SIGTERM and the end of the terminal end the session as Ctrl-C does: with its reports."""
    for each in ENDINGS:
        if signal.getsignal(each) is signal.SIG_DFL:
            signal.signal(each, _end)


def _end(number: int, _frame: object) -> None:
    for each in ENDINGS:
        signal.signal(each, lambda *_: None)  # heard already: nothing disturbs the closing
    pytest.exit(signal.Signals(number).name, returncode=INTERRUPTED + number)


class _Writer:
    """Lives in the main process only: gathers the records of all tests and writes the reports."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._run: Run | None = None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "teardown":
            return
        for name, value in report.user_properties:
            if name == RECORD:
                _end_in_order()
                self._run = self._run or self._begin()
                self._run.append(Record.from_json(str(value)))

    def _begin(self) -> Run:
        """With what this machine can do, where that may be tried: it takes a namespace, which nobody else asked for."""
        run = Run(self._config.stash[_DIRECTORY])
        if self._config.getini(LABS) or self._config.stash.get(_HAS_LABS, False):
            run.begin(machine_seen())
        else:
            run.begin()
        return run

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
    if not worker:
        _end_in_order()
    with ExitStack() as stack:
        with _in_words():
            session = stack.enter_context(open_session(run, choice, logs=logs))
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
def dc_lab(dc_stage: Stage, request: pytest.FixtureRequest) -> Iterator[LabStage]:
    """A lab with a server of the same kind in it: `with dc_lab.people(alice=profiles.HOME) as people:`."""
    if "lab" not in dc_stage.capabilities:
        pytest.skip(dc_stage.explain_missing("lab"))
    in_worker = _is_worker(request.config) and not request.config.getini(LABS)
    with ExitStack() as stack:
        with _in_words(f"; with pytest-xdist say {LABS} = true in pytest's ini file" if in_worker else ""):
            lab = stack.enter_context(dc_stage.lab())
        yield lab
