"""Checks side by side: workers get them as the schedule allows, and their records are written as they come."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing.connection import wait
from typing import Protocol

from ..report.records import Record, Verdict
from ..report.run import Run
from ..stage.check import CHECKS, Check, explained_by, same_cause
from ..stage.outcome import Outcome
from ..waiting import Deadline
from .interrupts import undisturbed
from .schedule import Schedule
from .workers import Began, Ended, Event, Lost, Refused, Secret, Step, Worker

__all__ = ["NoServer", "SideBySide", "Watcher"]

LOOK_EVERY = 0.25
"""Seconds after which a watcher that draws is called, whatever happens."""
END_WITHIN = 60.0
"""Seconds in which workers close their servers and clients; then they are killed."""
LOST = "a process of ours that ran the check has ended unexpectedly"


class NoServer(Exception):
    """There is no server to test: the text says why, `exit_code` what it means."""

    def __init__(self, refused: Refused) -> None:
        self.exit_code = refused.code
        super().__init__(refused.sentence)


class Watcher(Protocol):
    """Whoever shows how a run goes on."""

    def head(self, record: Record) -> None: ...
    def started(self, check: str) -> None: ...
    def step(self, check: str, text: str) -> None: ...
    def ended(self, record: Record) -> None: ...
    def tick(self, seconds_left: float) -> None: ...


@dataclass
class SideBySide:
    """All workers of a run, and what is left to do. `start` makes the worker of a number."""

    schedule: Schedule
    run: Run
    watcher: Watcher
    start: Callable[[int], Worker]
    jobs: int
    _workers: dict[int, Worker] = field(default_factory=dict)
    _idle: set[int] = field(default_factory=set)
    _outcomes: dict[str, Outcome] = field(default_factory=dict)
    _since: dict[str, float] = field(default_factory=dict)
    _has_head: bool = False
    _refused: Refused | None = None

    def go(self) -> None:
        """Run everything. Raises `NoServer`; whatever ends it, every worker has ended afterwards."""
        try:
            for number in range(self.jobs):
                self._start(number)
            while not self.schedule.over:
                self._hand_out()
                if not self._workers:
                    raise NoServer(self._refused or Refused(LOST, 1))
                self._listen()
            for worker in self._workers.values():
                worker.dismiss()
        except BaseException:
            for worker in self._workers.values():
                worker.interrupt()
            raise
        finally:
            deadline = Deadline(END_WITHIN)
            for worker in self._workers.values():
                self._drain(worker, deadline)

    def _start(self, number: int) -> None:
        with undisturbed():
            self._workers[number] = self.start(number)

    def _hand_out(self) -> None:
        while self._idle and (check := self.schedule.next()) is not None:
            number = self._idle.pop()
            before = {name: self._outcomes[name] for name in check.after if name in self._outcomes}
            self._since[check.name] = time.monotonic()
            self.watcher.started(check.name)
            self._workers[number].run(check.name, before)

    def _listen(self) -> None:
        by_pipe = {worker.pipe: number for number, worker in self._workers.items()}
        for pipe in wait(list(by_pipe), timeout=LOOK_EVERY):
            number = by_pipe[pipe]  # type: ignore[index]
            self._heard(number, self._workers[number].event())
        now = time.monotonic()
        elapsed = {each.name: now - self._since[each.name] for each in self.schedule.running}
        self.watcher.tick(self.schedule.seconds_left(elapsed, len(self._workers)))

    def _heard(self, number: int, event: Event) -> None:
        worker = self._workers[number]
        match event:
            case Began(head):
                self._idle.add(number)
                self._begin(Record.from_json(head))
            case Step(text):
                if worker.check is not None:
                    self.watcher.step(worker.check, text)
            case Secret(text):
                self.run.redactor.add(text)
            case Ended(record, outcome):
                self._ended(Record.from_json(record), outcome)
                worker.check = None
                self._idle.add(number)
            case Refused():
                self._refused = event
                self._dismiss(number)
            case Lost():
                lost = worker.check
                self._dismiss(number)
                if lost is not None:
                    self._ended(self._undecided(CHECKS[lost]), Outcome(Verdict.UNDECIDED, [LOST]))
                    self._start(number)

    def _begin(self, head: Record) -> None:
        """Of several servers of one kind, one stands for all."""
        if not self._has_head:
            self._has_head = True
            self.run.append(head)
            self.watcher.head(head)

    def _ended(self, record: Record, outcome: Outcome) -> None:
        if name := explained_by(record.check, outcome, self._outcomes):  # on the server of another worker
            reason = same_cause(name, record.reason)
            outcome = replace(outcome, verdict=Verdict.NOT_REACHED, reasons=[reason], because_of=name)
            record = replace(record, verdict=Verdict.NOT_REACHED, reason=reason, because_of=name)
        self._outcomes[record.check] = outcome
        self.schedule.ended(record.check)
        self.run.append(record)
        self.watcher.ended(record)

    def _undecided(self, check: Check) -> Record:
        seconds = time.monotonic() - self._since[check.name]
        began = time.time() - seconds
        target = self.run.records[-1].target
        return Record(
            self.run.name,
            check.name,
            Verdict.UNDECIDED,
            began,
            seconds,
            target,
            check.requirements,
            reason=LOST,
        )

    def _dismiss(self, number: int) -> None:
        worker = self._workers.pop(number)
        self._idle.discard(number)
        self._drain(worker, Deadline(END_WITHIN))

    def _drain(self, worker: Worker, deadline: Deadline) -> None:
        """Wait for its end. It may still tell secrets; of everything else nobody is interested any more."""
        while not isinstance(event := worker.event(deadline.remaining()), Lost):
            if isinstance(event, Secret):
                self.run.redactor.add(event.text)
        worker.close(deadline.remaining())
