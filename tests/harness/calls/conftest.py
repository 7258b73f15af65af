"""Two real cores on a server that offers TURN to nobody here: no core is asked for ICE servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.clients.core.core import befriend
from harness.clients.device import Device, devices_online
from harness.hosts import LocalHost
from harness.servers.reference import Reference
from harness.servers.server import Wants
from harness.stage.session import loopback_place
from harness.target import Service, Target

Friends = tuple[Device, Device]


@pytest.fixture(scope="module")
def mail(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Target, Path]]:
    """The server, and where cores write."""
    directory = tmp_path_factory.mktemp("mail")
    place = loopback_place(directory / "state", directory / "logs")
    wants = Wants(services=frozenset({Service.MAIL, Service.IROH_RELAY}))
    with Reference().start(LocalHost(), place, wants) as server:
        yield server.target, place.logs


@pytest.fixture(scope="module")
def friends(mail: tuple[Target, Path]) -> Iterator[Friends]:
    with devices_online(("alice", "bob"), *mail) as (alice, bob):
        befriend(alice.account, bob.account)
        yield alice, bob
