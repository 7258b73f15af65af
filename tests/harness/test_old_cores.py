"""Test 16 with other versions of core: one quick pair always, the whole matrix at night."""

from __future__ import annotations

import pytest

from harness.checks import realtime
from harness.clients.core.versions import CoreChoice, core_binary
from harness.report.observations import PathSeen
from harness.report.records import Verdict
from harness.report.run import Run
from harness.servers.server import Wants
from harness.stage.check import recording
from harness.stage.options import Choice
from harness.stage.session import open_session
from harness.target import Service

NEWEST = "2.65.0"
OLD = ("1.160.0", "2.0.0", "2.20.0", "2.35.0", "2.50.0")
PAIRS = [pair for old in OLD for pair in ((old, old), (old, NEWEST), (NEWEST, old))]
WITH_TURN = Wants()
"""2.35.0 comes online nowhere else, and others look up a public name first."""
WITHOUT_TURN = Wants(services=frozenset(Service) - {Service.TURN})


def run_test_16(alice, bob, tmp_path, wants):
    for version in (alice, bob):
        core_binary(version)
    records = []
    choice = Choice(cores=CoreChoice(by_device={"alice": alice, "bob": bob}))
    run = Run(tmp_path / "run")
    with (
        open_session(run, choice, wants=wants) as session,
        recording(lambda record, _files: records.append(record), run="r", door="d"),
    ):
        realtime.two_devices_exchange_messages(session.stage("test-16"))
    [record] = records
    return record


def test_an_old_core_and_a_new_one_exchange_messages(tmp_path):
    record = run_test_16("2.20.0", NEWEST, tmp_path, WITH_TURN)
    assert record.verdict is Verdict.PASSED, record.reason
    assert record.clients == {"alice": "core v2.20.0, bot=1", "bob": "core v2.65.0, bot=1"}
    assert [each.name for each in record.seen(PathSeen) if each.phase == "joining"] == ["relayed(iroh_relay)"]


@pytest.mark.nightly
@pytest.mark.parametrize(("alice", "bob"), PAIRS)
def test_every_version_with_itself_and_with_the_newest(alice, bob, tmp_path):
    record = run_test_16(alice, bob, tmp_path, WITH_TURN)
    assert record.verdict is Verdict.PASSED, record.reason


@pytest.mark.nightly
def test_a_core_that_would_look_for_public_servers_does_not_start(tmp_path):
    record = run_test_16("2.35.0", "2.35.0", tmp_path, WITHOUT_TURN)
    assert record.verdict is Verdict.UNSUPPORTED
    assert "nine.testrun.org" in record.reason
