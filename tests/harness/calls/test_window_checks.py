"""Checks of calls with Delta Chat's own call UI at both ends or one: the same checks, real cores, other peers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from harness.calls.kinds import CHROMIUM, PeerChoice
from harness.checks import calls, calls_changes, calls_paths
from harness.hosts import MissingCapability
from harness.network import profiles
from harness.network.pairs import Pair
from harness.report.observations import Measured, PathSeen, Timing
from harness.report.records import Record, Verdict
from harness.report.run import Run
from harness.servers.reference import Reference
from harness.servers.registry import server_of
from harness.servers.server import Server
from harness.stage.check import recording
from harness.stage.options import Choice
from harness.stage.session import open_session

BOTH, FIRST, SECOND = ["chromium"], ["alice=chromium"], ["bob=chromium"]
ESSENTIAL = Pair(profiles.HOME, profiles.SYMMETRIC)


@pytest.fixture(autouse=True)
def _needs_chromium() -> None:
    try:
        CHROMIUM.require()
    except MissingCapability as missing:
        pytest.skip(str(missing))


def judged(
    check, tmp_path: Path, peers: list[str], kind: Server | None = None, **options
) -> tuple[Record, list[Path]]:
    """The record of a check, and its evidence. Skipped where this machine cannot, or is too slow."""
    records: list[Record] = []
    files: list[Path] = []

    def keep(record, evidence):
        records.append(record)
        files.extend(evidence)

    choice = Choice(peers=PeerChoice.parse(peers))
    with (
        open_session(Run(tmp_path / "run"), choice, kind=kind or Reference()) as session,
        recording(keep, run="r", door="d"),
    ):
        check(session.stage("windows"), **options)
    [record] = records
    if record.verdict in (Verdict.SKIPPED, Verdict.UNDECIDED):
        pytest.skip(record.reason)
    return record, files


@pytest.mark.parametrize("peers", [FIRST, pytest.param(BOTH, marks=pytest.mark.nightly)])
def test_a_call_from_home_to_a_symmetric_nat_is_relayed_by_all_witnesses(tmp_path, peers):
    record, files = judged(calls_paths.calls_take_the_expected_path, tmp_path, peers, pairs=[ESSENTIAL])
    assert record.verdict is Verdict.PASSED, record.reason
    [path] = record.seen(PathSeen)
    assert (path.by, path.contradictions) == (("turn",), ())
    assert "agents" in path.witnesses
    read = {each.name: str(each.value) for each in record.seen(Measured)}
    windows = dict(zip(ESSENTIAL.devices, ("Connecting...", "Incoming call"), strict=True))
    if peers is FIRST:
        windows.popitem()
    for name, first in windows.items():
        assert "Delta Chat's call UI" in record.clients[name]
        states = read[f"read in the call window of {name}"]
        assert first in states and "in call" in states
        assert states.rstrip(")").rpartition(", ")[2].startswith("ended")
    pictures = [each.name.partition(".window.")[2] for each in files if each.suffix == ".png"]
    assert sum("ended" in each for each in pictures) == len(windows)


@pytest.mark.nightly
def test_the_window_of_a_second_device_closes_when_the_first_takes_the_call(tmp_path):
    record, files = judged(calls.second_device_closes_its_window, tmp_path, SECOND)
    assert record.verdict is Verdict.PASSED, record.reason
    read = {each.name: str(each.value) for each in record.seen(Measured)}
    assert "Incoming call" in read["read in the call window of bob2"]
    assert ", closed unanswered (" in read["read in the call window of bob2"]
    assert "in call" in read["read in the call window of bob"]
    assert any(each.name.startswith("bob2.window.") and each.suffix == ".png" for each in files)


@pytest.mark.nightly
@pytest.mark.parametrize("peers", [BOTH, FIRST, SECOND])
def test_a_relayed_call_is_heard_seen_and_accounted_for(tmp_path, peers):
    record, _ = judged(calls.relayed_call_is_heard_and_seen, tmp_path, peers)
    assert record.verdict is Verdict.PASSED, record.reason


@pytest.mark.nightly
@pytest.mark.parametrize("peers", [FIRST, SECOND])
def test_a_browser_trusts_the_ca_of_turn_over_tls(tmp_path, peers):
    record, _ = judged(calls.relayed_call_over_tcp_and_tls, tmp_path, peers)
    assert record.verdict is Verdict.PASSED, record.reason


@pytest.mark.nightly
@pytest.mark.parametrize("peers", [BOTH, FIRST, SECOND])
def test_a_direct_call_leaves_turn_alone(tmp_path, peers):
    record, _ = judged(calls.direct_call_leaves_the_relay_alone, tmp_path, peers)
    assert record.verdict is Verdict.PASSED, record.reason


@pytest.mark.nightly
@pytest.mark.parametrize("peers", [BOTH, FIRST])
@pytest.mark.parametrize("pair", calls_paths.EVERY, ids=str)
def test_every_pair_of_networks(tmp_path, pair, peers):
    record, _ = judged(calls_paths.calls_take_the_expected_path, tmp_path, peers, pairs=[pair])
    assert record.verdict is Verdict.PASSED, record.reason


@pytest.mark.nightly
def test_a_call_through_coturn(tmp_path):
    kind = server_of("reference+coturn")
    record, _ = judged(calls_paths.calls_take_the_expected_path, tmp_path, BOTH, kind, pairs=[ESSENTIAL])
    assert record.verdict is Verdict.PASSED, record.reason


@pytest.mark.nightly
@pytest.mark.parametrize("callee", ["bob", "carol"])
@pytest.mark.parametrize("seconds", [3.0, 5.0, 20.0])
def test_an_outage_is_survived_or_ends_the_call(tmp_path, seconds, callee):
    """libwebrtc gives up before the longest is over: both windows notice, and the next call works."""
    survive = calls_changes.calls_survive_outages
    record, _ = judged(survive, tmp_path, BOTH, outages=[seconds], callees=[callee])
    assert record.verdict is Verdict.PASSED, record.reason
    noticed = [each.name for each in record.seen(Timing) if each.name == "until each side noticed"]
    assert len(noticed) == (seconds > CHROMIUM.gives_up_after)


@pytest.mark.nightly
@pytest.mark.parametrize("change", calls_changes.DEADLY)
def test_a_change_that_ends_a_call_is_noticed(tmp_path, change):
    """One at a time: two changes at once would be four browsers."""
    check = calls_changes.dead_calls_are_noticed_and_the_next_one_works
    record, _ = judged(check, tmp_path, BOTH, changes=[change])
    assert record.verdict is Verdict.PASSED, record.reason


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("mutant", "check", "words"),
    [
        ("turn_forwards_one_way", calls.relayed_call_is_heard_and_seen, "audio to arrive at the peer"),
        ("turn_loses_every_fifth", calls.relayed_call_is_heard_and_seen, "the account does not balance"),
        ("turn_relay_ports_closed", calls_paths.one_leg_call_is_relayed, "2 sides use an allocation"),
    ],
)
def test_a_server_that_is_wrong_is_seen_by_browsers_too(tmp_path, mutant, check, words):
    kind = Reference([sys.executable, "-m", "mutants", mutant])
    record, _ = judged(check, tmp_path, BOTH, kind)
    assert (record.verdict, words in record.reason) == (Verdict.FAILED, True), record.reason


@pytest.mark.nightly
def test_one_leg_is_enough_for_browsers_too(tmp_path):
    record, _ = judged(calls_paths.one_leg_call_is_relayed, tmp_path, BOTH)
    assert record.verdict is Verdict.PASSED, record.reason
