"""`--only ROOM` chooses checks by the room that they are in, patterns by their names; both together narrow."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from harness import checks
from harness.checks import ROOMS
from harness.doors.catalogue import all_checks
from harness.doors.cli import main
from harness.doors.listing import ListedCheck, listed_checks

SLOW_TO_LOAD = {
    "aioice",
    "aiortc",
    "asyncio",
    "av",
    "cryptography",
    "deltachat_rpc_client",
    "dns",
    "email",
    "jinja2",
}
SLOW_TO_LOAD |= {"msgspec", "numpy", "pyroute2", "rich", "smtplib", "websockets"}
OF_OURS = {f"harness.{room}" for room in ("calls", "clients", "evidence", "network", "realtime", "report")}
OF_OURS |= {f"harness.{room}" for room in ("servers", "stage", "steps")}


def listed(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """Names of the checks in the list: rooms begin in the first column, checks in the third."""
    assert main(["list", *words]) == 0
    names, room = [], ""
    for line in capsys.readouterr().out.splitlines():
        if not line.startswith(" "):
            room = line
        elif line[2] != " ":
            names.append(f"{room}.{line.split()[0]}")
    return names


def test_a_room_is_a_module_with_the_more_special_ones(capsys):
    rooms = {name.partition(".")[0] for name in listed(capsys, "--only", "calls")}
    assert rooms >= {"calls", "calls_many", "calls_interrupted"}
    assert all(room.startswith("calls") for room in rooms)
    assert {name.partition(".")[0] for name in listed(capsys, "--only", "relay_v1")} == {"relay_v1"}


def test_rooms_add_up_and_patterns_narrow(capsys):
    both = listed(capsys, "--only", "tls", "--only", "services")
    assert {name.partition(".")[0] for name in both} == {"tls", "services"}
    assert listed(capsys, "--only", "calls", "*ring*") == ["calls.calls_ring_and_end"]
    assert listed(capsys) == [check.name for check in all_checks()]


@pytest.mark.parametrize("command", ["check", "list", "mutants"])
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--only", "nowhere"], "no room is called nowhere; `dc-harness list` shows them"),
        (
            ["--only", "tls", "--only", "call"],
            "no room is called call (calls?); `dc-harness list` shows them",
        ),
        (["tls.*", "mail.idle_reports_new_mial"], "(mail.idle_reports_new_mail?)"),
        (["mail.*", "--only", "tls"], "none of these checks is in such a room"),
        (["tls.*", "\x1b[31mred"], "no check is called \N{REPLACEMENT CHARACTER}[31mred"),
    ],
)
def test_words_that_name_nothing_are_told_and_nothing_runs(capsys, command, words, sentence):
    """What is named beside them does not run either: it would look as if all had passed."""
    assert main([command, *words]) == 5
    said = capsys.readouterr()
    assert sentence in said.err
    assert said.out == ""


def test_a_list_fits_a_terminal_of_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(check.sentence.split()[0] in "".join(lines) for check in all_checks())


def test_the_list_says_what_the_checks_are():
    """It is read from their text; they are the ones to know."""
    assert listed_checks() == [
        ListedCheck(check.name, check.requirements, check.impact, check.sentence) for check in all_checks()
    ]


def test_each_module_of_checks_is_a_room():
    files = Path(checks.__path__[0]).glob("*.py")
    assert set(ROOMS) == {file.stem for file in files} - {"__init__"}


def test_a_list_loads_no_client_and_no_check():
    """So that it is there at once: most of what a check needs takes longer to load than all of the list."""
    program = "import sys; from harness.doors.cli import main; main(['list']); sys.stderr.write(' '.join(sys.modules))"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(said.stderr.split())
    assert "harness.target" in loaded
    assert loaded & (SLOW_TO_LOAD | OF_OURS) == set()
    assert {name for name in loaded if name.startswith("harness.checks.")} == set()
