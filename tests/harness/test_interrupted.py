"""A run that is interrupted: it ends in good order, keeps what it found, and nobody takes it for a result."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from harness.report.plan import checks, how_far
from harness.report.records import Record, Verdict, read_results
from harness.report.run import RESULTS
from harness.scratch import remove_leftovers
from harness.waiting import wait_until

from .records import expect_to_keep_to_the_schema

CHOSEN = (
    "tls.certificates_are_trusted",
    "relay.relay_connection_survives_idle",
    "mail.idle_reports_new_mail",
)
"""The second one takes seven seconds and begins last, which is where the signal finds it."""
DROP_IN = Path(__file__).parents[1] / "deltachat-test" / "main.py"
PROGRAM = "import sys; from harness.doors.cli import main; sys.exit(main())"


@dataclass
class Running:
    """A run of `dc-harness check` that has two verdicts of three."""

    process: subprocess.Popen[str]
    directory: Path
    temporary: Path

    def records(self) -> list[Record]:
        return list(read_results(self.directory / RESULTS).records)

    def end(self, by: signal.Signals) -> str:
        """Its output."""
        self.process.send_signal(by)
        return self.process.communicate(timeout=60)[0]

    def left_behind(self) -> list[str]:
        return sorted(path.name for path in self.temporary.iterdir())


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    temporary = Path(tempfile.mkdtemp(prefix="dc-tests-"))  # short: paths of sockets are
    directory = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "check", *CHOSEN, "--out", directory],
        env=os.environ | {"TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    found = Running(process, directory, temporary)
    try:
        wait_until(
            lambda: (directory / RESULTS).exists() and _verdicts(found.records()) == [Verdict.PASSED] * 2,
            "the verdicts of the quick checks",
            within=300,
        )
        yield found
    finally:
        process.kill()
        process.communicate()
        shutil.rmtree(temporary)


def _verdicts(records: list[Record]) -> list[Verdict]:
    return [each.verdict for each in checks(records) if each.verdict is not Verdict.NOT_RUN]


def test_the_drop_in_ends_in_good_order_too(tmp_path):
    process = subprocess.Popen(
        [sys.executable, DROP_IN, "--test-16", "--out", tmp_path / "run"], stdout=subprocess.PIPE, text=True
    )
    try:
        wait_until((tmp_path / "run" / RESULTS).exists, "the head of the run", within=120)
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=60)[0]
    finally:
        process.kill()
    assert process.returncode == 143
    assert "SIGTERM" in output
    assert "NO VERDICT" in (tmp_path / "run" / "report.md").read_text()
    assert 'tests="0"' in (tmp_path / "run" / "junit.xml").read_text()


@pytest.mark.parametrize(
    ("by", "code", "name"),
    [
        (signal.SIGINT, 130, "Ctrl-C"),
        (signal.SIGTERM, 143, "SIGTERM"),
        (signal.SIGHUP, 129, "the end of the terminal"),
    ],
)
def test_it_says_so_in_every_format_and_leaves_nothing(running, by, code, name):
    output = running.end(by)
    assert running.process.returncode == code
    sentence = f"interrupted after 2 of 3: no verdict ({name})"
    assert output.rstrip().splitlines()[-1] == f"Report: {running.directory / 'report.html'}"
    for text in (
        output,
        (running.directory / "report.md").read_text().replace("\\", ""),
        (running.directory / "junit.xml").read_text(),
        how_far(running.records()),
    ):
        assert sentence.lower() in " ".join(text.split()).lower()
    junit = (running.directory / "junit.xml").read_text()
    assert 'tests="3" failures="0" errors="1"' in junit
    expect_to_keep_to_the_schema(running.directory / RESULTS)
    assert running.left_behind() == []


def test_a_killed_run_keeps_its_plan_and_the_rest_is_cleared_up(running, monkeypatch):
    running.end(signal.SIGKILL)
    records = running.records()
    assert [each.check for each in checks(records)] == list(CHOSEN)
    assert how_far(records) == "not ended, or killed, after 2 of 3: no verdict"
    wait_until(
        lambda: (
            not any(
                ("scratch" in each and "-fork-" not in each) or "server" in each
                for each in running.left_behind()
            )
        ),
        "the workers to end",
        within=60,
        seen=running.left_behind,
    )
    monkeypatch.setattr(tempfile, "tempdir", str(running.temporary))
    remove_leftovers()  # as the next start does
    assert not any("scratch" in each or "pymp" in each for each in running.left_behind())
