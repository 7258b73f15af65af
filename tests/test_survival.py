"""`benchmarks.survival` and `benchmarks.clock_jumps`: a right server has no faults under kills and jumps of its clock.

One that answers 250 too early has, and so has one that times a call by a clock that jumps.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from benchmarks.clock_jumps import Clock, jump
from benchmarks.survival import survive
from harness.report.run import Run
from harness.servers.reference import COMMAND, Reference
from harness.stage.session import open_session

HASTY = (sys.executable, "-m", "mutants", "mail_lost_after_250")


@pytest.mark.parametrize(("command", "is_right"), [(tuple(COMMAND), True), (HASTY, False)])
def test_nothing_that_was_answered_250_is_lost(
    tmp_path: Path, command: tuple[str, ...], is_right: bool
) -> None:
    with open_session(Run(tmp_path), kind=Reference(command)) as session:
        faults = survive(session.stage("survival"), kills=3, seed=1)
    if is_right:
        assert faults == []
    else:
        assert any("was answered with 250 and is lost" in each for each in faults)


@pytest.mark.skipif(shutil.which("faketime") is None, reason="this machine lacks the capability faketime")
@pytest.mark.parametrize("is_right", [True, False])
def test_a_clock_that_jumps_breaks_nothing(tmp_path: Path, is_right: bool) -> None:
    clock = Clock(tmp_path)
    command = clock.command(COMMAND)
    if not is_right:  # the clock that calls are timed by jumps, too
        command = tuple(each for each in command if "MONOTONIC" not in each)
    with open_session(Run(tmp_path / "run"), kind=Reference(command)) as session:
        # with this seed 26 days forward, then 48 back
        faults = jump(session.stage("clock"), clock, jumps=2 if is_right else 1, seed=6)
    if is_right:
        assert faults == []
    else:
        assert any(" broke " in each for each in faults)
