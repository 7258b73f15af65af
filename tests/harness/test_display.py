"""A run while it goes on, in 80 columns."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from dataclasses import replace
from typing import cast

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


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, act: Callable[[Live], None], **environment: str) -> str:
    """Everything that a terminal of 80 columns gets."""
    ours, theirs = os.openpty()
    with monkeypatch.context() as patch, os.fdopen(theirs, "w") as stdout:
        for name, value in {"TERM": "xterm-256color", "COLUMNS": "80", **environment}.items():
            patch.setenv(name, value)
        patch.setattr("sys.stdout", stdout)
        with display("chat.example.org", CHECKS, 4) as watcher:
            act(cast(Live, watcher))
    shown = b""
    with contextlib.suppress(OSError):  # that is how a terminal says that nobody writes to it any more
        while piece := os.read(ours, 1 << 16):
            shown += piece
    os.close(ours)
    return shown.decode()


def draw(live: Live) -> None:
    live.started("turn.offered")
    live.step("turn.offered", "word " * 40)
    live.tick(10)
    live.ended(replace(FAILED, reason="it was \x1b[2J accepted"))


COLOR = re.compile(r"\x1b\[[\d;]*m")


def test_a_terminal_gets_colours_unless_somebody_wants_none(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = on_a_terminal(monkeypatch, draw)
    assert "\x1b[1;31m" in shown
    plain = on_a_terminal(monkeypatch, draw, NO_COLOR="1")
    assert not [each for each in COLOR.findall(plain) if re.search(r"[34]\d", each)], (
        "no colour of text or ground"
    )
    for text in (shown, plain):
        assert "FAIL mail.policy" in text
        assert "\x1b[2J" not in text
        lines = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text).replace("\r", "\n").splitlines()
        assert max(map(len, lines)) <= 80


def test_a_terminal_that_cannot_draw_gets_lines(monkeypatch):
    shown = on_a_terminal(monkeypatch, lambda watcher: watcher.ended(PASSED), TERM="dumb")
    assert shown.split() == ["passed", "mail.idle", "0.50", "s"]
