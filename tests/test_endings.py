"""`benchmarks.endings`: commands that a signal ends leave no process, and no file that the next start does not remove.

The bound of five seconds is that of the benchmark, on a quiet machine: here a minute, in which what was left would
still be there.
"""

from __future__ import annotations

import sys
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGKILL, SIGTERM, Signals

import pytest

from benchmarks.endings import COMMANDS, IN_A_CALL, SERVED, Command, Moment, end

WITHIN = 60.0
AS_IT_IS_SERVED = Moment(SERVED.process, 0)
"""Not later: on a fast machine the doctor has said all within two seconds."""
LEAVES_A_PROCESS = "import subprocess; print(subprocess.Popen(['sleep', '3'], start_new_session=True).wait())"


@pytest.mark.parametrize(
    ("name", "moment", "by"),
    [
        ("doctor", AS_IT_IS_SERVED, SIGTERM),
        pytest.param("check", IN_A_CALL[0], SIGKILL, marks=pytest.mark.nightly),
        pytest.param("check", IN_A_CALL[1], SIGTERM, marks=pytest.mark.nightly),
        pytest.param("pytest", IN_A_CALL[0], SIGHUP, marks=pytest.mark.nightly),
        pytest.param("pytest", IN_A_CALL[0], SIGKILL, marks=pytest.mark.nightly),
        pytest.param("signoff", SERVED, SIGKILL, marks=pytest.mark.nightly),
        pytest.param("matrix", SERVED, SIGINT, marks=pytest.mark.nightly),
        pytest.param("matrix", SERVED, SIGKILL, marks=pytest.mark.nightly),
        pytest.param("mutants", Moment("mutants", 8), SIGKILL, marks=pytest.mark.nightly),
    ],
)
def test_nothing_outlives_a_command_that_is_ended(
    tmp_path: Path, name: str, moment: Moment, by: Signals
) -> None:
    assert end(COMMANDS[name], moment, by, tmp_path, within=WITHIN).faults == []


def test_a_process_and_a_file_that_are_left_are_found(tmp_path: Path) -> None:
    program = "import tempfile; tempfile.mkdtemp(); " + LEAVES_A_PROCESS
    command = Command((sys.executable, "-c", program), (), has_directory=False)
    faults = end(command, Moment("sleep 3", 0), SIGTERM, tmp_path, within=0.5).faults
    assert any("every process to end" in each and "sleep" in each for each in faults)
    assert any(each.startswith("left tmp") for each in faults)


def test_a_command_that_is_faster_than_its_moment_is_ended_sooner(tmp_path: Path) -> None:
    command = Command(("sleep", "1"), (), has_directory=False)
    found = end(command, Moment("sleep", 1.5), SIGTERM, tmp_path, within=WITHIN)
    assert found.moment.seconds < 1.5
    assert found.faults == []


def test_a_command_without_the_moment_is_not_tried(tmp_path: Path) -> None:
    [fault] = end(Command(("false",), (), has_directory=False), Moment("sleep", 1), SIGTERM, tmp_path).faults
    assert fault == "not tried: it ended with exit code 1 before"


def test_an_exit_code_that_is_not_of_the_signal_is_found(tmp_path: Path) -> None:
    program = "import signal, subprocess, sys; signal.signal(15, lambda *_: sys.exit(1)); "
    program += "subprocess.run(['sleep', '3'])"
    command = Command((sys.executable, "-c", program), (), has_directory=False)
    assert "exit code 1" in end(command, Moment("sleep 3", 0), SIGTERM, tmp_path, within=WITHIN).faults
