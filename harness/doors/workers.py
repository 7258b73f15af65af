"""Processes that run checks side by side. Each has a server of its own where we start one, and its own clients.

A worker gets the name of a check and the outcomes that it depends on, and sends back the finished record; meanwhile it
tells what it is at. Secrets are sent as they become known: whatever becomes of a worker, its logs can be redacted.
"""

from __future__ import annotations

import contextlib
import logging
import pickle
import signal
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeAlias

from ..calls import agent
from ..hosts import MissingCapability
from ..preloaded import Modules, adopt, fork_servers
from ..report.records import Record
from ..report.redaction import Redactor
from ..report.run import Run
from ..servers import reference
from ..servers.server import ServerError, Unsupported
from ..stage.check import CHECKS, recording
from ..stage.options import Choice
from ..stage.outcome import Outcome
from ..stage.session import open_session
from ..stage.survey import machine_seen, server_seen
from ..text import clean
from . import catalogue  # noqa: F401 - it registers the checks
from .exit_codes import FAILED, NOTHING_RAN
from .forking import end_with_parent, fork_context
from .interrupts import Interrupted, interruptible

__all__ = [
    "Began",
    "Duty",
    "Ended",
    "Event",
    "Lost",
    "Refused",
    "Secret",
    "Step",
    "Worker",
    "shared_forks",
]

LONGEST_STEP = 200


@dataclass(frozen=True)
class Began:
    """A worker has its server: the head of the run, as JSON."""

    head: str


@dataclass(frozen=True)
class Step:
    """Where the running check is, in a few words."""

    text: str


@dataclass(frozen=True)
class Secret:
    """A text that must be in no file."""

    text: str


@dataclass(frozen=True)
class Ended:
    """A check has ended: its record as JSON, and what the checks that depend on it need of its outcome."""

    record: str
    outcome: Outcome


@dataclass(frozen=True)
class Refused:
    """There is no server: why, and the exit code that this means."""

    sentence: str
    code: int


@dataclass(frozen=True)
class Lost:
    """The worker has ended without a word."""


Event: TypeAlias = "Began | Step | Secret | Ended | Refused | Lost"


@dataclass(frozen=True)
class _Order:
    check: str
    before: Mapping[str, Outcome]


@dataclass(frozen=True)
class Duty:
    """Everything that a worker is told at its start."""

    options: Mapping[str, Any]
    """As on the command line: `Choice.read` makes sense of them in the worker, too."""
    share: tuple[int, int]
    """Number of this worker, and how many there are."""
    directory: Path
    """Of the run."""
    logs: Path
    """Where its programs write."""
    door: str
    """Command that the records name."""
    forks: Mapping[Modules, Path] = field(default_factory=dict)
    """Sockets of the fork servers that workers share."""


@dataclass
class Worker:
    """One process, as the process that started it sees it."""

    duty: Duty
    check: str | None = None
    """Name of the check that it runs."""
    pipe: Connection = field(init=False)
    _process: Any = field(init=False)

    def __post_init__(self) -> None:
        context = fork_context()
        context.set_forkserver_preload([__name__])
        self.pipe, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(theirs, self.duty))
        self._process.start()
        theirs.close()

    def run(self, check: str, before: Mapping[str, Outcome]) -> None:
        """Let it run a check; `before` are the outcomes on which that depends."""
        self.check = check
        self.pipe.send(_Order(check, before))

    def event(self, within: float | None = None) -> Event:
        """The next thing that it says; waits for it. One that says nothing `within` so many seconds is lost."""
        try:
            if not self.pipe.poll(within):
                return Lost()
            found: Event = self.pipe.recv()
        except (EOFError, OSError, pickle.UnpicklingError):  # it may have been interrupted while it wrote
            return Lost()
        return found

    def dismiss(self) -> None:
        """Let it end when it has nothing more to do."""
        with contextlib.suppress(OSError):  # it has ended already
            self.pipe.send(None)

    def interrupt(self) -> None:
        """Let it end now, in good order."""
        self._process.terminate()

    def close(self, within: float) -> None:
        """Wait until it has ended. What it does not do in time, the kernel does."""
        self._process.join(within)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self.pipe.close()


class _Home:
    """The way to the process that started this one, for all threads."""

    def __init__(self, pipe: Connection) -> None:
        self._pipe = pipe
        self._lock = threading.RLock()

    def send(self, event: Event) -> None:
        """Whoever does not listen any more misses nothing."""
        with self._lock, contextlib.suppress(OSError):
            self._pipe.send(event)

    def order(self) -> _Order | None:
        """The next check; None: there is none."""
        found: _Order | None = self._pipe.recv()
        return found


class _TellingRedactor(Redactor):
    """Sends each secret home."""

    def __init__(self, home: _Home) -> None:
        super().__init__()
        self._home = home

    def add(self, secret: str) -> None:
        if secret not in self.secrets:
            super().add(secret)
            self._home.send(Secret(secret))


class _Steps(logging.Handler):
    """Sends the lines of `harness.progress` home."""

    def __init__(self, home: _Home) -> None:
        super().__init__(logging.INFO)
        self._home = home

    def emit(self, record: logging.LogRecord) -> None:
        self._home.send(Step(clean(record.getMessage(), LONGEST_STEP)))


def shared_forks() -> dict[Modules, Path]:
    """Fork servers of this process for all that it starts, so that none of them loads everything again."""
    return fork_servers(reference.MODULES, (agent.PROGRAM,))


def _work(pipe: Connection, duty: Duty) -> None:
    """Everything that a worker does."""
    home = _Home(pipe)
    # Ctrl-C reaches every process of a terminal: the one that started us decides, and says SIGTERM.
    with interruptible(signal.SIGTERM):
        try:
            adopt(duty.forks)
            progress = logging.getLogger("harness.progress")
            progress.setLevel(logging.INFO)
            progress.addHandler(_Steps(home))
            run = Run(duty.directory, _TellingRedactor(home))
            try:
                _serve(home, duty, run)
            finally:
                run.redactor.tree(duty.logs)
        except ServerError as error:
            home.send(Refused(str(error), FAILED))
        except (MissingCapability, Unsupported) as missing:
            home.send(Refused(str(missing), NOTHING_RAN))
        except (Interrupted, EOFError):
            pass  # whoever started us wants us to end, or has ended


def _serve(home: _Home, duty: Duty, run: Run) -> None:
    choice = Choice.read(duty.options.get).for_worker(*duty.share)

    def send(record: Record, files: Sequence[Path]) -> None:
        outcome = session.results[record.check]
        complete = run.complete(record, files).to_json()
        told = Outcome(outcome.verdict, outcome.reasons, because_of=outcome.because_of, cause=outcome.cause)
        home.send(Ended(complete, told))

    machine = machine_seen()  # before a server is started: a process with threads can enter no user namespace
    end_with_parent()
    with (
        open_session(run, choice, logs=duty.logs) as session,
        recording(send, run=run.name, door=duty.door),
    ):
        target = session.target
        head = run.head(machine, server_seen(target, session.look), target=target.name, notes=session.absent)
        home.send(Began(head.to_json()))
        while (order := home.order()) is not None:
            session.results.update(order.before)
            CHECKS[order.check].run(session.stage(order.check))
