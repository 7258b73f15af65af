"""The tables of calls are made of records alone."""

from __future__ import annotations

from dataclasses import replace

from harness.report.call_tables import calls
from harness.report.markdown import render_markdown
from harness.report.observations import CallDirection, CallSeen
from harness.report.records import Record

from .records import DECLINED_CALL, PASSED, RELAYED_CALL


def record(check: str, *seen: CallSeen) -> Record:
    return Record.from_json(replace(PASSED, check=check, observations=seen).to_json())


def shown(*records: Record) -> list[str]:
    section = calls(records)
    assert section is not None
    return section.text().splitlines()


def test_a_run_without_calls_has_no_table():
    assert calls([PASSED]) is None
    assert "## Calls" not in render_markdown("run", [PASSED])


def test_a_call_is_a_line_on_its_set_up_and_two_on_its_media():
    lines = shown(record("calls.relayed", RELAYED_CALL))
    title, _, heading, check, set_up, _, columns, also, name, there, back, *_ = lines
    assert title == "CALLS"
    assert heading.split() == ["call", "offer", "ring", "answer", "ICE", "audio", "path"]
    assert check == also == "calls.relayed"
    assert set_up.split() == ["relayed", "39", "94", "137", "305", "314", "relayed"]
    counted = ["sent", "server", "received", "lost", "delay", "heard", "gaps", "stall", "video"]
    assert columns.split() == ["from,", "to", *counted]
    assert name == "  relayed"
    assert there.split() == [
        *("alice", "to", "bob", "348", "347", "346", "1", "8", "2.04", "2", "(160)", "0", "-")
    ]
    assert back.split() == ["bob", "to", "alice", "340", "-", "340", "0", "-", "-", "0", "3,022", "30"]


def test_a_phase_that_was_not_reached_is_a_dash():
    _, _, _, _, line, *rest = shown(record("calls.ring", DECLINED_CALL))
    assert line.split() == ["declined", "40", "90", "-", "-", "-", "-"]
    assert "from, to" not in "\n".join(rest)


def test_calls_keep_their_order_and_lines_fit_a_terminal():
    ways = (CallDirection("alice", "bob", 123_348, 123_348, 123_348, lost=0, delay_ms=8.0, heard_s=660.04),)
    made = [
        CallSeen(name, path="relayed", directions=ways)
        for name in (
            "second-to-be-told",
            "after",
            "30 s of outage, alice and bob in networks with long names",
        )
    ]
    lines = shown(record("calls_interrupted.calling_survives_a_restart_of_turn", *made))
    assert [line.split()[0] for line in lines[4:6]] == ["second-to-be-told", "after"]
    assert max(map(len, lines)) <= 80
    assert lines[6].startswith("  30 s of outage, alice and bob in")
    assert lines[7].endswith(" with long names")


def test_the_report_of_a_run_has_the_tables():
    text = render_markdown("run", [record("calls.ring", DECLINED_CALL)])
    assert "## Calls\n\n| call | offer | ring |" in text
    assert "| **calls.ring** |" in text
