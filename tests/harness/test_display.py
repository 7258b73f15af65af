"""A run while it goes on, in 80 columns."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.doors.display import Live, display
from harness.report.records import Verdict

from .records import FAILED, PASSED

CHECKS = ("mail.idle", "mail.policy", "turn.offered")
TURN = replace(PASSED, check="turn.offered")


class Screen:
    def __init__(self) -> None:
        self.now = 0.0
        self.lines: list[str] = []
        self.pictures: list[list[str]] = []
        self.live = Live(
            "chat.example.org",
            CHECKS,
            4,
            lines=self.lines.extend,
            picture=lambda lines: self.pictures.append(list(lines)),
            clock=lambda: self.now,
        )


def test_what_runs_is_drawn_with_its_step_and_the_time():
    screen = Screen()
    screen.live.started("mail.idle")
    screen.live.started("turn.offered")
    screen.live.ended(PASSED)
    screen.now = 65.4
    screen.live.step("turn.offered", "one \x1b[31m allocation")
    screen.live.tick(110)
    head, running, step = screen.pictures[-1]
    assert head.split() == ["chat.example.org", "1/3", "1:05", "about", "1:50", "left", "jobs", "4"]
    assert running.split() == ["..", "turn", "0", "of", "1", "65", "s", "offered"]
    assert step.strip() == "one \N{REPLACEMENT CHARACTER}[31m allocation"
    assert max(map(len, screen.pictures[-1])) <= 80


def test_a_failure_is_shown_at_once_and_a_room_when_it_is_done():
    screen = Screen()
    screen.live.ended(FAILED)
    assert screen.lines[0] == " FAIL mail.policy"
    assert screen.lines[1].strip() == "it was accepted"
    screen.live.ended(PASSED)
    screen.live.ended(replace(TURN, verdict=Verdict.SKIPPED, reason="nft is missing"))
    assert screen.lines[-2:] == [
        " FAIL mail              1 of 2, 1 failed  1.0 s",
        " --   turn              0 of 1, 1 skipped  0.5 s",
    ]


def test_in_a_pipe_each_check_is_a_line(capsys: pytest.CaptureFixture[str]):
    with display("chat.example.org", CHECKS, 2) as watcher:
        watcher.started("mail.idle")
        watcher.step("mail.idle", "waiting")
        watcher.ended(PASSED)
        watcher.ended(FAILED)
        watcher.tick(1)
    shown = capsys.readouterr()
    assert shown.out.splitlines()[0].split() == ["passed", "mail.idle", "0.50", "s"]
    assert shown.out.splitlines()[2].strip() == "it was accepted"
    assert shown.err == "mail.idle: waiting\n"
    assert "\x1b" not in shown.out
