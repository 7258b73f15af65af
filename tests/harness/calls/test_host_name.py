"""METADATA may name TURN by a host name: core looks it up, and agents call through the address.

`localhost` is the one name that every machine has without DNS; names that need DNS belong into a lab with a DNS
server of its own.
"""

from __future__ import annotations

import pytest

from harness.calls.agent import calls_are_possible
from harness.checks.calls import core_lists_the_offered_servers, relayed_call_is_heard_and_seen
from harness.hosts import LocalHost
from harness.report.observations import Measured
from harness.report.run import Run
from harness.servers.reference import COMMAND, Reference
from harness.servers.server import Place, Wants
from harness.stage.options import Choice
from harness.stage.session import Session
from reference_server.addresses import free_ports

HOST, NAME = "127.0.0.1", "localhost"

needs_the_name = pytest.mark.skipif(
    LocalHost().addresses_of(NAME) != {HOST},
    reason=f"on this machine {NAME} is not {HOST} alone (capability localhost)",
)


@needs_the_name
@pytest.mark.skipif(not calls_are_possible(), reason="aiortc is not installed (capability calls)")
def test_a_name_in_metadata_is_as_good_as_an_address(tmp_path):
    ports = free_ports(HOST)
    maddy = tmp_path / "maddy.conf"
    maddy.write_text(
        f"imap {{\n turn_enable yes\n turn_server {NAME}\n turn_port {ports.https}\n turn_secret north\n}}\n"
        f"turn udp://{HOST}:{ports.https} {{\n realm example.org\n secret north\n}}\n"
    )
    relay = tmp_path / "relay.toml"  # without STUN, which would take UDP 3478 of 127.0.0.1 for itself
    relay.write_text(
        f'http_bind_addr = "{HOST}:{ports.iroh_relay}"\nenable_stun = false\nenable_metrics = false\n'
    )
    kind = Reference([*COMMAND, "--config", str(maddy), "--config", str(relay)])
    run, host = Run(tmp_path / "run"), LocalHost()
    with kind.start(host, Place(HOST, tmp_path / "state", run.logs), Wants()) as server:
        session = Session(run, server, server.target, host, run.logs, Choice(), kind=None)
        listed = core_lists_the_offered_servers(session.stage("listed"))
        assert listed, listed
        measured = {
            (each.name, each.subject): each.value
            for each in listed.observations
            if isinstance(each, Measured)
        }
        assert measured["TURN in METADATA", ""] == f"{NAME}:{ports.https}"
        for name in ("alice", "bob"):
            assert measured["ICE servers", name] == f"turn:{HOST}:{ports.https}"
        called = relayed_call_is_heard_and_seen(session.stage("called"))
        assert called, called
