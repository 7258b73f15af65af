"""The history of a server: what changed when, how often a check failed, and numbers over runs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from harness.doors.cli import main
from harness.report.ending import RunEnded
from harness.report.history import History, HistoryError
from harness.report.history_page import Past, render_history, render_history_page
from harness.report.intervals import wilson
from harness.report.observations import MachineSeen, Measured, Timing
from harness.report.records import Record, Verdict
from harness.report.run import Run

from .records import FAILED, HEAD_OF_RUN, PASSED, SKIPPED, UNDECIDED
from .test_html import HOSTILE, Page


def run_of(number: int, *results: Record, version: str = "1", server: str = "t") -> list[Record]:
    machine = MachineSeen(versions={"dc-harness": version})
    head = replace(HEAD_OF_RUN, target=server, observations=(machine, RunEnded(9.0, cores=2, load=0.5)))
    return [head, *(replace(each, time=86400.0 * number, target=server) for each in results)]


@pytest.fixture
def kept(tmp_path):
    with History(tmp_path / "history.sqlite") as history:
        yield history


def past(kept: History) -> Past:
    return Past(kept.runs(), kept.transitions(), kept.shares(), list(kept.courses()))


IDLE = PASSED.check
RED = replace(FAILED, check=IDLE)


def test_only_changes_are_told_and_what_was_left_out_is_none(kept):
    for number, result in enumerate((PASSED, PASSED, RED, replace(SKIPPED, check=IDLE), RED, PASSED)):
        assert kept.add(f"run{number}", run_of(number, result))
    assert [(each.run.run, each.before, each.now) for each in kept.transitions()] == [
        ("run2", "passed", "failed"),
        ("run5", "failed", "passed"),
    ]
    words = " ".join(render_history(past(kept)).split())
    assert "1970-01-03 00:00 t, mail.idle: passed -> failed in run2: it was accepted" in words


def test_a_run_is_counted_once_and_by_the_worst_of_its_results(kept):
    assert kept.add("one", run_of(1, PASSED, RED, PASSED))
    assert not kept.add("one", run_of(1, PASSED))
    [share] = kept.shares()
    assert (share.failed, share.of) == (1, 1)


def test_two_of_a_hundred(kept):
    for number in range(100):
        kept.add(f"run{number}", run_of(number, RED if number in (7, 70) else PASSED))
    [share] = kept.shares()
    assert share.text == "2 of 100 runs failed (0.6-7.0 %)"
    assert "2 of 100 runs failed (0.6-7.0 %)" in render_history(past(kept))


def test_failures_of_one_version_say_nothing_about_the_next(kept):
    for number in range(10):
        kept.add(f"old{number}", run_of(number, RED if number == 1 else PASSED, version="1"))
        kept.add(f"new{number}", run_of(number + 20, PASSED, version="2"))
    [share] = kept.shares()
    assert (share.failed, share.of, share.versions) == (1, 10, "dc-harness 1")


def test_undecided_runs_are_neither_good_nor_bad(kept):
    kept.add("one", run_of(1, replace(UNDECIDED, check=IDLE)))
    assert kept.shares() == []
    assert len(kept.runs()) == 1


def test_servers_are_apart(kept):
    kept.add("one", run_of(1, PASSED, server="a"))
    kept.add("two", run_of(2, RED, server="b"))
    assert kept.transitions() == []
    assert [each.run for each in kept.runs("b")] == ["two"]


def test_a_run_without_a_result_or_that_goes_on_is_not_added(kept):
    planned = replace(PASSED, verdict=Verdict.NOT_RUN)
    assert not kept.add("empty", [HEAD_OF_RUN, planned])
    assert not kept.add("goes on", [planned, replace(PASSED, check="x.y")])
    assert kept.runs() == []


def test_numbers_are_drawn_over_runs(kept):
    for number in range(4):
        seen = replace(PASSED, observations=(Timing("EXISTS", (0.1 * (number + 1),)), Measured("mails", 7)))
        kept.add(f"run{number}", run_of(number, seen))
    exists, mails = sorted(kept.courses(), key=lambda each: each.name)
    assert [value for _, value in exists.values] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert list(kept.courses(check="calls.*")) == []
    page = Page(render_history_page(past(kept)))
    assert page.open == []
    assert "t, mail.idle: EXISTS, 0.100 s -> 0.400 s" in page.text
    assert [tag for tag, _ in page.elements].count("polyline") == 2
    assert mails.unit == ""


def test_nothing_of_others_is_markup(kept):
    for number, reason in enumerate(("", HOSTILE)):
        record = replace(RED if reason else PASSED, check=HOSTILE, reason=reason)
        kept.add(f"{HOSTILE}{number}", run_of(number, record, server=HOSTILE))
    text = render_history_page(past(kept))
    assert {tag for tag, _ in Page(text).elements} & {"script", "img"} == set()
    assert {each for each in text + render_history(past(kept)) if not each.isprintable()} == {"\n"}


def test_the_command_reads_all_runs_and_keeps_them_when_they_are_gone(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["history"]) == 5
    for number, result in enumerate((PASSED, RED)):
        run = Run(tmp_path / f"reports/runs/run{number}")
        for record in run_of(number, result):
            run.add(record)
    assert main(["history", "--html", "h.html"]) == 0
    assert "passed -&gt; failed in run1" in (tmp_path / "h.html").read_text()
    for directory in (tmp_path / "reports/runs").iterdir():
        directory.rename(tmp_path / f"gone-{directory.name}")
    capsys.readouterr()
    assert main(["history"]) == 0
    assert "mail.idle: passed -> failed" in capsys.readouterr().out


def test_what_is_no_history_is_said(tmp_path, capsys):
    file = tmp_path / "history.sqlite"
    file.write_text("this is no database, and long enough to be sure of it")
    with pytest.raises(HistoryError, match="is no history of dc-harness"):
        History(file)
    assert main(["history", "--file", str(file)]) == 2
    newer = tmp_path / "newer.sqlite"
    with closing(sqlite3.connect(newer)) as database:
        database.execute("pragma user_version = 9")
    with pytest.raises(HistoryError, match="another version"):
        History(newer)
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("hits", "tries", "low", "high"), [(2, 100, 0.0055, 0.0700), (0, 10, 0, 0.278), (0, 0, 0, 1)]
)
def test_the_interval_is_wilsons(hits, tries, low, high):
    assert wilson(hits, tries) == pytest.approx((low, high), abs=5e-4)
