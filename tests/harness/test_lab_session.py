"""A lab with a server: real cores on machines of their own reach it, and nothing else."""

from __future__ import annotations

from harness.clients.core.core import befriend
from harness.evidence.egress import DirectTraffic
from harness.network import profiles
from harness.realtime.swarm import join
from harness.report.redaction import REDACTED
from harness.servers.registry import server_of
from harness.stage.lab import file_of

from .coturn import needs_coturn
from .labs import lab_stage


def test_devices_on_machines_of_their_own_meet_through_the_server(tmp_path):
    with lab_stage(tmp_path) as lab:
        with lab.people(DirectTraffic.ALL, alice=profiles.ONLY_443, bob=profiles.PUBLIC) as people:
            alice, bob = people
            befriend(alice.account, bob.account)
            table = join(alice, bob, within=60).exchange(20)
            assert table.complete, str(table)
            assert not alice.foreign_hosts(lab.target) | bob.foreign_hosts(lab.target)
            assert {alice.host.address, bob.host.address}.isdisjoint({lab.machine.address, "127.0.0.1"})
        assert lab.outcome, "no device went elsewhere, by the counters at its edge"


@needs_coturn
def test_the_secret_of_a_labs_turn_server_is_in_no_record(tmp_path):
    with lab_stage(tmp_path, kind=server_of("reference+coturn")) as lab:
        secret, redactor = lab.server.turn_secret, lab.stage.session.run.redactor
        assert secret is not None
        assert redactor.text(f"it is {secret}") == f"it is {REDACTED}"


def test_a_lab_of_thirty_devices_has_a_file_name_that_a_disk_takes():
    names = [f"alice in only 443, refused {number}" for number in range(30)]
    assert file_of(names).endswith("-and-26-more")
    assert len(file_of(names)) < 200
    assert file_of(["alice", "bob in only 443, refused"]) == "alice-bob-in-only-443-refused"
