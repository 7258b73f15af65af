"""METADATA may name TURN by a host name: core looks it up, and agents call through the address.

`localhost` is the one name that every machine has without DNS; names that need DNS belong into a lab with a DNS
server of its own.
"""

from __future__ import annotations

import functools

import pytest

from harness.checks.calls import core_lists_the_offered_servers, relayed_call_is_heard_and_seen
from harness.clients.device import devices_online
from harness.hosts import LocalHost
from harness.servers.reference import ReferenceServer
from reference_server.addresses import free_ports

HOST, NAME = "127.0.0.1", "localhost"

needs_the_name = pytest.mark.skipif(
    LocalHost().addresses_of(NAME) != {HOST},
    reason=f"on this machine {NAME} is not {HOST} alone (capability localhost)",
)


@needs_the_name
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
    files = ["--config", str(maddy), "--config", str(relay)]
    logs = tmp_path / "logs"
    with ReferenceServer(tmp_path / "state", logs, arguments=["--host", HOST, *files]) as server:
        devices = functools.partial(devices_online, target=server.target, logs=logs)
        listed = core_lists_the_offered_servers(server.target, LocalHost(), devices)
        assert listed, listed
        assert listed.measurements["turn"].startswith(f"{NAME}:{ports.https}:")
        for name in ("alice", "bob"):
            assert listed.measurements[f"ice_servers_{name}"] == [f"turn:{HOST}:{ports.https}"]
        called = relayed_call_is_heard_and_seen(server.target, LocalHost(), devices)
        assert called, called
