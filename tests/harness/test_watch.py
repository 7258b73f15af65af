"""The witnesses of realtime data in a lab see what devices should not do. No core is needed for that."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from harness.clients.relay.client import RelayClient
from harness.evidence.egress import DirectTraffic
from harness.evidence.verdicts import PathVerdict
from harness.hosts import MissingCapability
from harness.network import profiles
from harness.network.lab import LabHost
from harness.servers.registry import server_of
from harness.stage.lab import LabStage
from harness.stage.watch import Watch
from harness.target import Service

from .labs import bystanders, lab_stage

STRANGER_PORT = 8443
HIJACK = """\
table ip hijack {{
 chain pre {{
  type nat hook prerouting priority dstnat
  ip daddr {relay} tcp dport {port} dnat ip to {stranger}:{port}
 }}
}}
"""


@pytest.fixture
def lab(tmp_path) -> Iterator[LabStage]:
    with lab_stage(tmp_path) as lab:
        yield lab


def talk(client: LabHost, server: LabHost, port: int, *, at: str | None = None, size: int = 20_000) -> None:
    """Some bytes over TCP, both ways. `at`: the address that the client believes the server to have."""
    with server.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((server.address, port))
        listening.listen()
        with client.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
            one.settimeout(10)
            one.connect((at or server.address, port))
            other, _ = listening.accept()
            with other:
                for sender, receiver in ((one, other), (other, one)):
                    sender.sendall(bytes(size))
                    left = size
                    while left:
                        left -= len(receiver.recv(left))


def device(host: LabHost) -> Any:
    """In place of a device that lives there: nothing but its name is asked for."""
    return SimpleNamespace(name=host.name)


def forward(lab: LabStage, one: LabHost, other: LabHost) -> None:
    """Fifty frames from one host to another, over the relay that METADATA offers."""
    url = lab.own_relay()
    with RelayClient(one, url) as sender, RelayClient(other, url) as receiver:
        receiver.ping()
        for number in range(50):
            sender.send(receiver.node_id, bytes([number]) * 1000)
        for _ in range(50):
            receiver.receive(within=10)


def test_frames_over_the_relay_are_proven_by_both_edges_and_the_ledger(lab):
    hosts = [lab.network.device(name, profiles.HOME) for name in ("alice", "bob")]
    with bystanders(lab, *hosts) as people:
        with people.watch("talking", Service.IROH_RELAY) as seen:
            forward(lab, *hosts)
        path = seen.path_of_realtime()
    assert path.is_relayed_by(Service.IROH_RELAY), path.sentence
    assert path.witnesses == (
        "counters at the edges",
        "counters at the server's edge",
        "the relay's ledger",
    )


@pytest.mark.parametrize(
    ("server", "needed"), [("reference+iroh-relay", "IROH_RELAY_BIN"), ("madmail", "MADMAIL_BIN")]
)
def test_a_relay_of_others_is_a_witness_by_its_metrics_and_a_lie_of_it_is_seen(server, needed, tmp_path):
    if needed not in os.environ:
        raise MissingCapability(needed, "no binary of it is known", heal=f"{needed}=PATH in the environment")
    with lab_stage(tmp_path, kind=server_of(server)) as lab:
        hosts = [lab.network.device(name, profiles.HOME) for name in ("alice", "bob")]
        with bystanders(lab, *hosts) as people:
            with people.watch("talking", Service.IROH_RELAY) as seen:
                forward(lab, *hosts)
            path = seen.path_of_realtime()
            assert path.is_relayed_by(Service.IROH_RELAY), path.sentence
            assert path.witnesses[-1] == "the relay's metrics"
            counted = next(hop.load.stream for hop in path.hops if hop.witness == "metrics")
            assert 50 * 1000 <= counted < 50 * 1100
            silent = lab.relay_metrics()
            lying = Watch(
                "again",
                seen._parties,
                people.edges,
                server=lab.machine.name,
                ledger=lambda: None,
                metrics=lambda: silent,
            )
            with lying:
                forward(lab, *hosts)
            again = lying.path_of_realtime()
    assert again.verdict is PathVerdict.DISAGREEMENT
    assert "the relay's metrics have from all clients: 0 packets/0 bytes" in again.sentence


def test_a_relay_that_somebody_on_the_way_takes_the_place_of_is_found_out(lab):
    """The devices' edges see the relay's address; only that of the server knows that nothing came there."""
    hosts = [lab.network.device(name, profiles.HOME) for name in ("alice", "bob")]
    stranger = lab.network.server("stranger")
    relay = lab.own_relay()
    lab.network.internet.nft(HIJACK.format(relay=relay.host, stranger=stranger.address, port=relay.port))
    with bystanders(lab, *hosts) as people:
        with people.watch("talking", Service.IROH_RELAY) as seen:
            for host in hosts:
                talk(host, stranger, relay.port, at=relay.host)
        path = seen.path_of_realtime()
    assert path.verdict is PathVerdict.DISAGREEMENT, path.sentence
    assert (
        "alice's edge sent to the relay: 20000 bytes over TCP, "
        "but the server's edge received from alice: 0 packets/0 bytes"
    ) in path.sentence
    assert set(path.shares) == {"iroh_relay"}, "by the devices' edges alone all is well"


def test_data_over_the_relay_of_a_stranger_is_foreign_and_named(lab):
    hosts = [lab.network.device(name, profiles.HOME) for name in ("alice", "bob")]
    stranger = lab.network.server("stranger")
    with bystanders(lab, *hosts) as people:
        with people.watch("talking", Service.IROH_RELAY) as seen:
            for host in hosts:
                talk(host, stranger, STRANGER_PORT)
        path = seen.path_of_realtime()
        assert (path.verdict, path.by) == (PathVerdict.FOREIGN, (stranger.address,)), path.sentence
        went = seen.egress(DirectTraffic.ALL)
        assert not went
        assert f"to {stranger.address} port {STRANGER_PORT} over tcp" in str(went)
        people.expect_nothing_else_contacted(DirectTraffic.ALL, [])
        assert str(stranger.address) in lab.outcome.reason


def test_names_that_the_server_asks_for_are_its_own_affair(lab):
    alice = lab.network.device("alice", profiles.HOME)
    with bystanders(lab, alice) as people:
        with contextlib.suppress(OSError):
            lab.machine.addresses_of("9.0.113.203.in-addr.arpa")
        people.expect_nothing_else_contacted(DirectTraffic.ALL, [])
        assert lab.outcome, lab.outcome.reason
        with contextlib.suppress(OSError):
            alice.addresses_of("elsewhere.example")
        people.expect_nothing_else_contacted(DirectTraffic.ALL, [])
    assert "alice asked DNS for elsewhere.example, which the target does not name" in lab.outcome.reason


def test_a_moved_device_is_known_by_its_new_address_and_by_the_old_one(lab):
    alice, bob = (lab.network.device(name, profiles.PUBLIC) for name in ("alice", "bob"))
    with bystanders(lab, alice, bob) as people:
        with people.watch("talking", Service.IROH_RELAY) as seen:
            forward(lab, alice, bob)
            people.move(device(alice), profiles.PUBLIC)
            talk(bob, alice, STRANGER_PORT)
            forward(lab, alice, bob)
        traffic = seen.traffic()
        assert traffic["bob"].keys() == {"alice", "iroh_relay"}
        assert traffic["alice"]["bob"]["received"] > 20_000
        assert traffic["alice"]["iroh_relay"]["sent"] > 2 * 50 * 1000
        assert seen.path_of_realtime().contradictions == ()
        assert seen.egress(DirectTraffic.ALL)
