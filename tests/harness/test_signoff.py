"""`dc-harness signoff` and `--must FILE`: what is run for a must-list, and what comes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.doors.catalogue import all_checks
from harness.doors.cli import main
from harness.doors.must_file import default_list
from harness.doors.signoff import needed
from harness.report.must import Must, MustList
from harness.report.plan import checks
from harness.report.records import read_results
from harness.report.release import must_list
from harness.report.run import RESULTS

FILE = """
[default]
promises = ["MAIL-3", "TURN-1"]
[["default".known]]
check = "turn.turn_is_offered"
owner = "alice@example.org"
expires = {expires}
"""


def signed_off(directory: Path, server: str, expires: str = "2020-01-01") -> int:
    file = directory / "must.toml"
    file.write_text(FILE.format(expires=expires))
    return main(["signoff", "--server", server, "--must", str(file), "--out", str(directory / server)])


def test_what_a_must_depends_on_is_run_too():
    must = MustList("x", (Must("IROH-10", ("relay.relay_refuses_bad_signatures",)),))
    names = [each.name for each in needed(must, all_checks())]
    assert names == [
        "relay.relay_is_reachable",
        "relay.relay_admits_a_client",
        "relay.relay_refuses_bad_signatures",
    ]


def test_by_default_every_check_is_run():
    assert needed(default_list(all_checks()), all_checks()) == all_checks()


def test_a_right_server_is_released(tmp_path, capsys):
    assert signed_off(tmp_path, "reference") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "RELEASE OK: 2 of 2 musts hold; none is broken." in lines
    assert lines[-1] == f"Report: {tmp_path / 'reference' / 'report.html'}"
    records = read_results(tmp_path / "reference" / RESULTS).records
    must = must_list(records)
    assert must is not None
    assert {each.check for each in checks(records)} == {name for each in must.musts for name in each.checks}


@pytest.mark.parametrize(
    ("expires", "code", "line"),
    [
        ("2020-01-01", 1, "RELEASE NOT OK: 1 of 2 musts hold, 1 broken."),
        ("2999-12-31", 0, "RELEASE OK: 1 of 2 musts hold, 1 known red."),
    ],
)
def test_a_known_red_is_red_when_it_has_expired(tmp_path, capsys, expires, code, line):
    assert signed_off(tmp_path, "mutant=turn_milliseconds", expires) == code
    shown = capsys.readouterr().out
    assert line in shown.splitlines()
    assert "alice@example.org answer" in " ".join(shown.split())


@pytest.mark.parametrize("command", ["signoff", "check"])
@pytest.mark.parametrize(
    ("text", "sentence"),
    [('[default]\npromises = ["TRUN-1"]', "did you mean TURN-1"), (None, "cannot be read: No such file")],
)
def test_a_must_list_that_is_wrong_is_a_usage_error(tmp_path, capsys, command, text, sentence):
    file = tmp_path / "must.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(SystemExit, match="2"):
        main([command, "--must", str(file), "--out", str(tmp_path / "run")])
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_must_that_nobody_ran_is_no_sign_off(tmp_path, capsys):
    file = tmp_path / "must.toml"
    file.write_text(FILE.format(expires="2020-01-01"))
    chosen = ["check", "turn.turn_is_offered", "--must", str(file), "--out", str(tmp_path / "run")]
    assert main(chosen) == 3
    shown = capsys.readouterr().out
    assert "NO VERDICT: 1 of 2 musts hold, 1 not judged; none is broken." in shown.splitlines()
    assert "mail.idle_reports_new_mail: it was not run" in shown
