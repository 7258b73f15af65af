"""`--only ROOM` chooses checks by the room that they are in, patterns by their names; both together narrow."""

from __future__ import annotations

import pytest

from harness.doors.catalogue import all_checks
from harness.doors.cli import main


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


def test_a_room_that_is_not_there_runs_nothing(capsys):
    assert main(["check", "--only", "nowhere"]) == 5
    assert "no check has such a name and room" in capsys.readouterr().out


def test_a_list_fits_a_terminal_of_80_columns(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(check.sentence.split()[0] in "".join(lines) for check in all_checks())
