"""The table of deployments: what is said of one that is not seen as it is, and the exit code that follows."""

from __future__ import annotations

import json
import sys

import pytest

from harness.doors import deployments
from harness.doors.cli import main
from harness.doors.deployments import Checked, Deployment, Seen, faults_of, judge, render, render_markdown

CLOSED = Deployment(
    "relay_ports_closed",
    "a firewall drops UDP",
    "coturn",
    ("turn.relay_ports_closed",),
    {"turn_from_outside.relayed_address_answers_a_plain_peer": "do not answer from outside"},
)
HEALTHY = Deployment("healthy", "nothing is wrong", "coturn", (), {}, ("turn.turn_is_offered",))
RELAYED = next(iter(CLOSED.red))
RED = {RELAYED: Checked("failed", "the ports do not answer from outside", "turn.relay_ports_closed")}
SILENT = Deployment(
    "turn_stands_still",
    "TURN says nothing",
    "coturn",
    ("turn.not_answering", "turn.udp_filtered"),
    {"turn.turn_grants_an_allocation": "for an answer"},
)
GRANTS = next(iter(SILENT.red))


def waited(cause):
    return {GRANTS: Checked("failed", "waited in vain for an answer", cause)}


@pytest.mark.parametrize(
    ("deployment", "seen", "words"),
    [
        (CLOSED, Seen(("turn.relay_ports_closed",), checks=RED), None),
        (CLOSED, Seen((), notes=("turn.relay_ports_closed",), checks=RED), None),
        (CLOSED, Seen(checks=RED), "the doctor does not name turn.relay_ports_closed"),
        (
            CLOSED,
            Seen(("turn.relay_ports_closed", "turn.secret_differs"), checks=RED),
            "the doctor names turn.secret_differs besides turn.relay_ports_closed",
        ),
        (
            CLOSED,
            Seen(("turn.relay_ports_closed",), checks={RELAYED: Checked("failed", "it is broken")}),
            "does not fail with 'do not answer from outside': failed it is broken",
        ),
        (
            CLOSED,
            Seen(("turn.relay_ports_closed",), checks={RELAYED: Checked("undecided", "no end")}),
            "undecided",
        ),
        (CLOSED, Seen(("turn.relay_ports_closed",)), f"{RELAYED} did not run"),
        (
            CLOSED,
            Seen(("turn.relay_ports_closed",), checks={RELAYED: RED[RELAYED]._replace(cause="")}),
            f"{RELAYED} names no cause instead of turn.relay_ports_closed",
        ),
        (
            CLOSED,
            Seen(
                ("turn.relay_ports_closed",),
                checks={RELAYED: RED[RELAYED]._replace(cause="turn.secret_differs")},
            ),
            f"{RELAYED} names turn.secret_differs instead of turn.relay_ports_closed",
        ),
        (SILENT, Seen(("turn.not_answering", "turn.udp_filtered"), checks=waited("")), None),
        (SILENT, Seen(("turn.not_answering",), checks=waited("turn.udp_filtered")), None),
        (SILENT, Seen(("turn.not_answering",), checks=waited("")), "names no cause instead of"),
        (
            SILENT,
            Seen(("turn.not_answering", "turn.udp_filtered"), checks=waited("turn.secret_differs")),
            "names turn.secret_differs instead of turn.not_answering or turn.udp_filtered",
        ),
        (CLOSED, Seen(missing="capability coturn"), None),
        (CLOSED, Seen(error="no space left"), "was not looked at: no space left"),
        (HEALTHY, Seen(notes=("relay.paths_missing",)), None),
        (HEALTHY, Seen(("mail.port_closed",)), "the doctor names mail.port_closed, and nothing is wrong"),
        (HEALTHY, Seen(unknown=("TURN was too slow",)), "cannot tell, and nothing is wrong"),
        (
            HEALTHY,
            Seen(checks={"turn.turn_is_offered": Checked("failed", "none")}),
            "turn.turn_is_offered is failed",
        ),
    ],
)
def test_everything_that_is_not_as_declared_is_told(deployment, seen, words):
    found = faults_of(deployment, seen)
    if words is None:
        assert found == []
    else:
        [sentence] = found
        assert sentence.startswith(deployment.name)
        assert words in sentence


def test_the_table_marks_what_is_wrong_and_counts():
    table = {CLOSED.name: Seen(), HEALTHY.name: Seen(doctor_seconds=2.4)}
    first, second = render([CLOSED, HEALTHY], table).splitlines()
    assert first.startswith("! relay_ports_closed on coturn")
    assert "healthy" in second and "2.4 s" in second
    assert judge([CLOSED, HEALTHY], table) == "1 of 2 deployments are seen as they are"
    table[CLOSED.name] = Seen(missing="capability coturn")
    assert judge([CLOSED, HEALTHY], table).endswith("1 cannot exist on this machine")


def test_the_page_has_a_row_for_each():
    page = render_markdown([CLOSED, HEALTHY], {each.name: Seen() for each in (CLOSED, HEALTHY)})
    assert page.count("| coturn |") == 2


PROGRAM = """
import json, sys
if sys.argv[1] == "--list-json":
    print(json.dumps([{"name": "odd", "wrong": "it is odd", "causes": ["relay.port_closed"], "red": {},
                       "green": {"coturn": []}, "on": ["coturn"]}]))
else:
    print(json.dumps({"causes": %s, "notes": [], "unknown": [], "doctor_seconds": 1.5, "slowness": %s, "checks": {},
                      "missing": %s, "error": ""}))
"""


@pytest.mark.parametrize(
    ("causes", "slowness", "missing", "code"),
    [
        (["relay.port_closed"], 1.0, "", 0),
        (["relay.port_closed"], 9.0, "", 0),
        (["mail.port_closed"], 2.0, "", 1),
        (["mail.port_closed"], 9.0, "", 3),
        ([], 2.0, "", 1),
        ([], 1.0, "no coturn", 5),
    ],
)
def test_the_exit_code_says_whether_the_cause_was_named(
    causes, slowness, missing, code, tmp_path, monkeypatch, capsys
):
    program = tmp_path / "program.py"
    program.write_text(PROGRAM % (json.dumps(causes), slowness, json.dumps(missing)))
    monkeypatch.setattr(deployments, "COMMAND", (sys.executable, str(program)))
    out = tmp_path / "out"
    assert main(["mutants", "--deployments", "--out", str(out)]) == code
    assert "odd on coturn" in capsys.readouterr().out
    [row] = json.loads((out / "deployments.json").read_text())
    assert bool(row["wrong_about_it"]) == (code in (1, 3))


def test_a_program_that_ends_early_is_told(tmp_path, monkeypatch, capsys):
    program = tmp_path / "program.py"
    program.write_text(
        PROGRAM.replace("print(json.dumps({", "sys.exit(1); print(json.dumps({") % ([], 1.0, '""')
    )
    monkeypatch.setattr(deployments, "COMMAND", (sys.executable, str(program)))
    assert main(["mutants", "--deployments", "--out", str(tmp_path / "out")]) == 1
    assert "the program that looked ended before" in capsys.readouterr().out
