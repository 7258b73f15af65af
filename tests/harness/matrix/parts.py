"""A registry, and cells with results, for tests of the matrix."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from harness.doors.catalogue import all_checks
from harness.matrix.plan import Axes
from harness.matrix.registry import Interop, read_interop
from harness.report.cells import CellOf, ExpectedRed, MatrixPlan, Part, Shard
from harness.report.records import HEAD, Evidence, Record, Verdict

CALL, REALTIME = (
    "calls_paths.calls_take_the_expected_path",
    "realtime_paths.data_takes_the_way_that_networks_allow",
)
TEXT = f"""
reference = {{ server = "reference", client = "2.65.0" }}
clients = ["2.20.0", "2.50.0", "2.65.0"]
networks = ["home:home", "home:symmetric"]
must = ["call"]

[servers.reference]
kind = "reference"
[servers.composed]
kind = "reference+coturn"
[servers.live]
domain = "chat.example.org"
[servers.wrong]
kind = "mutant=turn_other_secret"

[scenarios.call]
check = "{CALL}"
[scenarios.realtime]
check = "{REALTIME}"
[scenarios.mail]
check = "mail.idle_reports_new_mail"
clients = false
"""
KILLS = {"turn_other_secret": {CALL: "the call should be relayed"}}
CHECKS = {"call": CALL, "realtime": REALTIME}


def registry(directory: Path, text: str = TEXT) -> Interop:
    file = directory / "interop.toml"
    file.write_text(text)
    return read_interop(file, all_checks())


def axes_of(interop: Interop) -> Axes:
    return Axes(
        tuple(interop.servers),
        interop.clients,
        interop.peers,
        interop.networks,
        tuple(interop.scenarios),
        interop.reference_client,
    )


PLAN = MatrixPlan(
    "interop.toml",
    "0f",
    1,
    "pairwise",
    servers=("reference", "madmail"),
    clients=("2.20.0", "2.65.0"),
    peers=("aiortc",),
    networks=("home:home",),
    scenarios=("call", "realtime"),
    reference_server="reference",
    reference_client="2.65.0",
    combinations=16,
)
OLD, NEW = ("2.20.0", "2.20.0"), ("2.65.0", "2.65.0")


def cell(
    server: str = "madmail", cores: tuple[str, str] = NEW, scenario: str = "call", attempt: int = 1
) -> CellOf:
    found = CellOf(server, scenario, *cores, "aiortc", "home:home", attempt)
    return replace(found, directory="cells/" + found.name.replace(" ", "-").replace(",", ""))


def result(where: CellOf, verdict: Verdict = Verdict.PASSED, reason: str = "", run: str = "r") -> Record:
    said = reason or ("" if verdict is Verdict.PASSED else "it was so")
    name = (
        CHECKS.get(where.scenario, "matrix.control")
        if where.part in (Part.MATRIX, Part.BLAME)
        else "matrix.control"
    )
    files = () if verdict is Verdict.NOT_RUN else (Evidence(f"{where.directory}/output.log", "0" * 64),)
    return Record(
        run, name, verdict, 1.8e9, 9.5, where.server, reason=said, observations=(where,), evidence=files
    )


def head(run: str = "r", shard: Shard | None = None, *known: ExpectedRed) -> Record:
    plan = replace(PLAN, shard=shard or Shard(), expected_reds=known)
    return Record(run, HEAD, Verdict.PASSED, 1.8e9, 0.0, "madmail", observations=(plan,))
