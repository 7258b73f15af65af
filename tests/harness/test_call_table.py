"""The table of calls is made of records alone."""

from __future__ import annotations

from dataclasses import asdict

from harness.report.calls import CALLS, MeasuredCall, Way, render_calls
from harness.report.records import Record, Verdict
from harness.report.summary import render_markdown


def record(check: str, *calls: MeasuredCall) -> Record:
    measurements = {CALLS: [asdict(each) for each in calls]} if calls else {}
    made = Record("run", check, Verdict.PASSED, 1.0, 2.0, "server", measurements=measurements)
    return Record.from_json(made.to_json())


def cells(line: str) -> list[str]:
    return line.split()


def test_a_run_without_calls_has_no_table():
    assert render_calls([record("mail.idle_reports_new_mail")]) == ""
    assert "## Calls" not in render_markdown("run", [record("mail.idle_reports_new_mail")])


def test_a_call_is_two_lines_below_the_name_of_its_check():
    phases = {
        "offer": 39.4,
        "ring": 94.5,
        "answer": 137.0,
        "accepted": 191.4,
        "connected": 304.6,
        "first_audio": 314.0,
    }
    ways = [
        Way("alice", "bob", 348, 347, 346, lost=1, delay_ms=8.3, heard_s=2.04, gaps_ms=[40, 120]),
        Way("bob", "alice", 340, None, 340, lost=0, stall_ms=3022),
    ]
    heading, check, there, back, *_ = render_calls(
        [record("calls.relayed", MeasuredCall("relayed", phases, "relayed", ways))]
    ).splitlines()
    assert cells(heading)[:7] == ["call", "offer", "ring", "answer", "ICE", "audio", "path"]
    counted = ["sent", "server", "received", "lost", "delay", "heard", "gaps", "stall"]
    assert cells(heading)[7:] == ["way", *counted]
    assert check == "calls.relayed"
    assert cells(there)[:7] == ["relayed", "39", "94", "137", "305", "314", "relayed"]
    assert cells(there)[7:] == [
        "alice",
        "to",
        "bob",
        "348",
        "347",
        "346",
        "1",
        "8",
        "2.04",
        "2",
        "(160)",
        "0",
    ]
    assert cells(back) == ["bob", "to", "alice", "340", "-", "340", "0", "-", "-", "0", "3022"]
    assert heading.index("way") == there.index("alice") == back.index("bob")


def test_what_was_not_reached_is_a_dash():
    [_, _, line, *_] = render_calls(
        [record("calls.ring", MeasuredCall("declined", {"offer": 40.0, "ring": 90.0}))]
    ).splitlines()
    assert cells(line) == ["declined", "40", "90", *["-"] * 13]


def test_calls_keep_their_order_and_lines_fit_a_screen():
    ways = [Way("alice", "bob", 348, 348, 348, lost=0, delay_ms=8.0, heard_s=2.0)]
    calls = [MeasuredCall(name, {}, "relayed", ways) for name in ("second-to-be-told", "after", "before")]
    text = render_calls([record("calls_interrupted.calling_survives_a_restart_of_turn", *calls)])
    assert [cells(line)[0] for line in text.splitlines()[2:5]] == ["second-to-be-told", "after", "before"]
    assert max(map(len, text.splitlines())) <= 130


def test_the_report_of_a_run_has_the_table():
    calls = record("calls.ring", MeasuredCall("declined", {"offer": 40.0}))
    assert render_calls([calls]) in render_markdown("run", [calls])
