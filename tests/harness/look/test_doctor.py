"""`dc-harness doctor`, as a person or a program calls it."""

from __future__ import annotations

import json

import pytest

from harness.doors.cli import main


def doctor(capsys, *words: str) -> tuple[int, str, str]:
    try:
        code = main(["doctor", *words])
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_a_healthy_server(capsys, tmp_path):
    metrics = tmp_path / "doctor.prom"
    code, out, _ = doctor(capsys, "--server", "reference", "--prometheus", str(metrics))
    assert code == 0
    assert "HEALTHY: nothing was found wrong." in out
    assert 'dc_harness_doctor_healthy{host="reference"} 1' in metrics.read_text()
    assert list(tmp_path.iterdir()) == [metrics]


def test_a_sick_server_for_programs(capsys):
    code, out, _ = doctor(capsys, "--server", "mutant=turn_other_secret", "--json", "--only", "turn")
    found = json.loads(out)
    assert (code, found["cause"]) == (1, "turn.secret_differs")
    assert found["look"]["relay"] is None
    assert "password" not in found["look"]["mail"]


def test_a_part_that_is_not_wrong_is_healthy(capsys):
    code, out, _ = doctor(capsys, "--server", "mutant=turn_other_secret", "--only", "relay")
    assert code == 0
    assert "TURN" not in out


def test_absence_is_sick_with_must(capsys):
    code, out, _ = doctor(capsys, "--server", "mutant=turn_key_missing", "--must", "turn", "--only", "turn")
    assert code == 1
    assert "[metadata.turn_missing]" in out
    assert "dc-harness doctor --server mutant=turn_key_missing" in out


def test_a_name_that_does_not_exist(capsys):
    code, out, _ = doctor(capsys, "nobody.invalid")
    assert code == 1
    assert "[name.d" in out


@pytest.mark.parametrize(
    "words",
    [
        ["https://chat.example.org/"],
        ["chat.example.org:993"],
        ["a.example", "--domain", "b.example"],
        ["a.example", "--watch", "often"],
        ["a.example", "--watch", "1s"],
        ["a.example", "--only", "everything"],
        ["a.example", "--also-ours"],
        ["a.example", "--from", "home"],
        ["--server", "reference", "--from", "nowhere"],
        ["--server", "reference", "--from", "UDP blocked"],
        ["--server", "reference", "--from", "IPv6 only"],
    ],
)
def test_usage(capsys, words):
    code, out, err = doctor(capsys, *words)
    assert code == 2
    assert out == ""
    assert "error: " in err


def test_a_further_host_that_does_not_exist_could_not_be_looked_up(capsys):
    code, _, err = doctor(capsys, "127.0.0.1", "--also-ours", "nobody.invalid")
    assert code == 3
    assert "--also-ours nobody.invalid" in err
