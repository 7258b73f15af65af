"""A TURN server without sockets, and a client of it."""

from __future__ import annotations

import pytest

from tests.reference_server.turn.support import World


@pytest.fixture
def world():
    return World()


@pytest.fixture
def client(world):
    return world.client()
