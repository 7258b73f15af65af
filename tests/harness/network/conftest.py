from collections.abc import Iterator

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
