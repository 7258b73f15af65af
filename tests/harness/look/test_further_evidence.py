"""`doctor --from NETWORK` and `--with-calls`: from devices in a lab, and by a call between real clients.

The server that is elsewhere, and "this machine", are namespaces of ours; nothing leaves them.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from typing import Any

import pytest

from harness.causes.cause import Weight
from harness.diagnosis.diagnosis import diagnose
from harness.doors.cli import main
from harness.doors.doctor import add_command
from harness.doors.examination import examine
from harness.evidence.edges import Edges
from harness.hosts import LocalHost, MissingCapability
from harness.look.look import look_at
from harness.network import profiles
from harness.report.run import Run
from harness.servers.reference import Reference
from harness.servers.registry import server_of
from harness.stage.session import open_session
from harness.steps import doctor_call
from harness.steps.doctor_call import call_through_turn

from ..labs import lab_stage
from ..outside import world

CLOSED = """\
table inet closed {
 chain in {
  type filter hook input priority filter
  iifname != "lo" udp dport 49152-65535 drop
 }
}
"""
SMALL_ALONE = """\
table inet small {
 chain in {
  type filter hook input priority filter
  iifname != "lo" udp length > 500 drop
 }
}
"""


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    with world(tmp_path_factory.mktemp("outside")) as opened:
        yield opened


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_command(parser.add_subparsers(), "")
    return parser.parse_args(["doctor", *words])


def examined(capsys, choice, *words: str) -> tuple[int, dict[str, Any]]:
    code = examine(arguments("--json", *words), choice)
    return code, json.loads(capsys.readouterr().out)


def test_a_server_elsewhere_is_seen_from_a_home(capsys, outside):
    with Edges([outside.machine]) as edges:
        code, found = examined(capsys, outside.choice, "--from", "home")
        rows = edges.now()["this machine"].tx.rows
    assert (code, found["causes"], found["unknown"]) == (0, [], []), found
    assert found["look"]["network"] == "home"
    assert found["look"]["turn"]["from_outside"] is True
    went = {flow.destination.address for flow in rows if flow.protocol != "rest"}
    assert went == {outside.remote.address, outside.network.name_servers[0]}


def test_what_a_home_does_not_get_is_named(capsys, outside):
    outside.remote.namespace.nft(CLOSED)
    try:
        code, found = examined(capsys, outside.choice, "--from", "home", "--only", "turn")
    finally:
        outside.remote.namespace.nft("delete table inet closed")
    assert (code, found["cause"]) == (1, "turn.relay_ports_closed")


def test_two_clients_in_networks_of_a_lab_call_each_other(capsys, outside):
    code, found = examined(capsys, outside.choice, "--from", "home", "--only", "turn", "--with-calls")
    assert (code, found["look"]["call"]["answer"]) == (0, "heard"), found["look"]["call"]
    assert "turn.calls_fail" in found["excluded"]
    assert found["look"]["accounts_left"] == 2


def test_a_call_that_fails_where_turn_seems_right_is_named(tmp_path):
    with lab_stage(tmp_path, kind=Reference()) as lab:
        lab.machine.namespace.nft(SMALL_ALONE)
        look = look_at(lab.target, lab.network.device("doctor", profiles.HOME), parts=("turn",))
        assert diagnose(look).causes == ()
        call = call_through_turn(lab, profiles.HOME)
    [named] = diagnose(replace(look, call=call)).causes
    assert (named.cause.name, named.weight) == ("turn.calls_fail", Weight.SICK)
    assert call.words


def test_a_call_on_one_host(tmp_path):
    with open_session(Run(tmp_path / "run"), kind=server_of("reference")) as session:
        call = call_through_turn(session.stage("call"))
    assert call.answer == "heard", call
    assert call.connected_ms is not None and call.connected_ms > 0


def test_no_call_is_made_where_it_is_known_what_comes_of_it(capsys):
    code = main(
        ["doctor", "--server", "mutant=turn_other_secret", "--only", "turn", "--with-calls", "--json"]
    )
    found = json.loads(capsys.readouterr().out)
    assert (code, found["cause"]) == (1, "turn.secret_differs")
    assert found["look"]["call"]["answer"] == "not tried"


def test_without_agents_a_call_could_not_be_told(tmp_path, monkeypatch):
    def missing() -> None:
        raise MissingCapability("calls", "aiortc is not installed", heal="pip install 'dc-harness[calls]'")

    monkeypatch.setattr(doctor_call, "require_agents", missing)
    with open_session(Run(tmp_path / "run"), kind=server_of("reference")) as session:
        look = look_at(session.target, LocalHost(), parts=("turn",))
        call = call_through_turn(session.stage("call"))
    found = diagnose(replace(look, call=call))
    assert found.causes == () and not found.is_healthy
    assert "pip install 'dc-harness[calls]'" in found.unknown[0]
