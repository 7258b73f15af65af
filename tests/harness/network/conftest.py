from collections.abc import Generator, Iterator

import pytest

from harness.hosts import MissingCapability
from harness.network.lab import Lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    """An empty lab of this test's own."""
    try:
        made = Lab()
    except MissingCapability as missing:
        pytest.skip(str(missing))
    with made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call() -> Generator[None, object, object]:
    """What this machine cannot do is no failure of a test."""
    try:
        return (yield)
    except MissingCapability as missing:
        pytest.skip(str(missing))
