"""Signals to a command: work ends at the first, and what it found is written whatever comes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from harness.doors.cli import main
from harness.doors.exit_codes import FAILED, NOTHING_RAN
from harness.doors.interrupts import Interrupted, interruptible, uninterrupted
from harness.doors.madmail_suite.main import main as drop_in
from harness.report.run import Run

BY = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NO_SERVER = ("--server", "madmail=/bin/false")
AT_EXIT = """
import atexit, os, signal
from harness.doors.exit_codes import FAILED, NOTHING_RAN
from harness.doors.interrupts import interruptible, uninterrupted

atexit.register(lambda: (os.kill(os.getpid(), signal.SIGINT), print("closed", flush=True)))
with uninterrupted(), interruptible():
    pass
"""


@pytest.fixture(autouse=True)
def handlers():
    """A terminal is there, and nothing of a test is left to the next."""
    before = {each: signal.signal(each, signal.default_int_handler) for each in BY}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.mark.parametrize("by", BY)
def test_work_is_interrupted_once_and_what_follows_is_not(by):
    done = []
    with uninterrupted():
        with pytest.raises(Interrupted) as interrupted, interruptible():
            os.kill(os.getpid(), by)
            done.append("worked on")
        os.kill(os.getpid(), by)
        done.append("written")
    assert done == ["written"]
    assert interrupted.value.exit_code == 128 + by
    assert signal.getsignal(by) is signal.default_int_handler


@pytest.mark.parametrize(
    "command",
    [lambda *words: main(["check", "tls.*", *words]), lambda *words: drop_in(["--test-19", *words])],
)
def test_a_signal_while_reports_are_written_changes_nothing(command, tmp_path, monkeypatch, capsys):
    finish = Run.finish

    def disturbed(run: Run) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        finish(run)

    monkeypatch.setattr(Run, "finish", disturbed)
    assert command(*NO_SERVER, "--out", str(tmp_path / "run")) in (FAILED, NOTHING_RAN)
    assert (tmp_path / "run" / "report.html").exists()


def test_what_is_closed_at_the_exit_is_not_disturbed():
    done = subprocess.run([sys.executable, "-c", AT_EXIT], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "closed\n", "")
