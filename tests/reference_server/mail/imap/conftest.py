from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reference_server.mail.settings import Dialect
from tests.reference_server.mail.imap.dialogue import World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.store.close()


@pytest.fixture
def madmail(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path, dialect=Dialect.MADMAIL)
    yield world
    world.store.close()
