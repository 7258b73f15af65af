"""A server in a lab is looked at as one that runs elsewhere: what it offers counts, and not what its kind states."""

from __future__ import annotations

from dataclasses import replace

from harness.hosts import Host
from harness.servers.reference import Reference
from harness.servers.server import Place, RunningServer, Wants

from .labs import lab_stage


class Silent(Reference):
    """A server that says nothing of what it can do."""

    def __init__(self) -> None:
        super().__init__(name="silent")

    def start(self, host: Host, place: Place, wants: Wants) -> RunningServer:
        server = super().start(host, place, wants)
        server.target = replace(server.target, name=self.name, capabilities=frozenset())
        return server


def test_what_a_server_in_a_lab_offers_is_looked_up(tmp_path):
    with lab_stage(tmp_path, kind=Silent()) as lab:
        assert lab.target.capabilities == {"turn", "turns", "iroh_relay", "relay_v035", "relay_v1"}
        assert lab.target_443 is not None
        assert lab.target_443.capabilities == lab.target.capabilities
        offered = lab.offers()
    assert None not in (offered.relay, offered.turn, offered.turns)
