"""Small loads that really run: against right servers and wrong ones, and with processes that end too early."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from harness.doors import cli
from harness.doors.exit_codes import exit_code_of
from harness.hosts import LocalHost
from harness.load.plan import PLAN, LoadPlan
from harness.load.results import LoadResults
from harness.report.client_load import ClientLoad
from harness.report.reading import read_run
from harness.report.records import Verdict
from harness.servers.process import free_port
from harness.servers.reference import COMMAND, SupervisorProcess
from harness.servers.server import Place
from harness.waiting import wait_until

from ..records import expect_to_keep_to_the_schema
from .test_load import run

needs_locust = pytest.mark.skipif(  # importing it here would replace what blocks in this process
    importlib.util.find_spec("locust") is None, reason="the extra `load` is not installed"
)


@needs_locust
def test_a_small_load_of_ours_loses_nothing(tmp_path, capsys):
    words = ("--users", "12", "--spawn-rate", "12", "--run-time", "24", "--out", str(tmp_path))
    code, said = run(*words, capsys=capsys)
    results = LoadResults.read(tmp_path / "load.json")
    assert results.is_whole
    assert results.messages.sent == results.messages.arrived > 0
    names = {step.name for step in results.steps}
    assert {"IMAP log-in", "METADATA", "SMTP log-in", "submission", "from submission to arrival"} <= names
    records = {each.check: each for each in read_run(tmp_path).records}
    assert records["load.mail"].verdict is Verdict.PASSED, said
    for each in ("load.turn", "load.iroh_relay"):  # they cut a client that stands still, on a busy machine
        explained = results.stalled >= 2 and "stood still for" in records[each].reason
        assert records[each].verdict is (Verdict.UNDECIDED if explained else Verdict.PASSED), said
    assert code == exit_code_of(list(records.values()))
    expect_to_keep_to_the_schema(tmp_path / "results.jsonl")
    for file in ("report.html", "report.md", "junit.xml"):
        assert "from submission to arrival" in (tmp_path / file).read_text()
    assert cli.main(["report", str(tmp_path)]) == code
    assert "12 of 12 clients" in capsys.readouterr().out


@contextlib.contextmanager
def running(*words: str) -> Iterator[subprocess.Popen[str]]:
    program = str(Path(sys.executable).with_name("dc-harness"))
    with subprocess.Popen(
        [program, "load", "--users", "6", "--spawn-rate", "6", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def sends(directory: Path) -> None:
    file = directory / "load.json"
    wait_until(
        lambda: file.is_file() and LoadResults.read(file).messages.sent > 0, "the load to run", within=60
    )


@needs_locust
def test_a_worker_that_dies_leaves_a_marked_part(tmp_path):
    # However late it is seen to send: when all stop sending, the end of a worker is waited for as any answer of it is.
    with running("--run-time", "30", "--workers", "2", "--out", str(tmp_path)) as process:
        sends(tmp_path)
        file = tmp_path / "load.json"
        os.kill(_a_worker_of(file), signal.SIGKILL)
        said, _ = process.communicate(timeout=300)
    results = LoadResults.read(file)
    assert process.returncode == 3, said
    assert (results.workers, results.workers_lost) == (2, 1)
    assert "this is a part: 1 of 2 workers ended too early" in " ".join(said.split())
    assert results.messages.arrived > 0


@pytest.mark.nightly
@needs_locust
@pytest.mark.parametrize(
    ("mutant", "code", "sentence"),
    [
        ("mail_over_quota_lost", 1, "of them were in no mailbox when their clients looked at the end"),
        ("idle_never_wakes", 0, "messages were in their mailboxes at the end, and IDLE had not told of them"),
    ],
)
def test_messages_that_do_not_come_are_looked_for(tmp_path, capsys, mutant, code, sentence):
    words = (
        "--users",
        "4",
        "--spawn-rate",
        "4",
        "--run-time",
        "24",
        "--pause",
        "0.5",
        "--out",
        str(tmp_path),
    )
    with endpoints_of(tmp_path / "server", [sys.executable, "-m", "mutants", mutant]) as endpoints:
        found, said = run(*words, *endpoints, capsys=capsys)
    assert (found, sentence in " ".join(said.split())) == (code, True), said
    results = LoadResults.read(tmp_path / "load.json")
    assert results.complete
    assert results.messages.sent - results.messages.arrived == results.not_there
    assert bool(results.missing) == bool(results.not_there)


@needs_locust
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_load_that_is_interrupted_keeps_its_part_and_leaves_no_process(tmp_path, number, code):
    with running("--run-time", "300", "--workers", "2", "--out", str(tmp_path)) as process:
        sends(tmp_path)
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert processes_of(tmp_path / "load.json") == {}
    results = LoadResults.read(tmp_path / "load.json")
    assert (results.complete, results.workers_lost) == (False, 0)
    found = {each.check: each for each in read_run(tmp_path).records}
    assert found["load.mail"].verdict is Verdict.UNDECIDED
    assert "this is a part: the load was cut short after" in found["load.mail"].reason
    [load] = [load for each in read_run(tmp_path).records for load in each.seen(ClientLoad)]
    assert load.clients_wanted == 6


@needs_locust
def test_after_a_kill_no_process_of_it_is_left_and_the_part_is_marked(tmp_path):
    with running("--run-time", "300", "--workers", "2", "--out", str(tmp_path)) as process:
        sends(tmp_path)
        assert processes_of(tmp_path / "load.json")
        process.kill()
        process.wait()
        wait_until(lambda: not processes_of(tmp_path / "load.json"), "all of Locust to end", within=20)
    assert not LoadResults.read(tmp_path / "load.json").complete


@needs_locust
def test_workers_go_with_a_master_that_is_killed_and_its_part_is_kept(tmp_path):
    with running("--run-time", "300", "--workers", "2", "--out", str(tmp_path)) as process:
        sends(tmp_path)
        found = processes_of(tmp_path / "load.json")
        [master] = [each for each, parent in found.items() if parent not in found]
        os.kill(master, signal.SIGKILL)
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 3, said
    assert "the load was cut short after" in " ".join(said.split())
    assert processes_of(tmp_path / "load.json") == {}


@needs_locust
def test_a_worker_elsewhere_ends_with_its_part_when_its_master_has_gone(tmp_path, endpoints):
    port = str(free_port(LocalHost(), "127.0.0.1"))
    words = ("--run-time", "300", "--master-port", port, *endpoints)
    master, worker = tmp_path / "master", tmp_path / "worker"
    with (
        running(*words, "--master", "127.0.0.1", "--workers", "1", "--out", str(master)) as process,
        running(*words, "--worker", "127.0.0.1", "--out", str(worker)) as other,
    ):
        sends(master)
        sends(worker)
        process.kill()
        said, _ = other.communicate(timeout=90)
    assert other.returncode == 3, said
    assert "the master ended the load, or has gone" in said
    part = LoadResults.read(worker / "load.json")
    assert (part.complete, part.messages.sent > 0) == (False, True)


@pytest.fixture
def endpoints(tmp_path) -> Iterator[tuple[str, ...]]:
    """Options for a server that runs."""
    with endpoints_of(tmp_path / "server", COMMAND) as words:
        yield words


@contextlib.contextmanager
def endpoints_of(state: Path, command: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Options for a server that runs in this block."""
    words = ["--state", str(state), "--ephemeral-ports"]
    with SupervisorProcess(LocalHost(), command, words, Place("", state, state / "logs")) as server:
        ready = state / "ready.json"
        ready.write_text(json.dumps({"endpoints": dict(server.endpoints)}))
        yield "--endpoints", str(ready), "--i-own-this-server", str(server.endpoints["host"])


def _a_worker_of(load: Path) -> int:
    """One that Locust has forked for this load."""
    found = processes_of(load)
    return next(each for each, parent in found.items() if parent in found)


def processes_of(load: Path) -> dict[int, int]:
    """Locust's processes for this load, known by the file of its plan, and the parent of each."""
    parents = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, IndexError):
            if entry.name.isdecimal() and b"locust" in (entry / "cmdline").read_bytes():
                if b"keeper.py" in (entry / "cmdline").read_bytes():
                    continue
                plan = (entry / "environ").read_bytes().split(PLAN.encode() + b"=")[1].split(b"\0")[0]
                if LoadPlan(**json.loads(Path(plan.decode()).read_text())).results == str(load):
                    parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    return parents
