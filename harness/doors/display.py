"""A run while it goes on: live lines on a terminal, plain ones in a pipe."""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..report.records import Record, Verdict
from ..report.terminal import render_check
from ..text import clean
from .console import say

if TYPE_CHECKING:
    from .side_by_side import Watcher

__all__ = ["Live", "Plain", "display"]

STYLES = {"ok": "green", "FAIL": "bold red", "??": "yellow", "--": "dim"}
"""By the first word of a line."""
BAD = {Verdict.FAILED: "FAIL", Verdict.UNDECIDED: "??"}
LEFT_OUT = "--"


@contextmanager
def display(target: str, checks: Sequence[str], jobs: int) -> Iterator[Watcher]:
    """Show the run on stdout: live where that is a terminal that can be drawn on."""
    if not sys.stdout.isatty() or os.environ.get("TERM", "dumb") == "dumb":
        yield Plain(len(checks), jobs)
        return
    from rich import live  # noqa: PLC0415 - in a pipe nobody needs it
    from rich.console import Console, Group  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    def styled(line: str) -> Text:
        style = STYLES.get(line.split(maxsplit=1)[0] if line.strip() else "", "")
        return Text(line, style=style, no_wrap=True, overflow="ellipsis")

    console = Console(highlight=False)  # it heeds NO_COLOR
    with live.Live(console=console, transient=True, auto_refresh=False) as drawing:
        yield Live(
            target,
            checks,
            jobs,
            lines=lambda lines: console.print(*map(styled, lines), sep="\n"),
            picture=lambda lines: drawing.update(Group(*map(styled, lines)), refresh=True),
        )


class Plain:
    """A line for each check that ended, and one on stderr for each step."""

    def __init__(self, planned: int, jobs: int) -> None:
        self._planned, self._jobs = planned, jobs

    def head(self, record: Record) -> None:
        at_a_time = f", {self._jobs} at a time" if self._jobs > 1 else ""
        say(clean(f"{record.target}: {self._planned} checks{at_a_time}"))

    def started(self, check: str) -> None:
        """Told when it ends."""

    def step(self, check: str, text: str) -> None:
        sys.stderr.write(f"{check}: {text}\n")

    def ended(self, record: Record) -> None:
        say(render_check(record))

    def tick(self, seconds_left: float) -> None:
        """Nothing is drawn again."""


class Live:
    """Running checks, drawn again and again; above them each room that is done, and at once what did not pass."""

    def __init__(
        self,
        target: str,
        checks: Sequence[str],
        jobs: int,
        *,
        lines: Callable[[Sequence[str]], None],
        picture: Callable[[Sequence[str]], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`lines` stay where they are written; `picture` takes the place of the one before."""
        self._target, self._jobs = clean(target), jobs
        self._planned = Counter(map(_room, checks))
        self._lines, self._picture, self._clock = lines, picture, clock
        self._began = clock()
        self._running: dict[str, tuple[float, str]] = {}
        self._ended: dict[str, list[Record]] = {room: [] for room in self._planned}
        self._left: float | None = None

    def head(self, record: Record) -> None:
        self._target = clean(record.target)

    def started(self, check: str) -> None:
        self._running[check] = (self._clock(), "")

    def step(self, check: str, text: str) -> None:
        began, _ = self._running[check]
        self._running[check] = (began, text)

    def ended(self, record: Record) -> None:
        self._running.pop(record.check, None)
        ended = self._ended[_room(record.check)]
        ended.append(record)
        if record.verdict in BAD:
            _, *reason = render_check(record).splitlines()
            self._lines([f" {BAD[record.verdict]:4} {record.check}", *reason])
        if len(ended) == self._planned[_room(record.check)]:
            self._lines([_done(_room(record.check), ended)])

    def tick(self, seconds_left: float) -> None:
        self._left = seconds_left
        self._picture(self.picture())

    def picture(self) -> list[str]:
        """The lines that are drawn."""
        done, planned = sum(map(len, self._ended.values())), sum(self._planned.values())
        left = "" if self._left is None else f"about {_minutes(self._left)} left"
        elapsed = _minutes(self._clock() - self._began)
        head = f" {self._target:32.32} {done}/{planned}  {elapsed}  {left:16}  jobs {self._jobs}"
        running = [line for check, about in self._running.items() for line in self._about(check, *about)]
        return [head, *(running or [" ..  closing" if done else " ..  starting"])]

    def _about(self, check: str, began: float, step: str) -> Iterator[str]:
        room, _, name = check.partition(".")
        count = f"{len(self._ended[room])} of {self._planned[room]}"
        yield f" ..  {room:17} {count:8} {self._clock() - began:3.0f} s  {name}"
        yield from [f"{'':40}{clean(step)}"] if step else []


def _done(room: str, ended: Sequence[Record]) -> str:
    passed = sum(each.verdict is Verdict.PASSED for each in ended)
    bad = [BAD[each.verdict] for each in ended if each.verdict in BAD]
    mark = min(bad, key=list(BAD.values()).index) if bad else "ok" if passed else LEFT_OUT
    others = Counter(each.verdict for each in ended if each.verdict is not Verdict.PASSED)
    more = "".join(f", {number} {verdict}" for verdict, number in others.items())
    seconds = sum(each.duration for each in ended)
    return f" {mark:4} {room:17} {passed} of {len(ended)}{more}  {seconds:.1f} s"


def _room(check: str) -> str:
    return check.partition(".")[0]


def _minutes(seconds: float) -> str:
    return f"{round(seconds) // 60}:{round(seconds) % 60:02}"
