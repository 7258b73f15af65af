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
from dataclasses import replace
from pathlib import Path

import pytest

from harness.doors import cli
from harness.load.plan import PLAN, LoadPlan, PlanError, check_descriptors
from harness.load.results import Carried, LoadResults, Step
from harness.waiting import wait_until

FINE = LoadResults(
    True,
    2,
    2,
    30.0,
    steps=(Step("mail", "submission", 7, 0, 10.0, 20.0, 30.0),),
    messages=Carried(7, 7, 0, 700, 700),
    media=Carried(100, 98, 0, 16_000, 15_680),
    frames=Carried(5, 5, 0, 500, 500),
)


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
        (["--server", "reference+coturn"], "--server: a load needs a server that runs"),
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
    results = replace(FINE, errors=(("it broke", 3),), server={"cpu_seconds": 1.0, "megabytes": 90.0})
    results.write(file)
    assert LoadResults.read(file) == results
    assert [each.name for each in tmp_path.iterdir()] == ["load.json"]


def test_lost_packets_of_calls_are_told_and_are_no_failure():
    assert FINE.problems == []
    assert "100 sent, 98 arrived, 2 missing" in FINE.text()
    assert "16000 bytes sent, 15680 arrived" in FINE.text()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"messages": Carried(7, 6)}, "1 of 7 messages never arrived"),
        ({"messages": Carried(7, 7, 2)}, "2 messages arrived more than once"),
        ({"frames": Carried(7, 6)}, "1 of 7 frames of the iroh relay never arrived"),
        ({"media": Carried(7, 7, 1)}, "1 packets of calls arrived more than once"),
        ({"steps": (Step("mail", "FETCH", 9, 4, 1.0, 1.0, 1.0),)}, "4 of 9 steps failed"),
    ],
)
def test_what_the_server_did_wrong_is_a_sentence(change, problem):
    assert replace(FINE, **change).problems == [problem]


@pytest.mark.parametrize("change", [{"complete": False}, {"workers_lost": 1}, {"users_reached": 1}])
def test_a_part_of_a_load_is_no_whole_one(change):
    assert FINE.is_whole
    assert not replace(FINE, **change).is_whole


needs_locust = pytest.mark.skipif(  # importing it here would replace what blocks in this process
    importlib.util.find_spec("locust") is None, reason="the extra `load` is not installed"
)


@needs_locust
def test_a_small_load_of_ours_loses_nothing(tmp_path, capsys):
    words = ("--users", "12", "--spawn-rate", "12", "--run-time", "24", "--out", str(tmp_path))
    code, said = run(*words, capsys=capsys)
    results = LoadResults.read(tmp_path / "load.json")
    assert code == 0, said
    assert results.is_whole
    assert results.messages.sent == results.messages.arrived > 0
    names = {step.name for step in results.steps}
    assert {"IMAP log-in", "METADATA", "SMTP log-in", "submission", "from submission to arrival"} <= names
    assert results.server["cpu_seconds"] > 0


@needs_locust
def test_a_worker_that_dies_leaves_a_marked_part(tmp_path):
    words = [
        "--users",
        "6",
        "--spawn-rate",
        "6",
        "--run-time",
        "30",
        "--workers",
        "2",
        "--out",
        str(tmp_path),
    ]
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("dc-harness")), "load", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    file = tmp_path / "load.json"
    wait_until(
        lambda: file.is_file() and LoadResults.read(file).messages.sent > 0, "the load to run", within=60
    )
    os.kill(_a_worker_of(file), signal.SIGKILL)
    said, _ = process.communicate(timeout=120)
    results = LoadResults.read(file)
    assert process.returncode == 3, said
    assert (results.workers, results.workers_lost) == (2, 1)
    assert "1 of 2 workers ended too early: this is a part" in said
    assert results.messages.arrived > 0


def _a_worker_of(load: Path) -> int:
    """Process ID of one that Locust has forked for this load, known by the file of its plan."""
    parents = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and b"locust" in (entry / "cmdline").read_bytes():
                plan = (entry / "environ").read_bytes().split(PLAN.encode() + b"=")[1].split(b"\0")[0]
                if LoadPlan(**json.loads(Path(plan.decode()).read_text())).results == str(load):
                    parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    return next(each for each, parent in parents.items() if parent in parents)
