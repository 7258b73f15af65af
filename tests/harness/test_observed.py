"""What calls, swarms and witnesses say becomes observations, from which everything can be shown again."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.calls.balance import CallAccount, Count, Direction
from harness.calls.call import Phases
from harness.calls.peers import Report
from harness.calls.quality import AudioFindings, Gap
from harness.evidence import legs, paths
from harness.network.schedule import Conditions
from harness.realtime.table import Arrival, Sent, tabulate
from harness.report.numbers import paths as path_section
from harness.report.observations import CallPhases, FlowSeen, LoadSeen, PathSeen
from harness.report.records import Record
from harness.steps.observed import (
    call_seen,
    families_seen,
    link_seen,
    path_by_agents,
    path_seen,
    swarm_seen,
    traffic_seen,
)
from harness.target import Service

from .evidence.recorded import (
    CALL,
    DIRECT,
    FOREIGN,
    MIXED,
    NOTHING_BUT_CHECKS,
    RELAYED_BOTH,
    RELAYED_ONE_LEG,
    ledger,
    sides,
)
from .records import PASSED

EVERY_PATH = (RELAYED_BOTH, RELAYED_ONE_LEG, DIRECT, MIXED, NOTHING_BUT_CHECKS, FOREIGN)


def kept(seen: PathSeen) -> PathSeen:
    """As it is read from a line of results.jsonl."""
    line = replace(PASSED, observations=(seen,)).to_json()
    [found] = Record.from_json(line).seen(PathSeen)
    return found


def load(found: legs.Load | None) -> LoadSeen | None:
    return None if found is None else LoadSeen(found.packets, found.bytes, found.stream)


@pytest.mark.parametrize("edges", EVERY_PATH)
def test_the_record_of_a_path_has_everything_that_was_counted(edges):
    path = paths.of_call(edges, CALL, sides(500, 400), ledger(500, 400))
    seen = kept(path_seen(path, CALL, subject="home to mobile"))
    assert (seen.phase, seen.verdict, seen.by) == (path.phase, path.verdict.value, path.by)
    assert (seen.witnesses, seen.contradictions, seen.doubts) == (
        path.witnesses,
        path.contradictions,
        path.doubts,
    )
    assert seen.shares == {name: round(share, 4) for name, share in path.shares.items()}
    assert (seen.delivered_directly, seen.attempted_directly) == (
        path.delivered_directly,
        path.attempted_directly,
    )
    assert [(each.source, each.target, each.way, each.attempted, each.delivered) for each in seen.legs] == [
        (each.source, each.target, each.way.value, load(each.attempted), load(each.delivered))
        for each in path.legs
    ]
    assert [(each.witness, each.place, each.load) for each in seen.hops] == [
        (each.witness, each.place, load(each.load)) for each in path.hops
    ]
    assert (seen.name, seen.subject) == (path.name, "home to mobile")


def test_the_word_of_agents_alone_proves_no_path():
    doubt = "TURN keeps no ledger"
    proven = path_by_agents("relayed", Service.TURN, subject="over-tcp", phase="media")
    doubted = path_by_agents("relayed", Service.TURN, subject="over-tcp", phase="media", doubt=doubt)
    direct = path_by_agents("direct", Service.TURN, subject="", phase="media")
    assert (proven.name, proven.verdict, proven.by) == ("relayed(turn)", "relayed", ("turn",))
    assert (doubted.name, doubted.verdict) == ("relayed(turn), not proven", "not proven")
    assert (direct.name, direct.by) == ("direct", ())
    section = path_section([replace(PASSED, observations=(doubted,))])
    assert section is not None
    assert doubt in section.text()


def test_a_call_has_its_phases_and_both_directions():
    phases = Phases(clicked=1000.0, offer=0.0394, ring=0.0945)
    audio = AudioFindings(
        *(2, 2.1, 100, 0.97),
        gaps=(Gap(1.0, 0.0404), Gap(1.5, 0.12)),
        jumps=(),
        stalls=(0.2, 3.0224),
        others={},
        first=0.0,
        drift=0.0,
        delays=(0.0081, 0.0083, 0.0093),
    )
    reports = {"alice": Report(None, None, 340, 0, 0, 0), "bob": Report(audio, None, 346, 1, 0, 0)}
    balance = CallAccount(
        "relayed",
        (
            Direction("alice", "bob", Count(348, 1), Count(347, 1), Count(346, 1)),
            Direction("bob", "alice", Count(340, 1), None, Count(340, 1)),
        ),
    )
    ringing = call_seen("relayed", phases)
    talked = call_seen("relayed", phases, "relayed", balance, reports)
    assert ringing.phases == talked.phases == CallPhases(39.4, 94.5)
    assert (ringing.directions, ringing.path) == ((), "")
    there, back = talked.directions
    assert (there.sent, there.server, there.received, there.lost) == (348, 347, 346, 1)
    assert (there.delay_ms, there.heard_s, there.gaps_ms, there.stall_ms) == (
        8.3,
        2.04,
        (40.4, 120.0),
        3022.4,
    )
    assert (back.server, back.delay_ms, back.heard_s, back.pictures) == (None, None, None, None)
    assert ringing.about == talked.about


def test_a_swarm_has_a_row_for_each_pair_and_its_times():
    sent = [Sent("alice", number, 100.0 + number) for number in range(4)]
    arrivals = [Arrival("bob", "alice", number, 100.0 + number + 0.0125) for number in (0, 2, 1, 2, 9)]
    seen = swarm_seen(tabulate(("alice", "bob"), sent, arrivals), "established", silence=True)
    there, back = seen.directions
    assert (there.sent, there.delivered, there.duplicates) == (4, 3, 1)
    assert (there.out_of_order, there.strange) == (1, 1)
    assert (back.sent, back.delivered) == (0, 0)
    assert (seen.latency_median_ms, seen.latency_max_ms) == (12.5, 12.5)
    nothing = swarm_seen(tabulate(("alice", "bob"), sent, []), "isolated")
    assert (nothing.latency_median_ms, nothing.latency_max_ms, nothing.longest_silence_s) == (
        None,
        None,
        None,
    )


def test_bytes_are_kept_by_the_other_end_and_by_family():
    by_end = traffic_seen({"alice": {"mail": {"sent": 3, "received": 4}}}, "media")
    assert by_end.flows == (FlowSeen("alice", "mail", 3, 4),)
    families = families_seen({"alice": DIRECT["alice"]}, "media")
    assert families.flows == (
        FlowSeen("alice", "", 100_000, 81_760, "IPv4"),
        FlowSeen("alice", "", 0, 0, "IPv6"),
    )


def test_a_bad_link_has_its_conditions_and_what_it_took():
    seen = link_seen("5 % loss", Conditions(loss=0.05, seed=5), taken_up=12, taken_down=9)
    assert (seen.subject, seen.loss, seen.seed, seen.taken_up, seen.taken_down) == (
        "5 % loss",
        0.05,
        5,
        12,
        9,
    )
