"""A load: its bounds, what its results say, and small ones that really run."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.doors import cli
from harness.hosts import LocalHost
from harness.load.counting import OnItsWay, Totals
from harness.load.plan import PLAN, LoadPlan, PlanError, check_descriptors
from harness.load.records import load_seen, records_of
from harness.load.results import Carried, Complaint, LoadResults, WorkerCounts
from harness.report.client_load import ClientLoad, StepTimes
from harness.report.compare import compare
from harness.report.reading import read_run
from harness.report.records import HEAD, Record, Verdict
from harness.report.terminal import render_end
from harness.servers.process import free_port
from harness.servers.reference import COMMAND, SupervisorProcess
from harness.servers.server import Place
from harness.waiting import wait_until

from ..records import expect_to_keep_to_the_schema

FINE = LoadResults(
    True,
    2,
    2,
    30.0,
    offers=frozenset({"mail", "TURN", "iroh relay"}),
    steps=(StepTimes("mail", "submission", 7, 0, 10.0, 20.0, 30.0),),
    messages=Carried(7, 7, 0, 700, 700),
    media=Carried(100, 98, 0, 16_000, 15_680),
    frames=Carried(5, 5, 0, 500, 500),
    of_workers=(WorkerCounts(2, 2, 0.5, 7, 20.0, 30.0, ("mail: NO (1 times)",)),),
)


PLAN_OF_IT = LoadPlan(2, 2.0, 60, "load.json", {})


def run(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    try:
        code = cli.main(["load", *words])
    except SystemExit as error:
        code = int(str(error.code))
    said = capsys.readouterr()
    return code, said.out + said.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--domain", "chat.example"], "Name the server again with --i-own-this-server"),
        (["--domain", "chat.example", "--i-own-this-server", "other.example"], "names other.example"),
        (["--master"], "--master and --worker need a server that all machines reach"),
        (["--worker", "127.0.0.1"], "--master and --worker need a server that all machines reach"),
        (
            [
                *("--domain", "c.example", "--i-own-this-server", "c.example"),
                *("--account", "a@c.example:12345678"),
            ],
            "each client of a load makes an account of its own",
        ),
        (["--users", "0"], "--users is a number from 1 to"),
        (["--users", "99999"], "--users is a number from 1 to"),
        (["--spawn-rate", "0"], "--spawn-rate is a number"),
        (["--run-time", "5"], "and at least 30 for these clients"),
        (["--users", "20000", "--spawn-rate", "500", "--run-time", "999999"], "up to 3600"),
    ],
)
def test_a_load_that_is_not_allowed_is_refused_in_a_sentence(tmp_path, capsys, words, sentence):
    code, said = run(*words, "--out", str(tmp_path / "out"), capsys=capsys)
    assert (code, sentence in said) == (2, True), said
    assert not (tmp_path / "out").exists()


def test_more_clients_than_open_files_are_refused_with_the_number_that_fits(monkeypatch):
    allowed = [256]
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (allowed[0], 1024))
    raised = []
    monkeypatch.setattr(resource, "setrlimit", lambda _which, limits: raised.append(limits))
    with pytest.raises(PlanError, match=r"and this machine allows 1024: at most --users 149"):
        check_descriptors(1000, 1)
    assert raised == []
    check_descriptors(149, 1)
    check_descriptors(149 * 8, 8)
    assert raised == [(1022, 1024)] * 2
    allowed[0] = 1024
    check_descriptors(1, 1)
    assert len(raised) == 2, "nothing that this process was allowed is taken from it"


def test_without_locust_it_says_what_to_install(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    code, said = run("--out", str(tmp_path / "out"), capsys=capsys)
    assert code == 5
    assert "pip install 'dc-harness[load]'" in said


def test_results_are_read_as_they_were_written(tmp_path):
    file = tmp_path / "load.json"
    results = replace(
        FINE,
        complaints=(Complaint("mail", "it broke", 3),),
        server={"cpu_seconds": 1.0, "megabytes": 90.0},
    )
    results.write(file)
    assert LoadResults.read(file) == results
    assert [each.name for each in tmp_path.iterdir()] == ["load.json"]


def judged(**change: Any) -> dict[str, Record]:
    results = replace(FINE, **change)
    found = records_of(results, PLAN_OF_IT, run="r", target="t", began=1.0)
    return {each.check: each for each in found}


def test_lost_packets_of_calls_are_told_and_are_no_failure():
    found = judged()
    assert {each.verdict for each in found.values()} == {Verdict.PASSED}
    assert found["load.turn"].notes == (
        "2 of 100 packets of calls did not arrive: UDP may lose some, and nothing fails by it",
    )


@pytest.mark.parametrize(
    ("check", "change", "problem"),
    [
        ("load.mail", {"messages": Carried(7, 6)}, "1 of 7 messages never arrived"),
        ("load.mail", {"messages": Carried(7, 7, 2)}, "2 messages arrived more than once"),
        ("load.iroh_relay", {"frames": Carried(7, 6)}, "1 of 7 frames of the iroh relay never arrived"),
        ("load.turn", {"media": Carried(7, 7, 1)}, "1 packets of calls arrived more than once"),
        (
            "load.mail",
            {
                "steps": (StepTimes("mail", "FETCH", 9, 4, 1.0, 1.0, 1.0),),
                "complaints": (Complaint("mail", "no answer", 4), Complaint("TURN", "other", 1)),
            },
            "4 of 9 steps failed: 4 x no answer",
        ),
    ],
)
def test_what_the_server_did_wrong_is_a_sentence_at_its_service_alone(check, change, problem):
    found = judged(**change)
    assert (found.pop(check).verdict, judged(**change)[check].reason) == (Verdict.FAILED, problem)
    assert {each.verdict for each in found.values()} == {Verdict.PASSED}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"complete": False}, "the load was cut short after 30 of 60 s"),
        ({"workers": 2, "workers_lost": 1}, "1 of 2 workers ended too early"),
        ({"users_reached": 1}, "1 of 2 clients were there at the same time"),
    ],
)
def test_a_part_is_undecided_and_what_is_on_its_way_in_it_is_not_lost(change, why):
    found = judged(messages=Carried(7, 5), **change)["load.mail"]
    assert (found.verdict, found.reason) == (Verdict.UNDECIDED, f"this is a part: {why}")
    assert found.notes == ("2 of 7 messages had not arrived when it ended",)


def test_where_our_own_processes_stood_still_nothing_missing_is_held_against_the_server():
    found = judged(messages=Carried(7, 6), stalled=4.1)
    assert found["load.mail"].verdict is Verdict.UNDECIDED
    assert "machine too slow: the clients' own processes stood still for 4.1 s" in found["load.mail"].reason
    assert found["load.turn"].verdict is Verdict.PASSED
    assert "times are those of the clients as well" in found["load.turn"].notes[-1]
    assert judged(messages=Carried(7, 7, 1), stalled=4.1)["load.mail"].verdict is Verdict.FAILED
    assert judged(messages=Carried(7, 6), stalled=0.4)["load.mail"].verdict is Verdict.FAILED


def test_a_process_has_its_share_of_the_clients_and_no_more():
    assert LoadPlan(3000, 60.0, 120, "r", {}, workers=2).users_each == 1500
    assert LoadPlan(7, 7.0, 120, "r", {}, workers=3).users_each == 3
    assert LoadPlan(7, 7.0, 120, "r", {}).users_each == 7


def test_in_a_part_as_well_a_message_that_came_twice_is_a_failure():
    assert judged(messages=Carried(7, 5, 1), complete=False)["load.mail"].verdict is Verdict.FAILED


def test_a_server_without_turn_is_not_blamed_for_it():
    found = judged(offers=frozenset({"mail", "iroh relay"}), media=Carried())
    assert found["load.turn"].verdict is Verdict.UNSUPPORTED
    assert found["load.turn"].reason == "METADATA gives clients no TURN"


def test_what_nobody_did_is_no_pass():
    assert judged(media=Carried())["load.turn"].verdict is Verdict.UNDECIDED


def test_reports_tell_of_a_load_and_two_can_be_compared():
    server = {"cpu_seconds": 3.0, "megabytes": 90.0}
    whole = replace(FINE, users_reached=300, users_wanted=300, server=server)
    head = replace(judged()["load.mail"], check=HEAD, observations=(load_seen(whole, PLAN_OF_IT),))
    text = " ".join(render_end([head, *judged().values()]).split())
    assert "300 of 300 clients, 2 more in each second, for 30 of 60 s" in text
    assert "3.0 s of CPU and 90 MB: 10 ms and 300 kB for each client" in text
    assert "mail: submission 7 0 10 20 30" in text
    assert "packets of calls 100 98 2 0 16,000 15,680" in text
    slow = judged(steps=(StepTimes("mail", "submission", 7, 0, 10.0, 20.0, 9000.0),))
    [slower] = compare(list(judged().values()), list(slow.values())).slower
    assert slower.text == "load.mail: mail: submission, p99 30 ms -> 9,000 ms"


def test_a_message_is_awaited_until_it_arrives_and_a_second_arrival_is_counted():
    totals = Totals()
    totals.on_their_way["load-1"] = OnItsWay(0.0, 700, "a@b")
    assert totals.awaits("a@b")
    assert totals.message_arrived("load-1") == OnItsWay(0.0, 700, "a@b")
    assert not totals.awaits("a@b")
    assert totals.message_arrived("load-1") is None
    assert (totals.messages.arrived, totals.messages.doubled) == (1, 1)
    assert totals.message_arrived("load-of-somebody-else") is None
    assert totals.messages.arrived == 1


def test_each_process_counts_what_it_did():
    totals = Totals()
    totals.came()
    totals.came()
    totals.clients -= 1
    totals.has_account("a@b")
    totals.message_sent(700)
    totals.message_sent(900)
    itself = WorkerCounts.of(json.loads(json.dumps(totals.as_data()))["itself"])
    assert (itself.users, itself.accounts, itself.messages_sent) == (2, 1, 2)
    assert 0 <= itself.send_seconds <= itself.seconds


def test_a_password_that_a_server_repeats_is_in_no_complaint():
    totals = Totals()
    said = totals.remember("mail", ValueError("NO log-in of a@b with hunter2-hunter2"), "hunter2-hunter2")
    assert said == "NO log-in of a@b with ..."
    assert totals.as_data()["complaints"] == [["mail", said, 1]]


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
    verdicts = {records[each].verdict for each in ("load.mail", "load.turn", "load.iroh_relay")}
    assert verdicts == {Verdict.PASSED}, said
    assert code == 0, said
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
    with running("--run-time", "30", "--workers", "2", "--out", str(tmp_path)) as process:
        sends(tmp_path)
        file = tmp_path / "load.json"
        os.kill(_a_worker_of(file), signal.SIGKILL)
        said, _ = process.communicate(timeout=120)
    results = LoadResults.read(file)
    assert process.returncode == 3, said
    assert (results.workers, results.workers_lost) == (2, 1)
    assert "this is a part: 1 of 2 workers ended too early" in " ".join(said.split())
    assert results.messages.arrived > 0


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
    state = tmp_path / "server"
    words = ["--state", str(state), "--ephemeral-ports"]
    with SupervisorProcess(LocalHost(), COMMAND, words, Place("", state, tmp_path / "logs")) as server:
        ready = tmp_path / "ready.json"
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
