"""A whole session in this process: what it leaves behind, and what it keeps to itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.doors import catalogue  # noqa: F401 - it registers the checks
from harness.report.observations import SwarmSeen
from harness.report.records import Verdict, evidence, read_results
from harness.report.run import RESULTS, Run
from harness.stage.check import CHECKS, recording
from harness.stage.session import open_session
from harness.waiting import wait_until

from .harness.records import expect_to_keep_to_the_schema, measured

NAMES = (
    "discovery.metadata_offers_a_relay",
    "relay.relay_forwards_each_frame_once",
    "realtime.two_devices_exchange_messages",
    "realtime.a_device_rejoins",
    "durability.accepted_mail_survives_a_kill",
    "turn.turn_allocates_with_offered_credentials",
    "calls.relayed_call_is_heard_and_seen",
)
"""One of each kind, and two that name their devices alike; scenarios/ runs all of them."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory):
    """These checks once on the clean server: the run, and the process IDs of everything that it started."""
    run = Run(tmp_path_factory.mktemp("run") / "run")
    before = children()  # such as the one with which multiprocessing tracks resources
    with open_session(run) as session, recording(run.add, run=run.name, door="test"):
        server = children() - before
        for name in NAMES:
            CHECKS[name].run(session.stage(name))
    run.finish()
    return run, server


def children() -> set[int]:
    """Process IDs of what this process started, and of what those started."""
    found: set[int] = set()
    waiting = {int(Path("/proc/self").resolve().name)}
    while waiting:
        pid = waiting.pop()
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            started = {int(word) for word in task.read_text().split()}
            waiting |= started - found
            found |= started
    return found


def test_the_clean_server_passes_every_check(finished):
    run, _server = finished
    assert [record.reason for record in run.records if record.verdict is not Verdict.PASSED] == []
    assert [record.check for record in run.records] == list(NAMES)


def test_what_a_record_names_is_still_there_as_it_was(finished):
    """The checks of a run use the same names for their devices: no check writes over what an earlier one left."""
    run, _server = finished
    named = [each for record in run.records for each in record.evidence]
    assert len(named) > 10
    assert [each.path for each in named if evidence(run.directory / each.path, run.directory) != each] == []


def test_no_secret_that_the_run_used_is_in_its_files(finished):
    run, _server = finished
    assert len(run.redactor.secrets) > 10
    leaks = [
        f"{file}: {secret[:4]}..."
        for file in run.directory.rglob("*")
        if file.is_file()
        for secret in run.redactor.secrets
        if secret.encode() in file.read_bytes()
    ]
    assert leaks == []


def test_no_process_is_left(finished):
    _run, server = finished
    assert len(server) >= 4, "the server is a supervisor and three services"
    wait_until(lambda: not server & children(), "the server's processes to end", within=10)


def test_the_file_of_results_is_as_its_schema_says(finished):
    run, _server = finished
    expect_to_keep_to_the_schema(run.directory / RESULTS)
    assert list(read_results(run.directory / RESULTS).records) == run.records


def test_each_record_says_what_was_found(finished):
    run, _server = finished
    by_name = {record.check: record for record in run.records}
    answered = measured(by_name["durability.accepted_mail_survives_a_kill"], "answered with 250")
    assert isinstance(answered, int)
    assert answered >= 20
    assert measured(by_name["relay.relay_forwards_each_frame_once"], "sent each way") == 25
    realtime = by_name["realtime.two_devices_exchange_messages"]
    [swarm] = realtime.seen(SwarmSeen)
    assert [way.delivered for way in swarm.directions] == [50, 50]
    frames = measured(realtime, "from alice to bob over the relay")
    assert isinstance(frames, int)
    assert frames > 0
    assert any("data path not proven" in note for note in realtime.notes)
