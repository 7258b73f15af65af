"""The witnesses of realtime data in a lab see what devices should not do. No core is needed for that."""

import socket

import pytest

from harness.evidence.verdicts import Verdict
from harness.hosts import MissingCapability
from harness.network import profiles
from harness.stage.lab import open_lab
from harness.stage.watch import Watch
from harness.urls import RelayUrl

STRANGER_PORT = 8443


@pytest.fixture
def lab(tmp_path):
    try:
        with open_lab(tmp_path / "logs") as session:
            yield session
    except MissingCapability as missing:
        pytest.skip(str(missing))


def talk(client, server, port, size=20_000):
    """Some bytes over TCP, both ways."""
    with server.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((server.address, port))
        listening.listen()
        with client.socket(socket.AF_INET, socket.SOCK_STREAM) as one:
            one.settimeout(10)
            one.connect((server.address, port))
            other, _ = listening.accept()
            with other:
                for sender, receiver in ((one, other), (other, one)):
                    sender.sendall(bytes(size))
                    left = size
                    while left:
                        left -= len(receiver.recv(left))


def test_data_over_the_relay_of_a_stranger_is_foreign_and_named(lab):
    relay = RelayUrl.parse(f"http://{lab.server.address}:443")
    hosts = [lab.lab.device(name, profiles.HOME) for name in ("alice", "bob")]
    stranger = lab.lab.server("stranger")
    with Watch(lab, relay, hosts) as watch:
        watch.begin("talking")
        for host in hosts:
            talk(host, stranger, STRANGER_PORT)
        watch.end()
        path = watch.path("talking")
        assert (path.verdict, path.by) == (Verdict.FOREIGN, (stranger.address,)), path.sentence
        went = watch.egress()
        assert not went
        assert f"to {stranger.address} port {STRANGER_PORT} over tcp" in str(went)


def test_a_moved_device_is_known_by_its_new_address(lab):
    relay = RelayUrl.parse(f"http://{lab.server.address}:443")
    alice, bob = (lab.lab.device(name, profiles.PUBLIC) for name in ("alice", "bob"))
    with Watch(lab, relay, [alice, bob]) as watch:
        lab.lab.move(alice, profiles.PUBLIC)
        watch.moved(alice)
        watch.begin("talking")
        talk(bob, alice, STRANGER_PORT)
        watch.end()
        assert watch.traffic("talking")["bob"].keys() == {"alice"}
        assert watch.traffic("talking")["alice"]["bob"]["received"] > 20_000
        assert watch.egress()
