"""Every check can fail: each mutant dies by the check that was named beforehand, with the words that were declared."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.checks.catalogue import all_checks, run_check
from harness.checks.outcome import CHECKS
from harness.report.records import Verdict
from harness.report.run import Run
from harness.session import open_session
from mutants.registry import MUTANTS

KILLS = [(mutant, kill) for mutant in MUTANTS.values() for kill in mutant.killed_by]


@pytest.mark.parametrize(("mutant", "kill"), KILLS, ids=[f"{m.name}-{k.check}" for m, k in KILLS])
def test_the_named_check_kills_the_mutant(mutant, kill, tmp_path):
    command = [sys.executable, "-m", "mutants", mutant.name]
    with open_session(Run(tmp_path / "run"), command=command) as session:
        outcome = run_check(CHECKS[kill.check], session)
    assert outcome.verdict is Verdict.FAILED, outcome
    assert kill.phrase in outcome.reason


def test_every_check_kills_at_least_one_mutant():
    killers = {kill.check for mutant in MUTANTS.values() for kill in mutant.killed_by}
    assert {check.name for check in all_checks()} - killers == set()


def test_every_named_check_exists():
    assert {kill.check for _mutant, kill in KILLS} <= {check.name for check in all_checks()}


@pytest.mark.parametrize("arguments", [[], ["no_such_mutant"]])
def test_without_a_name_it_says_which_there_are(arguments):
    command = [sys.executable, "-m", "mutants", *arguments]
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    assert found.returncode == 2
    assert all(name in found.stderr for name in MUTANTS)
