"""Nodes that talk through the iroh relay for longer than a look: `doctor --with-calls`."""

from __future__ import annotations

import json
import socket

import pytest

from harness.diagnosis.diagnosis import diagnose
from harness.diagnosis.relay import judge_swarm
from harness.doors.cli import main
from harness.hosts import LocalHost
from harness.look.look import look_at
from harness.look.swarm import FRAMES, NODES, ROUNDS, look_at_swarm
from harness.report.looks import PortLook, RelayLook, SwarmLook
from harness.report.run import Run
from harness.servers.registry import server_of
from harness.stage.session import open_session

IN_A_ROUND = FRAMES * NODES * (NODES - 1)


def seen_at(server: str, directory) -> tuple[RelayLook, SwarmLook]:
    with open_session(Run(directory / "run"), kind=server_of(server)) as session:
        look = look_at(session.target, LocalHost(), parts=("relay",))
        assert diagnose(look).is_healthy, "a look alone shows nothing"
        assert look.relay is not None
        return look.relay, look_at_swarm(LocalHost(), look.relay)


def test_nodes_that_talk_at_a_relay_that_is_right(tmp_path):
    _, swarm = seen_at("reference", tmp_path)
    assert swarm == SwarmLook("heard", "", ROUNDS * IN_A_ROUND, ROUNDS * IN_A_ROUND)


def test_a_relay_that_stops_to_forward_is_named(tmp_path):
    relay, swarm = seen_at("mutant=relay_forwards_first_frames", tmp_path)
    assert swarm.answer == "failed"
    assert swarm.sent - swarm.arrived > 0
    found = judge_swarm(swarm)
    [named] = found.causes
    assert named.cause.name == "relay.does_not_forward"
    assert f"of {swarm.sent}, {swarm.arrived} arrived" in " ".join(named.evidence)
    assert relay.lost == ()


def test_a_relay_that_has_gone_is_no_cause():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    ports = (PortLook("relay", "127.0.0.1", port, "open"),)
    swarm = look_at_swarm(
        LocalHost(), RelayLook(f"http://127.0.0.1:{port}/", False, ports, paths_asked=False)
    )
    assert swarm.answer == "undecided"
    found = judge_swarm(swarm)
    assert found.causes == []
    assert any("connection refused" in each for each in found.unknown)


@pytest.mark.parametrize(
    ("server", "code", "cause", "answer"),
    [
        ("mutant=relay_forwards_first_frames", 1, "relay.does_not_forward", "failed"),
        ("mutant=relay_drops_frames_to_second_client", 1, "relay.does_not_forward", "not tried"),
        ("reference", 0, None, "heard"),
    ],
)
def test_the_doctor_lets_them_talk_where_nothing_explains_it_yet(server, code, cause, answer, capsys):
    assert main(["doctor", "--server", server, "--only", "relay", "--with-calls", "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert (found["cause"], found["look"]["swarm"]["answer"]) == (cause, answer)
