"""Two real cores on the embedded server, which offers TURN to nobody here: no core is asked for ICE servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.clients.core.core import befriend
from harness.clients.device import Device, devices_online
from harness.servers.reference import ReferenceServer
from harness.target import Target

Friends = tuple[Device, Device]


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Target, Path]]:
    """The server, and where cores write."""
    directory = tmp_path_factory.mktemp("mail")
    with ReferenceServer(directory / "state", directory / "logs") as server:
        yield server.target, directory / "logs"


@pytest.fixture(scope="module")
def friends(mail: tuple[Target, Path]) -> Iterator[Friends]:
    with devices_online(("alice", "bob"), *mail) as (alice, bob):
        befriend(alice.account, bob.account)
        yield alice, bob
