"""Records as checks make them, with every kind of observation, for the tests of what is made of records."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema

import harness.report
from harness.report.cells import CellOf, ExpectedRed, MatrixPlan
from harness.report.client_load import ClientLoad, Delivery, StepTimes
from harness.report.ending import RunEnded
from harness.report.must import KnownRed, Must, MustList
from harness.report.observations import (
    AccountsLeft,
    CallDirection,
    CallPhases,
    CallSeen,
    CertificateSeen,
    DeviceAt,
    FlowSeen,
    HopSeen,
    LegSeen,
    LinkSeen,
    Listener,
    LoadSeen,
    MachineSeen,
    MatrixCell,
    Measured,
    NameLookup,
    PathSeen,
    ServerSeen,
    SwarmDirection,
    SwarmSeen,
    Timing,
    TrafficSeen,
)
from harness.report.records import HEAD, Evidence, Record, Verdict, read_results

from .diagnosis.looks import HEALTHY

SCHEMA_FILE = Path(harness.report.__file__).parent / "results.schema.json"


def expect_to_keep_to_the_schema(results: Path) -> None:
    """Every line of a `results.jsonl`, which is read without a word."""
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA_FILE.read_text()))
    for line in results.read_text(encoding="utf-8").splitlines():
        validator.validate(json.loads(line))
    assert read_results(results).problems == ()


def measured(record: Record, name: str, subject: str = "") -> object:
    """The one number or word of this name."""
    [found] = [each for each in record.seen(Measured) if (each.name, each.subject) == (name, subject)]
    return found.value


def path_of(record: Record, phase: str, subject: str = "") -> str:
    """The path of this phase, as people read it."""
    [found] = [each for each in record.seen(PathSeen) if (each.phase, each.subject) == (phase, subject)]
    return found.name


PASSED = Record(
    run="r",
    check="mail.idle",
    verdict=Verdict.PASSED,
    time=1.0,
    duration=0.5,
    target="t",
    requirements=("MAIL-3",),
)
FAILED = replace(
    PASSED, check="mail.policy", verdict=Verdict.FAILED, reason="it was accepted", notes=("one host",)
)
UNSUPPORTED = replace(PASSED, check="calls.relayed", verdict=Verdict.UNSUPPORTED, reason="t has no turn")
SKIPPED = replace(
    PASSED, check="swarms.cut", verdict=Verdict.SKIPPED, reason="nft is missing: apt-get install nftables"
)
UNDECIDED = replace(PASSED, check="mail.odd", verdict=Verdict.UNDECIDED, reason="we crashed on \x00\x1b[31m")
NOT_REACHED = replace(
    PASSED,
    check="mail.late",
    verdict=Verdict.NOT_REACHED,
    reason="mail.policy failed before: it was accepted",
    because_of="mail.policy",
)
EVERY_VERDICT = [PASSED, FAILED, UNSUPPORTED, SKIPPED, UNDECIDED, NOT_REACHED]

RELAYED_CALL = CallSeen(
    "relayed",
    CallPhases(39.4, 94.5, 137.0, 191.4, 304.6, 314.0),
    "relayed",
    (
        CallDirection("alice", "bob", 348, 347, 346, lost=1, delay_ms=8.3, heard_s=2.04, gaps_ms=(40, 120)),
        CallDirection("bob", "alice", 340, None, 340, lost=0, stall_ms=3022, pictures=30),
    ),
)
DECLINED_CALL = CallSeen("declined", CallPhases(offer_ms=40.0, ring_ms=90.0))
RELAYED = PathSeen(
    "media",
    "relayed(turn)",
    "relayed",
    by=("turn",),
    shares={"turn": 1.0},
    attempted_directly=3,
    witnesses=("counters at the edges", "agents"),
    legs=(
        LegSeen("alice", "turn", "relayed", LoadSeen(348, 51000), None),
        LegSeen("turn", "bob", "relayed", None, LoadSeen(346, 50800)),
    ),
    hops=(HopSeen("agents", "alice sent", LoadSeen(348, 51000)),),
    devices=(DeviceAt("alice", "home", ("home router",)), DeviceAt("bob", "mobile")),
    relays=("turn",),
    subject="home to mobile",
)
SWARM = SwarmSeen(
    "established",
    (SwarmDirection("alice", "bob", 10, 9, out_of_order=2), SwarmDirection("bob", "alice", 10, 10, 1)),
    latency_median_ms=1.5,
    latency_max_ms=9.0,
    longest_silence_s=0.25,
)
CELLS = (
    MatrixCell("call", "home", "home", "direct", "direct", "they can"),
    MatrixCell("call", "home", "mobile", "relayed", "relayed", "they cannot", legs=1),
    MatrixCell("call", "mobile", "mobile", "relayed", "mixed", "they cannot", legs=2),
    MatrixCell("call", "only 443", "home", "none", "none", "no UDP", over_tcp="relayed"),
    MatrixCell("call", "only 443", "mobile", "none", "none", "no UDP", over_tcp="none"),
    MatrixCell("realtime", "home", "home", "direct", "direct"),
    MatrixCell("realtime", "home", "mobile", "relayed", "direct"),
)
SERVER = ServerSeen(
    "t",
    domain="t.example",
    addresses=("203.0.113.5",),
    listeners=(Listener("mail", "203.0.113.5", 993, "tls", answers=True),),
    certificates=(CertificateSeen("mail", ("t.example",), "R3", 2e9, trusted=True),),
    imap_capabilities=("METADATA",),
    metadata=("/shared/vendor/deltachat/turn",),
    relay_generations=("0.35", "v1"),
    turn_transports=("udp",),
    clock_ahead_s=0.2,
    capabilities=("turn",),
)
MUST = MustList(
    "must.toml",
    (Must("MAIL-3", ("mail.idle",)),),
    (KnownRed("mail.policy", "alice@example.org", "2026-12-31"),),
)
MATRIX = MatrixPlan(
    "interop.toml",
    "0f",
    1,
    "pairwise",
    servers=("reference",),
    clients=("2.50.0", "2.65.0"),
    peers=("aiortc",),
    networks=("home:mobile",),
    scenarios=("call",),
    reference_server="reference",
    reference_client="2.65.0",
    expected_reds=(ExpectedRed("call", "alice@example.org", "2026-12-31"),),
)
CELL = CellOf("reference", "call", "2.65.0", "2.50.0", "aiortc", "home:mobile", directory="cells/1")
HEAD_OF_RUN = Record(
    "r",
    HEAD,
    Verdict.PASSED,
    1.0,
    0.0,
    "t",
    observations=(MATRIX, MachineSeen(("lab: level root",), {"dc-harness": "0.1.0"}), SERVER, HEALTHY),
)
LAB = replace(
    PASSED,
    check="calls_paths.calls_take_the_expected_path",
    clients={"alice": "core 2.65.0", "bob": "core 2.50.0"},
    profiles={"alice": "home", "bob": "mobile"},
    server={"reference": "dc-harness 0.1.0", "coturn": "coturn 4.6.1"},
    seed=5,
    observations=(
        CELL,
        RELAYED_CALL,
        DECLINED_CALL,
        RELAYED,
        SWARM,
        *CELLS,
        TrafficSeen("mail", (FlowSeen("alice", "mail", 1200, 3400, "IPv6"), FlowSeen("bob", "", 5, 6))),
        LinkSeen("5 % loss", loss=0.05, delay_ms=200, seed=5, taken_up=12),
        Timing("250 to EXISTS", (0.004, 0.012), most_s=2.0),
        NameLookup("turn.t.example", "NXDOMAIN", (), 0.01, "it leads nowhere", used=()),
        Measured("TURN credentials are valid for", 86400, "s"),
        Measured("STUN answers", True),
        StepTimes("mail", "from submission to arrival", 5600, 3, 12.0, 250.0, 31_000.0),
        Delivery("frames of the iroh relay", 4000, 3999, 1, 2_000_000, 1_999_500),
        AccountsLeft(2),
    ),
    evidence=(Evidence("logs/alice.log", "ba7816bf"),),
    door="dc-harness check",
)
END_OF_RUN = replace(HEAD_OF_RUN, observations=(RunEnded(575.0, jobs=4, cores=2, load=3.5),))
FOR_A_SIGN_OFF = replace(HEAD_OF_RUN, observations=(MUST,))
LOAD = replace(HEAD_OF_RUN, observations=(ClientLoad(300, 299, 20.0, 120, 121.0, 2, 1, 12.3, 90.0),))
EVERYTHING = [FOR_A_SIGN_OFF, HEAD_OF_RUN, LOAD, *EVERY_VERDICT, LAB, END_OF_RUN]
