"""Servers of two kinds that mail each other: the reference server, and a real madmail where `MADMAIL_BIN` names one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from harness.checks import federation
from harness.report.records import Verdict
from harness.report.run import Run
from harness.servers.registry import server_of
from harness.stage.options import Choice
from harness.stage.session import open_session

BINARY = "MADMAIL_BIN"


@pytest.mark.skipif(not os.environ.get(BINARY), reason=f"{BINARY} names no madmail")
@pytest.mark.parametrize(("first", "second"), [("reference", "madmail"), ("madmail", "reference")])
@pytest.mark.parametrize(
    "check",
    [federation.mail_goes_both_ways_once, federation.groups_and_files_cross_a_slow_link],
    ids=["mail", "slow-link"],
)
def test_they_mail_each_other(check, first: str, second: str, tmp_path: Path) -> None:
    choice = Choice(kind=server_of(first), second=server_of(second))
    with open_session(Run(tmp_path / "run"), choice) as session:
        outcome = check(session.stage("federation"))
    if outcome.verdict is Verdict.SKIPPED:
        pytest.skip(outcome.reason)
    assert outcome.verdict is Verdict.PASSED, outcome
    assert any("of different kinds" in note for note in outcome.notes)
