"""`benchmarks.false_alarms`: runs that are there are read, and verdicts that blame a right server are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.false_alarms import main
from harness.report.records import Record, Verdict
from harness.report.run import Run

SLOW = "machine too slow (alice's audio: sent 38 of 50 per second)"


def a_run(directory: Path, *ended: tuple[Verdict, str], interrupted: str = "") -> None:
    run = Run(directory)
    names = [f"mail.check_{number}" for number in range(len(ended))]
    run.plan(((name, ("MAIL-1",)) for name in names), target="t")
    for name, (verdict, reason) in zip(names, ended, strict=True):
        record = Record(run.name, name, Verdict.PASSED, 1.0, 1.0, "t", ("MAIL-1",))
        run.add(replace(record, verdict=verdict, reason=reason), [])
    run.end(interrupted=interrupted)


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ((Verdict.PASSED, ""), 0),
        ((Verdict.UNDECIDED, SLOW), 0),
        ((Verdict.UNDECIDED, "nobody knows"), 1),
        ((Verdict.FAILED, "no answer"), 1),
    ],
)
def test_what_blames_a_right_server_or_nobody_is_an_alarm(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: tuple[Verdict, str], code: int
) -> None:
    a_run(tmp_path / "run-1", (Verdict.PASSED, ""), (Verdict.PASSED, ""))
    a_run(tmp_path / "run-2", (Verdict.PASSED, ""), wrong)
    assert main(["--runs", "2", "--out", str(tmp_path)]) == code
    said = capsys.readouterr().out
    assert "run-1: 2 passed; " in said
    assert (f"    {wrong[0]}: mail.check_1: {wrong[1]}" in said) == bool(code)
    assert "2 runs, 4 verdicts: " in said


def test_a_part_of_a_run_is_not_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a_run(tmp_path / "run-1", (Verdict.PASSED, ""), interrupted="Ctrl-C")
    with pytest.raises(SystemExit) as ended:
        main(["--runs", "1", "--out", str(tmp_path)])
    assert ended.value.code == 2
    assert "run-1 has a part of a run: remove it, and it is made anew" in capsys.readouterr().err
