"""tests/deltachat-test/main.py as madmail's wrappers start it: a program with flags, files and exit codes."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from harness.network.preflight import preflight
from harness.report.observations import PathSeen
from harness.report.plan import checks
from harness.report.records import Verdict, read_results
from reference_server.addresses import claim_any_address

from .harness.records import expect_to_keep_to_the_schema, measured

FOLDER = Path(__file__).parent / "deltachat-test"
ENVIRONMENT = {key: value for key, value in os.environ.items() if key not in ("REMOTE1", "RPC_SERVER_PATH")}
HAS_LAB = preflight().has("netns", "capture")


def run_main(*arguments, cwd, folder=FOLDER, interpreter=(sys.executable,), **environment):
    return subprocess.run(
        [*interpreter, folder / "main.py", *map(str, arguments)],
        cwd=cwd,
        env={**ENVIRONMENT, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """One run of tests 15 and 16, from a copy of the folder: the result and the run's directory."""
    place = tmp_path_factory.mktemp("elsewhere")
    folder = shutil.copytree(FOLDER, place / "copied", ignore=shutil.ignore_patterns("__pycache__"))
    return run_main("--test-15", "--test-16", "--out", place / "out", cwd=place, folder=folder), place / "out"


def test_it_passes_on_the_embedded_server_from_wherever_it_is(both):
    result, _directory = both
    assert result.returncode == 0, result.stdout + result.stderr
    assert "✓ TEST #15 PASSED: Iroh Discovery" in result.stdout
    assert "✓ TEST #16 PASSED: WebXDC Realtime" in result.stdout
    if HAS_LAB:
        assert "a direct path is possible: established: direct, by counters at the edges" in result.stdout
        assert "no direct path is possible: established: relayed(iroh_relay), by counters at" in result.stdout
    else:
        assert "relay used for set-up, data path not proven" in result.stdout
    assert result.stdout.endswith("2 of 23 tests ran, 2 passed\n")


def test_records_junit_and_logs_lie_in_one_directory(both):
    _result, directory = both
    records = checks(read_results(directory / "results.jsonl").records)
    established = ["direct", "relayed(iroh_relay)"] if HAS_LAB else ["not proven"]
    count = 5 + 1
    expect_to_keep_to_the_schema(directory / "results.jsonl")
    assert len(records) == count
    assert {record.verdict for record in records} == {Verdict.PASSED}
    [suite] = ET.parse(directory / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == (str(count), "0")
    [realtime] = [record for record in records if record.check.startswith("realtime")]
    ways = sorted(each.name for each in realtime.seen(PathSeen) if each.phase == "established")
    assert ways == established
    assert list(realtime.clients.values()) == ["core v2.65.0, bot=1"] * 2 * len(established)
    assert all((directory / item.path).is_file() for item in realtime.evidence)
    assert (directory / "logs" / "server.mail.log").is_file()


def test_a_clean_run_logs_no_error_and_no_secret(both):
    _result, directory = both
    for log in directory.rglob("*.log"):
        text = log.read_text(errors="replace")
        assert "Traceback" not in text, log
        assert "dclogin:" not in text, log
    server_logs = [log.read_text() for log in directory.rglob("server.*.log")]
    assert server_logs
    assert not [line for text in server_logs for line in text.splitlines() if "ERROR" in line]


def test_the_relays_host_answered_stun(both):
    _result, directory = both
    [http] = [
        r for r in read_results(directory / "results.jsonl").records if r.check == "relay.relay_answers_http"
    ]
    assert measured(http, "STUN answers at the relay's host") is True


def test_without_the_distribution_it_says_how_to_install_it(tmp_path):
    result = run_main("--test-15", cwd=tmp_path, interpreter=(sys.executable, "-I", "-S"))
    assert result.returncode == 2
    assert f"{sys.executable} -m pip install" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--test-10"], 5, "selected, and not run: #10 "),
        (["--test-15", "--no-test", "15"], 5, "NOTHING RAN"),
        (["--no-such-flag"], 2, ""),
        (["--list"], 0, "--test-15  Iroh Discovery"),
    ],
)
def test_exit_codes_without_a_run(arguments, code, words, tmp_path):
    result = run_main(*arguments, cwd=tmp_path)
    assert (result.returncode, "Traceback" in result.stderr) == (code, False)
    assert words in result.stdout


def test_a_server_that_lacks_a_program_is_no_pass_and_says_which(tmp_path):
    program = tmp_path / "madmail"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    result = run_main("--test-1", "--server", f"madmail={program}", cwd=tmp_path, IROH_RELAY_BIN="")
    assert result.returncode == 5, result.stdout + result.stderr
    assert f"none beside it: {tmp_path}/iroh-relay, or IROH_RELAY_BIN=PATH" in result.stdout
    assert not result.stderr


def test_a_core_that_does_not_start_is_no_pass(tmp_path):
    broken = tmp_path / "core"
    broken.write_text("#!/bin/sh\necho 'no such core' >&2\nexit 1\n")
    broken.chmod(0o755)
    result = run_main("--test-16", cwd=tmp_path, RPC_SERVER_PATH=str(broken))
    assert result.returncode == 3
    assert "no such core" in result.stdout


def may_use_low_ports() -> bool:
    with socket.socket() as probe, contextlib.suppress(PermissionError):
        probe.bind(("127.9.9.1", 993))
        return True
    return False


needs_low_ports = pytest.mark.skipif(
    not may_use_low_ports(), reason="capability low_ports: this user may not bind ports below 1024"
)


@pytest.fixture
def address():
    """An address of this machine on which no server listens, also when tests run in parallel."""
    host, claim = claim_any_address()
    claim.close()
    return host


@contextlib.contextmanager
def server_at(host, state, *command):
    """A server on the standard ports of a loopback address, which `--domain` reaches like any other."""
    arguments = ["--host", host, "--domain", f"[{host}]", "--standard-ports", "--state", str(state)]
    with subprocess.Popen([sys.executable, "-m", *command, *arguments], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["endpoints"]
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0


@needs_low_ports
def test_domain_tests_a_server_that_somebody_else_runs(tmp_path, address):
    with server_at(address, tmp_path / "state", "reference_server") as endpoints:
        options = ["--domain", address, "--ca-file", endpoints["ca_file"], "--out", tmp_path / "out"]
        result = run_main("--test-15", "--test-16", *options, cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "the target keeps no ledger" in result.stdout


@needs_low_ports
def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path, address):
    with server_at(address, tmp_path / "state", "reference_server"):
        result = run_main("--test-15", cwd=tmp_path, REMOTE1=address)
    assert result.returncode == 1
    assert "its certificate is not trusted" in result.stdout


@needs_low_ports
def test_a_server_that_signs_itself_is_tested_if_asked_for_and_the_record_says_so(tmp_path, address):
    with server_at(address, tmp_path / "state", "reference_server"):
        options = ["--target", "remote", "--accept-self-signed", "--out", tmp_path / "out"]
        result = run_main("--test-15", *options, cwd=tmp_path, REMOTE1=address)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "nobody vouches for the target's certificates" in result.stdout
    assert f"accounts were left on {address}" in result.stdout
    records = checks(read_results(tmp_path / "out" / "results.jsonl").records)
    assert all(any("nobody vouches" in note for note in record.notes) for record in records)


@needs_low_ports
@pytest.mark.parametrize("flags", [[], ["--cool"]])
def test_a_broken_server_fails_the_run(flags, tmp_path, address):
    with server_at(address, tmp_path / "state", "mutants", "irohrelay_missing") as endpoints:
        options = ["--domain", address, "--ca-file", endpoints["ca_file"]]
        result = run_main("--test-15", "--test-16", *options, *flags, cwd=tmp_path)
    assert result.returncode == 1
    assert "METADATA has no value for" in result.stdout
    assert ("| FAIL |" in result.stdout) == bool(flags)
    assert "--test-16" not in result.stdout
    [runs] = (tmp_path / "reports" / "runs").iterdir()
    assert Verdict.FAILED in {record.verdict for record in read_results(runs / "results.jsonl").records}


@needs_low_ports
def test_scenario_modules_can_be_imported_as_before(tmp_path, address):
    """stress.py and others call `run(dc, domain)` and use the accounts that it returns."""
    program = """
import sys
sys.path.insert(0, sys.argv[1])
from deltachat_rpc_client import DeltaChat, Rpc
from harness.clients.core.versions import bundled_binary
from scenarios import test_15_iroh_discovery, test_16_webxdc_realtime
with Rpc(accounts_dir=sys.argv[2], rpc_server_path=str(bundled_binary())) as rpc:
    dc = DeltaChat(rpc)
    account = test_15_iroh_discovery.run(dc, sys.argv[3])
    pair = test_16_webxdc_realtime.run(dc, sys.argv[3])
    print([each.is_configured() for each in (account, *pair)])
"""
    with server_at(address, tmp_path / "state", "reference_server") as endpoints:
        result = subprocess.run(
            [sys.executable, "-c", program, FOLDER, tmp_path / "accounts", address],
            cwd=tmp_path,
            env={**ENVIRONMENT, "SSL_CERT_FILE": endpoints["ca_file"]},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
    assert result.stdout.strip() == "[True, True, True]", result.stderr


def test_stress_is_a_load_with_madmails_report_files(tmp_path):
    # Importing it here would replace what blocks in this process.
    if importlib.util.find_spec("locust") is None:
        pytest.skip("the extra `load` is not installed")
    words = ["--stress", "--stress-users", "6", "--stress-workers", "2", "--stress-duration", "12"]
    result = run_main(*words, "--out", tmp_path / "out", cwd=tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    report = json.loads((tmp_path / "out" / "stress_report.json").read_text())
    assert report["complete"]
    assert report["messages_sent"] == report["messages_arrived"] > 0
    workers = report["workers_results"]
    assert [each["accounts_created"] for each in workers] == [3, 3]
    assert sum(each["messages_sent"] for each in workers) == report["messages_sent"]
    assert "## Key Results" in (tmp_path / "out" / "stress_report.md").read_text()
    found = {
        each.check: each.verdict for each in checks(read_results(tmp_path / "out" / "results.jsonl").records)
    }
    assert found["load.mail"] is Verdict.PASSED


def test_numbers_stand_side_by_side_in_one_run(tmp_path):
    words = ["--test-2", "--test-15", "--test-10", "--jobs", "2", "--json", tmp_path / "copy.jsonl"]
    result = run_main(*words, "--out", tmp_path / "out", cwd=tmp_path)
    assert result.returncode == 1, result.stdout + result.stderr  # 10 was asked for, and cannot run
    assert "✓ TEST #2 PASSED" in result.stdout
    assert "✓ TEST #15 PASSED" in result.stdout
    assert "- TEST #10 NOT RUN: Upgrade Mechanism" in result.stdout
    records = checks(read_results(tmp_path / "out" / "results.jsonl").records)
    assert {each.door for each in records} == {"main.py --test-2", "main.py --test-10", "main.py --test-15"}
    assert {each.run for each in records} == {"out"}
    assert (tmp_path / "copy.jsonl").read_text() == (tmp_path / "out" / "results.jsonl").read_text()


def test_side_by_side_the_first_failure_ends_the_others(tmp_path):
    words = ["--test-2", "--test-13", "--jobs", "2", "--domain", "127.0.0.9", "--out", tmp_path / "out"]
    result = run_main(*words, cwd=tmp_path)  # nobody is there
    assert result.returncode in (1, 3), result.stdout + result.stderr
    assert "SELECTED TESTS PASSED" not in result.stdout
