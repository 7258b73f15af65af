from collections.abc import Generator

import pytest

from harness.hosts import MissingCapability


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
