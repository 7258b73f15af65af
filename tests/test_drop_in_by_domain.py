"""main.py as madmail's own scripts start it: a server that is somebody else's, an address, and no options."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.hosts import MissingCapability
from harness.network.lab import Lab
from harness.report.plan import checks
from harness.report.records import Verdict, read_results
from harness.servers.madmail import BINARY_VARIABLE, Madmail
from harness.servers.server import Place, Ports, Wants
from harness.stage.options import ACCEPT_SELF_SIGNED, ADMIN_TOKEN

MAIN = Path(__file__).parent / "deltachat-test" / "main.py"
RED = {"mail.unencrypted_mail_is_refused", "accounts.log_ins_are_for_this_server_only"}
"""Rightly so, on madmail 2.23 (docs/madmail-suite.md)."""
WITHIN = 600


@pytest.mark.nightly
def test_all_numbers_against_a_madmail_that_runs_elsewhere(tmp_path: Path) -> None:
    if not os.environ.get(BINARY_VARIABLE):
        pytest.skip(f"capability madmail: {BINARY_VARIABLE}=PATH in the environment")
    try:
        lab = Lab()
    except MissingCapability as missing:
        pytest.skip(str(missing))
    with lab:
        machine, client = lab.server("madmail"), lab.device("tester")
        place = Place(machine.address, tmp_path / "state", tmp_path / "logs", Ports())
        place.logs.mkdir()
        with Madmail().start(machine, place, Wants()) as server:
            assert server.target.admin is not None
            environment = {
                "REMOTE1": machine.address,
                ACCEPT_SELF_SIGNED: "1",
                ADMIN_TOKEN: server.target.admin.token,
            }
            process = client.popen(
                [
                    *(sys.executable, MAIN, "--all", "--cool", "--out", tmp_path / "out"),
                    *("--i-own-this-server", machine.address),
                ],
                cwd=tmp_path,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            output, _ = process.communicate(timeout=WITHIN)
    said = output.decode()
    assert process.returncode == 1, said
    found = {each.check: each for each in checks(read_results(tmp_path / "out" / "results.jsonl").records)}
    assert {name for name, each in found.items() if each.verdict is Verdict.FAILED} == RED, said
    assert not [name for name, each in found.items() if each.verdict is Verdict.UNDECIDED], said
    assert "17 of 23 tests ran, 15 passed" in said
    assert "not run: 7, 8, 10, 18" in said
    assert server.target.admin.token not in said + (tmp_path / "out" / "results.jsonl").read_text()
