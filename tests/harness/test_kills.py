"""The kill table in a report: on which wrong servers each check was seen to fail."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from harness.doors.cli import main
from harness.doors.mutants import Cell, as_json
from harness.report.kills import KILLS, kill_table, read_kills
from harness.report.records import Verdict
from harness.report.run import Run

from .records import PASSED

CELLS = [
    Cell("idle_is_mute", "mail.idle", Verdict.FAILED, "no EXISTS came", "no EXISTS", 1.0),
    Cell("mail_is_dead", "mail.idle", Verdict.FAILED, "nothing answers", None, 1.0),
    Cell("mail_is_dead", "mail.policy", Verdict.PASSED, "", None, 1.0),
]


def test_each_check_has_the_servers_that_it_killed(tmp_path):
    (tmp_path / KILLS).write_text(as_json(CELLS))
    kills = read_kills(tmp_path)
    assert kills == read_kills(tmp_path / KILLS)
    [(_, table)] = kill_table(kills, ["mail.idle", "mail.policy", "mail.idle"]).tables
    assert table.rows == [["mail.idle", "idle_is_mute", "mail_is_dead"], ["mail.policy", "none", ""]]


def test_it_is_in_every_report(tmp_path, capsys):
    (tmp_path / KILLS).write_text(as_json(CELLS))
    run = Run(tmp_path / "run")
    run.add(replace(PASSED, run="run"))
    page, text = tmp_path / "p.html", tmp_path / "t.md"
    words = ["report", str(run.directory), "--kills", str(tmp_path)]
    assert main([*words, "--html", str(page), "--markdown", str(text)]) == 0
    assert "idle_is_mute" in page.read_text() and "idle_is_mute" in text.read_text()
    main(words)
    assert "KILL TABLE" in capsys.readouterr().out


@pytest.mark.parametrize(
    "content", ["", "{", "[1]", "{}x", json.dumps([{"check": "a", "mutant": "b", "verdict": "c"}])]
)
def test_what_is_no_kill_table_is_said(tmp_path, capsys, content):
    file = tmp_path / KILLS
    file.write_text(content)
    with pytest.raises(ValueError, match="is no kill table of dc-harness"):
        read_kills(file)
    with pytest.raises(ValueError, match="cannot be read: no such file or directory"):
        read_kills(tmp_path / "none")
    run = Run(tmp_path / "run")
    run.add(PASSED)
    assert main(["report", str(run.directory), "--kills", str(file)]) == 2
    assert "is no kill table" in capsys.readouterr().err
