import shutil
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from harness.hosts import MissingCapability

from .installed import Installed, install
from .quick_starts import quick_starts


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


@pytest.fixture(scope="session", autouse=True)
def _quick_starts() -> Iterator[None]:
    with quick_starts():
        yield
