"""`dc-harness mutants`: the whole table of mutants and checks, and what is made of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from harness.doors.catalogue import all_checks
from harness.doors.cli import main
from harness.doors.mutants import RIGHT_SERVER, Cell, Row, declared_mutants, judge, render, run_table
from harness.report.records import Verdict
from harness.waiting import wait_until
from mutants.declaration import all_mutants

MUTANTS = all_mutants()
COMMAND = [sys.executable, "-c", "import sys; from harness.doors.cli import main; sys.exit(main())"]
KILLED = Cell("deaf", "mail.idle", Verdict.FAILED, "no EXISTS during IDLE", "EXISTS during IDLE", 1.0)
ROWS = [Row(RIGHT_SERVER, (), {}), Row("deaf", (), {"mail.idle": "EXISTS during IDLE"})]


def test_the_harness_learns_of_every_mutant_from_the_program():
    rows = {row.name: row for row in declared_mutants()}
    assert list(rows) == [RIGHT_SERVER, *MUTANTS]
    for name, mutant in MUTANTS.items():
        assert rows[name].killed_by == mutant.kills


@pytest.mark.parametrize(
    "cell",
    [
        replace(KILLED, verdict=Verdict.PASSED, reason=""),
        replace(KILLED, verdict=Verdict.UNDECIDED),
        replace(KILLED, reason="something else went wrong"),
        replace(KILLED, mutant=RIGHT_SERVER, declared=None),
        replace(KILLED, mutant=RIGHT_SERVER, declared=None, verdict=Verdict.UNDECIDED),
    ],
)
def test_a_kill_that_is_none_and_a_failure_of_the_right_server_are_faults(cell):
    [fault] = judge([KILLED, cell])
    assert cell.mutant in fault


def test_other_failures_are_no_faults():
    assert judge([KILLED, replace(KILLED, declared=None, reason="cannot work here")]) == []


def test_the_table_has_a_line_for_each_server():
    clean = Cell(RIGHT_SERVER, "mail.idle", Verdict.PASSED, "", None, 1.0)
    lines = render(ROWS, ["mail.idle"], [KILLED, clean]).splitlines()
    assert lines[0] == "  1 mail.idle"
    assert [line.split()[-1] for line in lines[2:4]] == [".", "K"]
    [*_, marked, _legend] = render(ROWS, ["mail.idle"], [replace(KILLED, reason="?")]).splitlines()
    assert marked.split()[-1] == "!"


def test_a_part_of_the_table_as_a_command(tmp_path, capsys):
    arguments = ["--mutant", "irohrelay_missing", "--jobs", "1", "--out", str(tmp_path / "out")]
    assert main(["mutants", "discovery.*", "--declared", *arguments]) == 0
    assert "irohrelay_missing  K" in capsys.readouterr().out
    [cell] = json.loads((tmp_path / "out" / "mutants.json").read_text())
    assert (cell["verdict"], cell["declared"]) == ("failed", "METADATA has no value for")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--mutant", "turn_other_secret", "--mutant", "turn_othersecret"], "(turn_other_secret?)"),
        (["--declared", "--mutant", "turn_other_secret", "mail.idle_reports_new_mail"], "declares a kill"),
        (
            ["--deployments", "--fault", "relay_ip_v6_dead"],
            "no fault is called relay_ip_v6_dead (relay_ipv6_dead?)",
        ),
        (["--deployments", "--on", "exim"], "no server of deployments is called exim"),
    ],
)
def test_nothing_to_do_is_no_success(arguments, sentence, capsys):
    assert main(["mutants", *arguments]) == 5
    assert sentence in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--jobs", "0"], "0 is no number of at least 1"),
        (["--deployments", "--jobs", "-1"], "-1 is no number of at least 1"),
        (["--jobs", "9" * 5000], "is no number of at least 1"),
        (["--fault", "relay_ipv6_dead"], "they go with --deployments"),
        (["--deployments", "--mutant", "turn_other_secret"], "no names of checks and mutants"),
    ],
)
def test_words_that_make_no_sense_are_refused(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["mutants", *arguments])
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.nightly
def test_the_whole_table(tmp_path, capsys):
    code = main(["mutants", "--jobs", str(os.cpu_count() or 1), "--out", str(tmp_path / "out")])
    assert code == 0, capsys.readouterr().out
    cells = json.loads((tmp_path / "out" / "mutants.json").read_text())
    assert len(cells) == (len(MUTANTS) + 1) * len(all_checks())


def test_the_first_ctrl_c_ends_it_and_the_table_is_kept_as_far_as_it_came(tmp_path):
    kept = tmp_path / "out" / "mutants.json"
    process = subprocess.Popen(
        [
            *COMMAND,
            "mutants",
            "discovery.metadata_offers_a_relay",
            "--jobs",
            "1",
            "--out",
            str(tmp_path / "out"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        wait_until(kept.exists, "the first cell", within=120)
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=30)[0]
    finally:
        process.kill()
    cells = json.loads(kept.read_text())
    assert process.returncode == 130
    assert 1 <= len(cells) < len(MUTANTS)
    assert f"Interrupted after {len(cells)} of {len(MUTANTS) + 1} cells: no verdict (Ctrl-C)" in output


def test_a_cell_that_raises_or_dies_is_a_cell(tmp_path):
    lost = Row("lost", ("/bin/false",), {})
    [cell] = run_table([(lost, "discovery.metadata_offers_a_relay")], tmp_path, 1)
    assert (cell.mutant, cell.verdict) == ("lost", Verdict.UNDECIDED)
    assert cell.reason
