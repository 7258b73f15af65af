"""A lab with a server: real cores on machines of their own reach it, and nothing else."""

from __future__ import annotations

import pytest

from harness.checks.discovery import offered_to_cores, offered_turn
from harness.clients.core.core import befriend
from harness.hosts import MissingCapability
from harness.realtime.swarm import join
from harness.stage.lab import open_lab


@pytest.fixture
def lab(tmp_path):
    try:
        with open_lab(tmp_path / "logs") as session:
            yield session
    except MissingCapability as missing:
        pytest.skip(str(missing))


def test_devices_on_machines_of_their_own_meet_through_the_server(lab):
    places = {name: lab.lab.server(name) for name in ("alice", "bob")}
    offered_to_cores(lab.target, lab.server)
    offered_turn(lab.target, lab.server)
    with lab.devices(places, by_443=["alice"]) as (alice, bob):
        befriend(alice.account, bob.account)
        table = join(alice, bob, within=60).exchange(20)
        assert table.complete, str(table)
        assert not alice.foreign_hosts(lab.target) | bob.foreign_hosts(lab.target)
        assert {alice.host.address, bob.host.address}.isdisjoint({lab.server.address, "127.0.0.1"})
