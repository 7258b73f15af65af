"""The commands as a product: version, completion, lists for programs, and repeating what an earlier run left open."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import harness
from harness.doors import cli
from harness.doors.catalogue import all_checks
from harness.doors.check import _to_repeat
from harness.doors.cli import main
from harness.report.records import Verdict
from harness.report.run import RESULTS, Run
from harness.versions import own_version

from .records import PASSED


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"dc-harness {own_version()}\n"


@pytest.mark.parametrize("command", ["check", "signoff", "mutants", "list"])
def test_help_has_the_exit_codes(capsys, command):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    assert "130 interrupted" in " ".join(capsys.readouterr().out.split())


def test_programs_read_the_list_as_json(capsys):
    assert main(["list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["name"] for each in found] == [each.name for each in all_checks()]
    assert {"requirements", "impact", "sentence"} <= found[0].keys()


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_a_shell_completes_commands_checks_and_servers(capsys, shell):
    assert main(["completion", shell]) == 0
    text = capsys.readouterr().out
    for word in (*cli.COMMANDS, "--undecided", "mail.idle_reports_new_mail", "reference", "relay_v1"):
        assert word in text


def test_bash_offers_the_checks_that_begin_so(capsys, tmp_path):
    main(["completion", "bash"])
    file = tmp_path / "completion"
    file.write_text(capsys.readouterr().out)
    words = "COMP_WORDS=(dc-harness check mail.i); COMP_CWORD=2; _shtab_dc_harness dc-harness mail.i check"
    shown = subprocess.run(
        ["bash", "-c", f"source {file}; {words}; echo ${{COMPREPLY[@]}}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "mail.idle_reports_new_mail" in shown.stdout.split()


def test_the_packages_are_typed():
    for name in ("harness", "reference_server", "mutants"):
        assert (Path(harness.__file__).parent.parent / name / "py.typed").exists()


def earlier(directory: Path) -> Path:
    run = Run(directory / "earlier")
    run.plan([("mail.never", ())], target="t")
    for verdict in Verdict:
        if verdict is not Verdict.NOT_RUN:
            run.add(
                replace(
                    PASSED, run=run.name, check=f"mail.{verdict.name.lower()}", verdict=verdict, reason="so"
                )
            )
    return run.directory


def test_an_earlier_run_says_what_to_repeat(tmp_path):
    run = earlier(tmp_path)
    assert _to_repeat(run, None) == {"mail.failed", "mail.not_reached"}
    assert _to_repeat(None, run) == {"mail.undecided", "mail.never"}
    assert _to_repeat(run, run) == {"mail.failed", "mail.not_reached", "mail.undecided", "mail.never"}
    assert _to_repeat(None, None) is None


@pytest.mark.parametrize("command", ["check", "signoff", "matrix", "mutants", "load"])
def test_results_that_could_not_be_written_are_refused_before_anything_starts(command, tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(SystemExit, match="2"):
        main([command, "--out", str(file / "below")])
    assert f"{file} is no directory" in capsys.readouterr().err


def test_pytest_refuses_them_as_well(tmp_path):
    run = earlier(tmp_path)
    words = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "scenarios/test_tls.py",
        "--dc-out",
        str(run),
    ]
    ended = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False)
    assert ended.returncode == pytest.ExitCode.USAGE_ERROR
    assert "has the results of a run already" in ended.stderr


def test_a_run_takes_no_directory_that_has_one(tmp_path, capsys):
    """An interrupted run beside older results would look as if it had come to its end."""
    run = earlier(tmp_path)
    before = (run / RESULTS).read_bytes()
    with pytest.raises(SystemExit, match="2"):
        main(["check", "mail.idle_reports_new_mail", "--out", str(run)])
    assert "has the results of a run already" in capsys.readouterr().err
    assert (run / RESULTS).read_bytes() == before


def test_nothing_to_repeat_and_no_run_are_said(tmp_path, capsys):
    assert main(["check", "--failed", str(earlier(tmp_path)), "--out", str(tmp_path / "out")]) == 5
    assert "nothing to repeat" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["check", "--undecided", str(tmp_path / "nowhere")])
    assert "is no run" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
