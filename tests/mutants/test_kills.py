"""Every check can fail: each mutant dies by the check that was named beforehand, with the words that were declared."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

from harness.checks.catalogue import all_checks, run_check
from harness.checks.realtime import two_devices_exchange_messages
from harness.clients.device import Device
from harness.network.preflight import preflight
from harness.report.records import Verdict
from harness.report.run import Run
from harness.servers.reference import ReferenceServer
from harness.stage.lab import LabSession
from harness.stage.session import open_session
from harness.steps.outcome import CHECKS
from mutants.registry import MUTANTS

KILLS = [(mutant, kill) for mutant in MUTANTS.values() for kill in mutant.killed_by]


@pytest.mark.parametrize(("mutant", "kill"), KILLS, ids=[f"{m.name}-{k.check}" for m, k in KILLS])
def test_the_named_check_kills_the_mutant(mutant, kill, tmp_path):
    preflight().require(*kill.needs)
    command = [sys.executable, "-m", "mutants", mutant.name]
    with open_session(Run(tmp_path / "run"), command=command) as session:
        outcome = run_check(CHECKS[kill.check], session)
    if outcome.verdict is Verdict.SKIPPED:
        pytest.skip(outcome.reason)
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


@pytest.mark.parametrize("name", ["irohrelay_missing", "irohrelay_foreign", "irohrelay_unusable"])
def test_no_core_starts_without_an_offer_of_the_targets_own(name, tmp_path):
    """Core would silently use public servers: the run must end before that."""

    def devices(names):
        raise AssertionError(f"cores were started for {names}")

    with open_session(Run(tmp_path / "run"), command=[sys.executable, "-m", "mutants", name]) as session:
        outcome = two_devices_exchange_messages(session.target, session.host, devices)
    assert outcome.verdict is Verdict.FAILED, outcome
    assert "METADATA" in outcome.reason


@pytest.mark.parametrize("name", [each for each in CHECKS if each.startswith("calls")])
def test_no_core_starts_without_turn_of_the_targets_own(name, tmp_path, monkeypatch):
    def start(name, *_others, **_options):
        raise AssertionError(f"a core was started for {name}")

    monkeypatch.setattr(Device, "start", start)
    command = [sys.executable, "-m", "mutants", "turn_foreign"]
    with open_session(Run(tmp_path / "run"), command=command) as session:
        outcome = run_check(CHECKS[name], session)
    if outcome.verdict is Verdict.SKIPPED:
        pytest.skip(outcome.reason)
    assert outcome.verdict is Verdict.FAILED, outcome
    assert "offers the TURN server of somebody else" in outcome.reason


@pytest.mark.parametrize(
    "name", [each.name for each in all_checks() if "labs" in inspect.signature(each.run).parameters]
)
def test_nothing_starts_in_a_lab_whose_relay_is_somebody_elses(name, tmp_path, monkeypatch):
    """Neither a core nor an agent: the records of METADATA are judged before."""

    def devices(*_arguments, **_options):
        raise AssertionError("devices were started")

    monkeypatch.setattr(LabSession, "devices", devices)
    command = [sys.executable, "-m", "mutants", "irohrelay_foreign"]
    with open_session(Run(tmp_path / "run"), command=command) as session:
        outcome = run_check(CHECKS[name], session)
    if outcome.verdict is Verdict.SKIPPED:
        pytest.skip(outcome.reason)
    assert outcome.verdict is Verdict.FAILED, outcome
    assert "offers the relay of somebody else" in outcome.reason


def told_at_start(directory, command):
    """What the harness is told when a server starts."""
    with ReferenceServer(directory / "state", directory / "logs", command=command) as server:
        said = repr(server.endpoints).replace(str(directory), "")
        return said, (tuple(server.endpoints), server.target.name, server.target.capabilities)


@pytest.fixture(scope="module")
def clean_shape(tmp_path_factory):
    _, shape = told_at_start(tmp_path_factory.mktemp("clean"), [sys.executable, "-m", "reference_server"])
    return shape


ONE_OF_EACH_SERVICE = {mutant.service: mutant.name for mutant in MUTANTS.values()}.values()
LOOKS = [
    pytest.param(name, marks=[] if name in ONE_OF_EACH_SERVICE else pytest.mark.nightly) for name in MUTANTS
]


@pytest.mark.parametrize("name", LOOKS)
def test_a_mutant_looks_like_the_clean_server(name, clean_shape, tmp_path_factory):
    said, shape = told_at_start(tmp_path_factory.mktemp("server"), [sys.executable, "-m", "mutants", name])
    assert name not in said
    assert shape == clean_shape
