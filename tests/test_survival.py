"""`benchmarks.survival`: a right server has no faults under kills, and one that answers 250 too early has."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

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
