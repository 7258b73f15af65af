"""The drop-in's command line and console: what madmail's wrappers rely on (peers.md, 1.1 to 1.7)."""

from __future__ import annotations

import io
import json
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.doors.madmail_suite import suite
from harness.doors.madmail_suite.arguments import parse
from harness.doors.madmail_suite.console import Console, Result
from harness.doors.madmail_suite.side_by_side import may_start
from harness.doors.madmail_suite.stress import markdown_of, report_of
from harness.doors.madmail_suite.tests import NAMES, in_order, select
from harness.hosts import MissingCapability
from harness.load.results import Carried, LoadResults, WorkerCounts
from harness.report.client_load import StepTimes
from harness.report.records import Verdict

PASSED = Result(15, Verdict.PASSED, "", ("no ledger",), 0.5)
MISSING = Result(7, Verdict.UNSUPPORTED, "one server only", (), 0.0)
FAILED = Result(16, Verdict.FAILED, "nothing arrived " + "x" * 200, (), 1.5)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    monkeypatch.delenv("REMOTE1", raising=False)
    monkeypatch.delenv("RPC_SERVER_PATH", raising=False)


@pytest.mark.parametrize(
    ("named", "everything", "without", "expected"),
    [
        ([15, 16], False, [], [15, 16]),
        ([16, 22, 3, 20], False, [], [20, 22, 3, 16]),
        ([], False, [], [22, *range(1, 20), 23]),
        ([], True, [22, 1], [*range(2, 20), 23]),
        ([21], True, [], [21, 22, *range(1, 20), 23]),
        ([15], False, [15, 99], []),
    ],
)
def test_selection_and_order(named, everything, without, expected):
    assert select(named, everything=everything, without=without) == expected


def test_exchangers_and_mx_come_first():
    assert in_order(NAMES)[:5] == [20, 21, 22, 1, 2]


def test_a_seed_gives_an_order_of_its_own_behind_the_first_three():
    everything = select([], everything=True, without=[])
    one, again, other = (select([], everything=True, without=[], seed=seed) for seed in (1, 1, 2))
    assert one == again != other
    assert one[0] == 22
    assert one != everything
    assert sorted(one) == sorted(everything)


@pytest.mark.parametrize(
    ("words", "number", "running", "may"),
    [
        ([], 11, [14], True),
        (["--domain", "mail.example.org"], 3, [4], True),
        (["--domain", "mail.example.org"], 11, [], True),
        (["--domain", "mail.example.org"], 11, [3], False),
        (["--domain", "mail.example.org"], 3, [14], False),
    ],
)
def test_on_a_shared_server_a_number_that_disturbs_stands_alone(words, number, running, may):
    assert may_start(number, running, parse([*words, "--jobs", "2"])) is may


def test_flags():
    options = parse(["--test-16", "--test-15", "--cool", "--color", "--domain", "mail.example.org"])
    assert options.tests == (15, 16)
    assert (options.choice.domain, options.cool, options.color) == ("mail.example.org", True, False)


def test_no_test_takes_lists_and_repeats():
    assert parse(["--test-15", "--test-16", "--test-2", "--no-test", "2,15", "--no-test", "7"]).tests == (16,)


def test_environment(monkeypatch, tmp_path):
    binary = tmp_path / "core"
    binary.touch(mode=0o755)
    monkeypatch.setenv("REMOTE1", "10.0.3.10")
    monkeypatch.setenv("RPC_SERVER_PATH", str(binary))
    options = parse(["--test-15"])
    assert (options.choice.domain, options.choice.cores.binary) == ("10.0.3.10", binary)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--test-0"], "--test-0"),
        (["--test-24"], "--test-24"),
        (["--no-test", "seven"], "no list of numbers"),
        (["--lxc"], "not available in this version"),
        (["--jobs", "0"], "no number of at least 1"),
        (["--seed", "x"], "--seed"),
        (["--stress", "--domain", "chat.example"], "--i-own-this-server"),
        (["--stress", "--stress-users", "0"], "--stress-users is a number of at least 1"),
        (["--stress", "--stress-users", "30000"], "--stress-users is a number from 1 to"),
        (["--stress", "--stress-duration", "90000"], "--stress-duration is a number of seconds up to 3600"),
        (["--ca-file", "/nowhere/ca.pem"], "no such file"),
        (["--out", "/etc/passwd"], "/etc/passwd is no directory"),
    ],
)
def test_usage_errors_end_with_2(arguments, sentence, capsys):
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2
    assert sentence in capsys.readouterr().err


def test_stress_has_madmails_flags_and_defaults():
    asked = parse(["--stress"]).stress
    assert asked is not None
    assert (asked.order.plan.users, asked.workers, asked.duration) == (50, 8, 60)
    assert asked.report == asked.order.directory / "stress_report.json"
    assert asked.order.plan.run_time >= 60 + 5
    few = parse(["--stress", "--stress-users", "3", "--stress-report", "x/s.json"]).stress
    assert few is not None
    assert (few.workers, few.report) == (3, Path("x/s.json"))
    assert parse(["--test-15"]).stress is None


def test_a_stress_report_has_madmails_keys_and_counts_arrivals():
    asked = parse(["--stress"]).stress
    assert asked is not None
    steps = (StepTimes("mail", "submission", 90, 2, 10.0, 20.0, 30.0),)
    workers = (
        WorkerCounts(25, 25, 2.5, 50, 58.0, 73.0),
        WorkerCounts(25, 24, 2.4, 40, 57.5, 73.0, ("mail: NO",)),
    )
    results = LoadResults(
        True, 50, 50, 73.0, of_workers=workers, steps=steps, messages=Carried(90, 89, 0, 9000, 8900)
    )
    report = report_of(asked, results)
    assert {
        "remote",
        "users",
        "workers",
        "duration_seconds",
        "send_rate_mps",
        "workers_results",
    } <= report.keys()
    assert (report["messages_sent"], report["messages_arrived"]) == (90, 89)
    first, second = report["workers_results"]
    assert first == {
        "worker_id": 1,
        "users": 25,
        "accounts_created": 25,
        "account_create_seconds": 2.5,
        "secure_join_seconds": 0.0,
        "messages_sent": 50,
        "send_seconds": 58.0,
        "errors": [],
        "worker_seconds": 73.0,
    }
    assert (second["worker_id"], second["accounts_created"], second["errors"]) == (2, 24, ["mail: NO"])
    page = markdown_of(json.loads(json.dumps(report)), "stress_report.json")
    assert "- Messages sent: 90\n- Arrived: 89" in page
    assert "mail, submission: p50 10 ms, p95 20 ms, p99 30 ms; 2 of 90 failed" in page


def test_a_core_that_cannot_be_run_is_a_usage_error(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("RPC_SERVER_PATH", str(tmp_path / "nothing"))
    with pytest.raises(SystemExit) as ended:
        parse([])
    assert ended.value.code == 2
    assert "RPC_SERVER_PATH" in capsys.readouterr().err


def shown(results, *, selected=(15, 16), named=(), cool=False, color=False):
    output = io.StringIO()
    console = Console(output, cool=cool, color=color)
    for result in results:
        console.starts(result.number)
        logging.getLogger("harness.progress").info("half way through %d", result.number)
        console.ended(result)
    console.summary(selected, named, results, Path("reports/runs/r"))
    console.close()
    return output.getvalue()


def test_sentences():
    text = shown([PASSED])
    assert "✓ TEST #15 PASSED: Iroh Discovery (0.50 s)" in text
    assert "half way through 15" in text
    assert "note: no ledger" in text
    assert "SELECTED TESTS PASSED" in text
    assert text.endswith(
        "Test finished. Results in reports/runs/r\n1 of 23 tests ran, 1 passed\nnot run: 16\n"
    )
    assert "\x1b" not in text


def test_a_failure_is_named():
    text = shown([PASSED, FAILED])
    assert "❌ TEST FAILED: #16 WebXDC Realtime: nothing arrived" in text
    assert "SELECTED TESTS PASSED" not in text


def test_cool_is_one_symbol_per_test_and_one_line_per_failure():
    text = shown([PASSED, FAILED], cool=True)
    assert text.startswith("✓ ✗ \n1 passed, 1 failed, 21 skipped\n")
    assert "half way" not in text
    failure = next(line for line in text.splitlines() if line.startswith("#16"))
    assert len(failure) == 120
    assert "| FAIL |" in text


def test_nothing_ran_is_no_pass():
    assert "NOTHING RAN" in shown([])
    assert "NOTHING RAN" in shown([MISSING], selected=(7,), named=(7,))
    assert "| FAIL |" in shown([], cool=True)


def test_a_selected_test_that_was_not_run_is_named_and_is_no_pass():
    text = shown([PASSED, MISSING], selected=(7, 15), named=(7, 15))
    assert "- TEST #7 NOT RUN: Federation: unsupported: one server only" in text
    assert "SELECTED TESTS PASSED" not in text
    assert "selected, and not run: #7 Federation (one server only)" in text
    cool = shown([PASSED, MISSING], selected=(7, 15), named=(7, 15), cool=True)
    assert "| FAIL |" in cool
    assert "#7 Federation: one server only" in cool


def test_of_all_tests_those_that_cannot_run_are_named_and_do_no_harm():
    text = shown([PASSED, MISSING], selected=(7, 15))
    assert "SELECTED TESTS PASSED" in text
    assert text.endswith("1 of 23 tests ran, 1 passed\nnot run: 7\n")
    assert "| PASS |" in shown([PASSED, MISSING], selected=(7, 15), cool=True)


def test_colour_only_where_asked():
    assert "\x1b[32m✓" in shown([PASSED], color=True)


def test_the_list_has_every_number():
    output = io.StringIO()
    Console(output, cool=False, color=False).listing()
    lines = output.getvalue().splitlines()
    assert len(lines) == 23
    assert lines[14] == "--test-15  Iroh Discovery"


def test_every_number_has_its_checks():
    assert set(suite.TESTS) == set(NAMES)


@pytest.mark.parametrize(("megabytes", "size"), [(None, 5), ("2", 2), ("0", 1), ("900", 80), ("many", 5)])
def test_the_environment_says_how_large_the_big_file_is(megabytes, size, monkeypatch):
    monkeypatch.delenv("BIGFILE_E2E_MB", raising=False)
    if megabytes is not None:
        monkeypatch.setenv("BIGFILE_E2E_MB", megabytes)
    session: Any = None
    [part] = suite.TESTS[23](session)
    assert part.parameters == {"size": size * 1024 * 1024}


@pytest.mark.parametrize("has_admin", [True, False])
def test_test_11_switches_what_it_may_switch(has_admin, caplog):
    session: Any = SimpleNamespace(
        target=SimpleNamespace(capabilities={"admin"} if has_admin else set()),
        stage=lambda _name: SimpleNamespace(explain_missing=lambda each: f"there is no {each}"),
    )
    with caplog.at_level(logging.INFO, "harness.progress"):
        chosen = [part.check.__name__ for part in suite.TESTS[11](session)]
    switches = ["first_logins_can_be_switched_off"] if has_admin else []
    assert chosen == ["the_web_gives_accounts", *switches]
    assert ("there is no admin" in caplog.text) != has_admin


def test_results_are_copied_where_the_caller_wants_them(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("results.jsonl", "junit.xml", "report.html"):
        (run / name).write_text(name)
    copies = ["--json", "a/r.jsonl", "--junit", "j.xml", "--html", "h.html"]
    parse([each if each.startswith("--") else str(tmp_path / each) for each in copies]).copy_results(run)
    assert (tmp_path / "a" / "r.jsonl").read_text() == "results.jsonl"
    assert (tmp_path / "j.xml").read_text() == "junit.xml"
    assert (tmp_path / "h.html").read_text() == "report.html"


@pytest.mark.parametrize(
    ("capabilities", "machine_can", "ran"),
    [
        ({"lab"}, True, ["two_pairs_take_both_ways_at_once"]),
        ({"lab"}, False, ["two_devices_exchange_messages"]),
        (set(), True, ["two_devices_exchange_messages"]),
    ],
)
def test_test_16_goes_into_a_lab_where_there_can_be_one(capabilities, machine_can, ran, monkeypatch, caplog):
    def require_lab():
        if not machine_can:
            raise MissingCapability("netns", "no networks can be made", heal="run it as root")

    monkeypatch.setattr(suite, "require_lab", require_lab)
    session: Any = SimpleNamespace(capabilities=capabilities)
    with caplog.at_level(logging.INFO, "harness.progress"):
        chosen = suite.TESTS[16](session)
    assert [part.check.__name__ for part in chosen] == ran
    assert ("no networks can be made" in caplog.text) == (not machine_can)
