"""Every check can fail: each mutant dies by the check that was named beforehand, with the words that were declared."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import harness
from harness.calls.kinds import PeerChoice
from harness.clients.device import Device
from harness.doors.catalogue import all_checks
from harness.hosts import LocalHost
from harness.network.pairs import Pair
from harness.network.preflight import preflight
from harness.network.profiles import SYMMETRIC
from harness.report.promises import PROMISES
from harness.report.records import Verdict
from harness.report.run import Run
from harness.servers.reference import Reference
from harness.servers.server import Wants
from harness.stage.check import CHECKS
from harness.stage.options import Choice
from harness.stage.outcome import Outcome
from harness.stage.session import loopback_place, open_session
from mutants.declaration import all_mutants

MUTANTS = all_mutants()
KILLS = [(mutant.name, *kill) for mutant in MUTANTS.values() for kill in mutant.kills.items()]
IN_BROWSERS = {name for name, each in CHECKS.items() if each.windows}

SMALLER: Mapping[str, Mapping[str, float]] = {
    "accounts_forgotten_at_restart": {"harness.checks.transports.TEXT_WITHIN": 8},
    "idle_never_wakes": {"harness.checks.mail.WITHIN": 3},
    "idle_reports_late": {"harness.checks.mail.WITHIN": 3},
    "limit_smaller_than_it_says": {"harness.checks.chats.LARGEST": 1024 * 1024},
    "mail_over_quota_lost": {"harness.checks.calls.CALL_WITHIN": 5},
    "one_recipient_dropped": {"harness.checks.mail.WITHIN": 3, "harness.steps.chats.TEXT_WITHIN": 8},
    "relay_answers_200_without_upgrade": {
        "harness.steps.swarm_of_two.JOIN_WITHIN": 6,
        "harness.checks.transports.JOIN_WITHIN": 8,
    },
    "relay_drops_frames_to_second_client": {"harness.steps.relay_exchange.WITHIN": 3},
    "relay_never_frees_places": {"harness.checks.realtime.JOIN_WITHIN": 6},
    "relay_ping_missing": {"harness.checks.relay_v1.NODE_WITHIN": 6},
    "relay_refuses_second_login": {"harness.checks.realtime.JOIN_WITHIN": 6},
    "relay_v1_never_promotes": {"harness.checks.relay_v1.WITHIN": 3},
    "strangers_refused": {"harness.steps.chats.JOIN_WITHIN": 12},
    "turn_relay_ports_closed": {"harness.steps.call_lab.CALL_WITHIN": 5},
}
"""Mutants by whom something never comes, or is too large -> patience (seconds) and size that are enough to see it.

On the clean server all of it comes within a tenth, which the nightly control below proves.
"""
OF_OTHER_PROGRAMS = {
    "programs.upgrades_need_the_right_signature",
    "programs.renamed_programs_hide_their_name",
}
"""Checks of what the reference server does not have: `tests/harness/test_programs.py` has stand-ins that they kill."""
ONE_PAIR = (Pair(SYMMETRIC, SYMMETRIC),)
"""Networks between which everything is relayed: checks of many pairs see a fault of a relay there."""


def server(*command: str) -> Reference:
    return Reference([sys.executable, "-m", *command])


def outcome_of(directory: Path, check: str, kind: Reference) -> Outcome:
    entry = CHECKS[check]
    wants = Wants(services=entry.services)
    choice = Choice(pairs=ONE_PAIR, peers=PeerChoice().with_windows(entry.windows))
    with open_session(Run(directory / "run"), choice, kind=kind, wants=wants) as session:
        outcome = entry.run(session.stage(check))
    if outcome.verdict is Verdict.SKIPPED:
        pytest.skip(outcome.reason)
    return outcome


@pytest.mark.parametrize(
    ("name", "check", "phrase"),
    [
        pytest.param(*kill, id=f"{kill[0]}-{kill[1]}", marks=[pytest.mark.nightly] * (kill[1] in IN_BROWSERS))
        for kill in KILLS
    ],
)
def test_the_named_check_kills_the_mutant(name, check, phrase, tmp_path, monkeypatch):
    if "lab" in CHECKS[check].needs and not preflight().has("nft"):
        pytest.skip(
            "capability nft: without it some faults are too small to be seen: apt-get install nftables"
        )
    for constant, smaller in SMALLER.get(name, {}).items():
        monkeypatch.setattr(constant, smaller)
    outcome = outcome_of(tmp_path, check, server("mutants", name))
    assert outcome.verdict is Verdict.FAILED, outcome
    assert phrase in outcome.reason


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "check"), [(name, check) for name, check, _ in KILLS if name in SMALLER])
def test_less_patience_is_enough_for_the_clean_server(name, check, tmp_path, monkeypatch):
    """The control of `SMALLER`."""
    for constant, smaller in SMALLER[name].items():
        monkeypatch.setattr(constant, smaller)
    assert outcome_of(tmp_path, check, Reference()).verdict is Verdict.PASSED


def test_every_check_kills_at_least_one_mutant():
    killers = {check for _name, check, _phrase in KILLS}
    assert {check.name for check in all_checks()} - killers == OF_OTHER_PROGRAMS


def test_every_named_check_exists():
    assert {check for _name, check, _phrase in KILLS} <= {check.name for check in all_checks()}


def test_each_promise_is_proven_by_a_check_and_there_is_no_other():
    proven = {promise for check in all_checks() for promise in check.requirements}
    assert proven == set(PROMISES)
    assert len(PROMISES) == 47


def test_what_a_check_comes_after_is_a_check():
    names = [check.name for check in all_checks()]
    for check in all_checks():
        assert set(check.after) <= set(names)
        assert all(names.index(before) < names.index(check.name) for before in check.after), check.name


@pytest.mark.parametrize("arguments", [[], ["no_such_mutant"]])
def test_without_a_name_it_says_which_there_are(arguments):
    command = [sys.executable, "-m", "mutants", *arguments]
    found = subprocess.run(command, check=False, capture_output=True, text=True)
    assert found.returncode == 2
    assert all(name in found.stderr for name in MUTANTS)


@pytest.fixture
def no_core(monkeypatch):
    """Core would silently use public servers: whatever looks at METADATA must do so before one is started."""

    def start(name, *_others, **_options):
        raise AssertionError(f"a core was started for {name}")

    monkeypatch.setattr(Device, "start", start)


GATES = [
    ("irohrelay_missing", "realtime.two_devices_exchange_messages", "METADATA has no value for"),
    ("irohrelay_foreign", "realtime.two_devices_exchange_messages", "offers the relay of somebody else"),
    ("irohrelay_unusable", "realtime.two_devices_exchange_messages", "offers an unusable relay"),
    ("turn_foreign", "calls.core_lists_the_offered_servers", "offers the TURN server of somebody else"),
    ("irohrelay_foreign", "realtime_paths.two_devices_go_direct", "offers the relay of somebody else"),
    ("turn_foreign", "calls_paths.calls_take_the_expected_path", "offers the TURN server of somebody else"),
]
"""The gate is one, in `Stage.people` and `LabStage.people`, which all checks use: a test for each of both is enough."""


@pytest.mark.parametrize(("mutant", "name", "words"), GATES)
def test_no_core_starts_without_services_of_the_targets_own(mutant, name, words, tmp_path, no_core):
    with open_session(Run(tmp_path / "run"), kind=server("mutants", mutant)) as session:
        outcome = CHECKS[name].run(session.stage(name))
    if outcome.verdict is Verdict.SKIPPED:
        pytest.skip(outcome.reason)
    assert outcome.verdict is Verdict.FAILED, outcome
    assert words in outcome.reason


def told_at_start(directory, *command):
    """Everything that the harness is told when a server starts."""
    place = loopback_place(directory / "state", directory / "logs")
    with server(*command).start(LocalHost(), place, Wants()) as running:
        said = (place.logs / "reference.stdout.log").read_text().replace(str(directory), "")
        return said, (running.target.name, running.capabilities, set(running.programs))


@pytest.fixture(scope="module")
def clean_shape(tmp_path_factory):
    _, shape = told_at_start(tmp_path_factory.mktemp("clean"), "reference_server")
    return shape


ONE_OF_EACH_SERVICE = {mutant.service: mutant.name for mutant in MUTANTS.values()}.values()
LOOKS = [
    pytest.param(name, marks=[] if name in ONE_OF_EACH_SERVICE else pytest.mark.nightly) for name in MUTANTS
]


@pytest.mark.parametrize("name", LOOKS)
def test_a_mutant_looks_like_the_clean_server(name, clean_shape, tmp_path_factory):
    said, shape = told_at_start(tmp_path_factory.mktemp("server"), "mutants", name)
    assert name not in said
    assert shape == clean_shape


def test_only_the_stage_starts_devices():
    """A check that started one by itself would pass by the gate."""
    package = Path(harness.__file__).parent
    starters = {
        str(file.relative_to(package))
        for file in package.rglob("*.py")
        if "devices_online" in (text := file.read_text()) or "Device.start(" in text
    }
    assert starters == {"clients/device.py", "stage/stage.py", "stage/lab.py"}
