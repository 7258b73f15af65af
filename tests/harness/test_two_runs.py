"""Two runs against one server at the same time: each has accounts, results and a verdict of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from harness.hosts import LocalHost
from harness.report.observations import AccountsLeft
from harness.report.plan import checks
from harness.report.records import Record, read_results
from harness.servers.endpoints import read_endpoints
from harness.servers.reference import Reference
from harness.servers.server import Wants
from harness.stage.session import loopback_place
from harness.target import Service

CHECKS = (
    "discovery.*",
    "mail.idle_reports_new_mail",
    "relay.relay_forwards_each_frame_once",
    "turn.turn_allocates*",
)
WITHIN = 240.0


def started(ready_line: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [str(Path(sys.executable).with_name("dc-harness")), "check", *CHECKS]
    return subprocess.Popen(
        [*command, "--endpoints", ready_line, "--out", out], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def records(out: Path) -> list[Record]:
    return list(checks(read_results(out / "results.jsonl").records))


def test_neither_disturbs_the_other(tmp_path):
    place = loopback_place(tmp_path / "state", tmp_path / "logs")
    with Reference().start(LocalHost(), place, Wants()) as server:
        endpoints = dict(read_endpoints(place.logs / "reference.stdout.log"))
        del endpoints["control"]  # as a server that runs elsewhere
        ready_line = tmp_path / "ready.json"
        ready_line.write_text(json.dumps({"ready": True, "endpoints": endpoints}))
        outs = [tmp_path / name for name in ("one", "other")]
        runs = [started(ready_line, out) for out in outs]
        said = [run.communicate(timeout=WITHIN)[0].decode() for run in runs]
        assert [run.returncode for run in runs] == [0, 0], "\n".join(said)
        ledger = server.ledger(Service.MAIL)
        assert ledger is not None
        created = ledger.events_of("account_created")
    found = [records(out) for out in outs]
    assert [{each.verdict for each in records} for records in found] == [{"passed"}, {"passed"}]
    told = [each.count for records in found for record in records for each in record.seen(AccountsLeft)]
    assert sum(told) >= len(created) > len(CHECKS), "no account was used by both"
    assert {record.run for record in found[0]}.isdisjoint(record.run for record in found[1])
