"""Upstream's iroh relay as a part of a server; its binaries are named in the environment.

`IROH_RELAY_BIN` is one of generation 0.35, `IROH_RELAY_1_BIN` one of 1.x.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.hosts import LocalHost, MissingCapability
from harness.network.lab import Lab
from harness.servers.iroh_relay import BINARY_VARIABLE, IrohRelay
from harness.servers.probes import answers_http
from harness.servers.server import Place, Ports, ServerError, Unsupported, Wants
from harness.target import Service

from .live import loopback, outcomes, own_processes


@pytest.fixture
def relay() -> IrohRelay:
    relay = IrohRelay()
    relay._path()  # skips with what heals it
    return relay


@pytest.fixture
def relay_1() -> Path:
    if (path := os.environ.get("IROH_RELAY_1_BIN")) is None:
        raise MissingCapability(
            "iroh-relay 1.x",
            "no binary of it is known, and no package has it",
            heal="IROH_RELAY_1_BIN=PATH in the environment",
        )
    return Path(path).absolute()


def test_it_answers_and_says_its_version(relay, tmp_path):
    host = LocalHost()
    with relay.start(host, loopback(tmp_path), Wants()) as running:
        assert running.iroh_relay is not None
        assert answers_http(host, running.iroh_relay, "/generate_204", below=300)
        assert running.versions["iroh-relay"].split()[1][0].isdigit()
        assert running.capabilities == {"iroh_relay"}
    assert not own_processes(tmp_path)


def test_it_is_stopped_killed_paused_and_started_again(relay, tmp_path):
    host = LocalHost()
    with relay.start(host, loopback(tmp_path), Wants()) as running:
        program, url = running.program(Service.IROH_RELAY), running.iroh_relay
        program.stop()
        assert not answers_http(host, url, "/ping")
        program.start()
        assert answers_http(host, url, "/ping")
        program.restart(kill=True)
        assert answers_http(host, url, "/ping")
        program.pause()
        assert not answers_http(host, url, "/ping")
        program.resume()
        assert answers_http(host, url, "/ping")


def test_in_a_lab_it_is_found_at_the_port_of_chatmail(relay, tmp_path):
    with Lab() as lab:
        server, device = lab.server("server"), lab.device("device")
        place = Place(server.address, tmp_path / "state", tmp_path / "logs", Ports())
        with relay.start(server, place, Wants()) as running:
            assert str(running.iroh_relay) == f"http://{server.address}:3340/"
            assert answers_http(device, running.iroh_relay, "/ping")
    assert not own_processes(tmp_path)


def test_the_reference_server_sends_its_clients_there(relay, tmp_path):
    records = outcomes(
        "reference+iroh-relay", tmp_path, "relay.relay_answers_http", "relay.relay_forwards_each_frame_once"
    )
    assert {name: each.reason for name, each in records.items() if each.verdict != "passed"} == {}
    assert {each.server["iroh-relay"].split()[0] for each in records.values()} == {"iroh-relay"}


def test_one_of_1_serves_nodes_of_its_generation_and_no_core(relay_1, tmp_path):
    admits, needs_it = "relay.relay_admits_a_client", "realtime.two_devices_exchange_messages"
    green = {
        "relay.relay_answers_http",
        "relay_v1.relay_v1_forwards_each_datagram_once",
        "relay_v1.relay_v1_refuses_bad_signatures",
        "relay_v1.relay_v1_same_key_rules",
    }
    records = outcomes(
        f"reference+iroh-relay={relay_1}",
        tmp_path,
        *sorted(green),
        admits,
        "relay.relay_forwards_each_frame_once",
        needs_it,
    )
    assert {name for name, each in records.items() if each.verdict == "passed"} == green
    assert {name for name, each in records.items() if each.verdict == "failed"} == {admits}
    assert records[admits].reason.startswith(
        "the relay does not speak the generation of the target's clients (0.35)"
    )
    assert records[needs_it].verdict == "not reached"
    assert records[needs_it].because_of == admits


def test_alone_a_check_with_cores_says_that_they_are_of_another_generation(relay_1, tmp_path):
    name = "realtime.two_devices_exchange_messages"
    [record] = outcomes(f"reference+iroh-relay={relay_1}", tmp_path, name).values()
    assert record.verdict == "failed"
    assert record.reason.startswith("the relay does not speak the generation of the target's clients (0.35)")


def test_without_a_binary_it_is_said_how_to_name_one(monkeypatch, tmp_path):
    monkeypatch.delenv(BINARY_VARIABLE, raising=False)
    with pytest.raises(MissingCapability, match=r"--server iroh-relay=PATH, or IROH_RELAY_BIN"):
        IrohRelay().start(LocalHost(), loopback(tmp_path), Wants())


def test_a_path_that_is_wrong_is_an_error_and_no_skip(tmp_path):
    with pytest.raises(
        ServerError, match=r"^iroh-relay does not start: there is no program /nowhere/iroh-relay$"
    ):
        IrohRelay(Path("/nowhere/iroh-relay")).start(LocalHost(), loopback(tmp_path), Wants())


def test_what_it_cannot_do_is_unsupported(tmp_path):
    with pytest.raises(Unsupported, match="iroh-relay cannot set relay_ping_interval"):
        IrohRelay(Path("/x")).start(LocalHost(), loopback(tmp_path), Wants(relay_ping_interval=2))


def test_one_that_does_not_serve_is_ended(tmp_path):
    program = tmp_path / "iroh-relay"
    program.write_text("#!/bin/sh\n[ $1 = --version ] && echo iroh-relay 0.35.0 && exit\nexec sleep 600\n")
    program.chmod(0o755)
    place = loopback(tmp_path)
    impatient = Place(place.address, place.state, place.logs, within=1)
    with pytest.raises(
        ServerError, match=r"did not answer HTTP at http://127.* within 1 s; it listens nowhere"
    ):
        IrohRelay(program).start(LocalHost(), impatient, Wants())
    assert not own_processes(tmp_path)
