"""coturn as a part of a server: on loopback, in a lab, and disturbed."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from harness.clients.turn.client import TurnClient, TurnRefused
from harness.hosts import LocalHost
from harness.network.lab import Lab
from harness.network.namespace import program
from harness.servers.coturn import Coturn
from harness.servers.probes import answers_stun
from harness.servers.server import Place, Ports, ServerError, TurnLifetimes, Unsupported, Wants
from harness.target import Service

from .live import SECRET, credentials, loopback, outcomes, own_processes, turn_works

WANTS = Wants(turn_secret=SECRET)
LIFETIMES = TurnLifetimes(allocation=70, permission=5, channel=10)


@pytest.fixture(autouse=True)
def needs_coturn() -> None:
    program("turnserver")


def test_it_relays_by_each_transport_and_says_its_version(tmp_path):
    host = LocalHost()
    with Coturn().start(host, loopback(tmp_path), WANTS) as running:
        assert [url.transport for url in running.turn] == ["udp", "tcp", "tls"]
        for url in running.turn:
            turn_works(host, url, running)
        assert running.versions["coturn"].startswith("coturn ")
        assert running.capabilities == {"turn", "turns"}
        stranger = TurnClient(host, running.turn[0], credentials("another"), within=10)
        with stranger, pytest.raises(TurnRefused, match="401"):
            stranger.allocate()
        log = running.program(Service.TURN).log
        assert log is not None
        assert log.read_text()
        assert SECRET not in log.read_text()
    assert not own_processes(tmp_path)


def test_it_is_stopped_killed_paused_and_started_again(tmp_path):
    host = LocalHost()
    with Coturn().start(host, loopback(tmp_path), WANTS) as running:
        turn, url = running.program(Service.TURN), running.turn[0]
        turn.stop()
        assert not answers_stun(host, url)
        turn.start()
        turn_works(host, url, running)
        turn.restart(kill=True)
        turn_works(host, url, running)
        turn.pause()
        assert not answers_stun(host, url)
        turn.resume()
        turn_works(host, url, running)


def test_lifetimes_are_those_that_are_wanted(tmp_path):
    host = LocalHost()
    with (
        Coturn().start(
            host, loopback(tmp_path), Wants(turn_secret=SECRET, turn_lifetimes=LIFETIMES)
        ) as running,
        TurnClient(host, running.turn[0], credentials(SECRET), within=10) as client,
    ):
        assert client.allocate().lifetime <= LIFETIMES.allocation


def test_what_it_cannot_do_is_unsupported(tmp_path):
    with pytest.raises(Unsupported, match="coturn cannot set strict_permissions"):
        Coturn().start(LocalHost(), loopback(tmp_path), Wants(strict_permissions=True))


def test_a_taken_port_is_named_and_nothing_is_started(tmp_path):
    place = loopback(tmp_path)
    taken = Place(place.address, place.state, place.logs, Ports(turn=23478, turns=25349))
    sentence = f"^coturn needs TCP port 25349 of {place.address}: Address already in use$"
    with socket.create_server((place.address, 25349)), pytest.raises(ServerError, match=sentence):
        Coturn().start(LocalHost(), taken, WANTS)
    assert not own_processes(tmp_path)


def test_a_program_that_is_none_is_named(tmp_path):
    with pytest.raises(
        ServerError, match=r"^turnserver does not start: there is no program /nowhere/turnserver$"
    ):
        Coturn(Path("/nowhere/turnserver")).start(LocalHost(), loopback(tmp_path), WANTS)


def test_in_a_lab_it_is_found_at_the_standard_ports(tmp_path):
    with Lab() as lab:
        server, device = lab.server("server"), lab.device("device")
        place = Place(server.address, tmp_path / "state", tmp_path / "logs", Ports())
        with Coturn().start(server, place, WANTS) as running:
            assert [url.port for url in running.turn] == [3478, 3478, 5349]
            for url in running.turn:
                turn_works(device, url, running)
            running.program(Service.TURN).restart(kill=True)
            turn_works(device, running.turn[0], running)
    assert not own_processes(tmp_path)


def test_the_reference_server_sends_its_clients_there(tmp_path):
    records = outcomes(
        "reference+coturn", tmp_path, "turn.turn_is_offered", "turn.turn_allocates_with_offered_credentials"
    )
    assert {name: each.reason for name, each in records.items() if each.verdict != "passed"} == {}
    for each in records.values():
        assert each.target == "reference+coturn"
        assert each.server["coturn"].startswith("coturn ")
