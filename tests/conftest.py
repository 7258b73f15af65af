import os
import shutil
import signal
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from xdist.remote import Producer

from harness.hosts import MissingCapability

from .installed import Installed, install
from .quick_starts import quick_starts
from .schedule import Schedule, rank


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Schedule | None:
    """That of `-n auto`, which is `--dist load`."""
    return Schedule(config, log) if config.getvalue("dist") == "load" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: rank(item.nodeid))


def pytest_configure(config: pytest.Config) -> None:
    """Programs that tests start are compiled once, also where Python is told to write nothing beside its sources."""
    for number in (signal.SIGINT, signal.SIGHUP):  # `&` and `nohup` would let programs under test ignore them
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    cache = getattr(config, "cache", None)  # without the plug-in there is no such attribute
    if os.environ.pop("PYTHONDONTWRITEBYTECODE", None) and cache is not None:
        os.environ["PYTHONPYCACHEPREFIX"] = str(cache.mkdir("bytecode"))


def pytest_xdist_auto_num_workers() -> int | None:
    """Workers of `-n auto`: tests of networks, calls and swarms wait for more than half of their time."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None  # xdist's own way to say how many
    processors = len(os.sched_getaffinity(0))
    return processors + min(processors, 8)  # each takes 300 MB


def pytest_sessionstart(session: pytest.Session) -> None:
    """In whatever process runs tests, and for the scenarios that run with ours."""
    config = session.config
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", default=None):
        started = ExitStack()
        started.enter_context(quick_starts())
        config.add_cleanup(started.close)


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """What this machine cannot do is no failure of a test."""
    try:
        return (yield)
    except MissingCapability as missing:
        pytest.skip(str(missing))


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup() -> Generator[None, object, object]:
    """Nor of what it is given."""
    try:
        return (yield)
    except MissingCapability as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def installed() -> Iterator[Installed]:
    """The wheel in an environment of its own, made once; not below pytest's directories, which are closed to others."""
    base = Path(tempfile.mkdtemp(prefix="dc-harness-installed-"))
    try:
        base.chmod(0o755)
        yield install(base)
    finally:
        shutil.rmtree(base)
