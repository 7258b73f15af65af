from collections.abc import Iterator

import pytest

from harness.network.lab import Lab


@pytest.fixture
def lab() -> Iterator[Lab]:
    """An empty lab of this test's own."""
    with Lab() as made:
        yield made
