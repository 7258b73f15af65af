"""The work of `dc-harness doctor`: looks at a server, once or again and again, and what follows from them."""

from __future__ import annotations

import argparse
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from ..accounts import AccountSource, Credentials
from ..diagnosis.data import as_json, as_metrics
from ..diagnosis.diagnosis import Diagnosis, diagnose
from ..diagnosis.text import changes, render
from ..hosts import Host, LocalHost, MissingCapability
from ..look.look import PARTS, look_at
from ..report.redaction import Redactor
from ..report.run import Run
from ..servers.server import ServerError, Unsupported
from ..stage.options import Choice
from ..stage.session import open_session
from ..target import Target
from ..waiting import watch
from .console import complain, say
from .exit_codes import FAILED, PASSED, UNDECIDED
from .interrupts import Interrupted, interruptible

__all__ = ["examine"]

SHORTEST_SECRET = 8
EVERY = re.compile(r"(\d{1,6})(s|m|h|d)")
SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LEAST = 10


def examine(arguments: argparse.Namespace, choice: Choice) -> int:
    """0 healthy, 1 sick, 3 could not tell. Raises ValueError with a sentence for options that make no sense."""
    every = _seconds_of(arguments.watch) if arguments.watch else None
    parts = arguments.parts or PARTS
    redactor = Redactor()
    try:
        with interruptible(), _target(choice, redactor) as (target, host):
            kept = replace(target, accounts=_SameAccounts(target.accounts)) if every else target

            def look() -> Diagnosis:
                return diagnose(look_at(kept, host, parts=parts), choice.must)

            if every is None:
                return _show(look(), arguments, redactor)
            return _watch(look, every, arguments, redactor)
    except Interrupted as signal:
        return signal.exit_code
    except (ServerError, MissingCapability, Unsupported) as error:
        complain(redactor.text(str(error)))
        return UNDECIDED


def _seconds_of(text: str) -> int:
    """`10m` and the like. Raises ValueError."""
    match = EVERY.fullmatch(text)
    seconds = int(match[1]) * SECONDS[match[2]] if match else 0
    if seconds < LEAST:
        raise ValueError(f"--watch {text}: it must be a time like 30s, 10m or 2h, and at least {LEAST} s")
    return seconds


@contextmanager
def _target(choice: Choice, redactor: Redactor) -> Iterator[tuple[Target, Host]]:
    """The server that was chosen, and the host to look from."""

    def keep(secret: str) -> None:
        if len(secret) >= SHORTEST_SECRET:
            redactor.add(secret)

    host = LocalHost()
    with tempfile.TemporaryDirectory(prefix="dc-harness-doctor-") as directory:
        if choice.is_remote:
            with choice.open(host, Path(directory)) as server:
                yield replace(server.target, on_secret=keep), host
        else:
            with open_session(Run(Path(directory) / "run", redactor), choice) as session:
                yield replace(session.target, on_secret=keep), host


class _SameAccounts:
    """The same two accounts at every look."""

    def __init__(self, source: AccountSource) -> None:
        self._source = source
        self._known: list[Credentials] = []
        self._given = 0

    @property
    def left_behind(self) -> int:
        return self._source.left_behind

    @left_behind.setter
    def left_behind(self, count: int) -> None:
        self._source.left_behind = count

    def begin(self) -> None:
        self._given = 0

    def new(self, target: Target) -> Credentials:
        if self._given == len(self._known):
            self._known.append(self._source.new(target))
        self._given += 1
        return self._known[self._given - 1]

    any = new


def _show(diagnosis: Diagnosis, arguments: argparse.Namespace, redactor: Redactor) -> int:
    server = f"--server {arguments.server}" if arguments.server else ""
    say(redactor.text(as_json(diagnosis) if arguments.json else render(diagnosis, server)))
    _write_metrics(diagnosis, arguments.prometheus, redactor)
    return _code(diagnosis)


def _watch(
    look: Callable[[], Diagnosis], every: int, arguments: argparse.Namespace, redactor: Redactor
) -> int:
    """Until it is interrupted: the first look whole, then only what changes."""
    before: Diagnosis | None = None
    for found in watch(lambda: [look()], every=every):
        if before is None:
            _show(found, arguments, redactor)
        else:
            text = changes(before, found)
            if text:
                say(redactor.text(as_json(found) if arguments.json else text))
            _write_metrics(found, arguments.prometheus, redactor)
        before = found
    raise AssertionError("watching has no end")


def _write_metrics(diagnosis: Diagnosis, file: Path | None, redactor: Redactor) -> None:
    """Whole or not at all: the collector may read at any moment."""
    if file is None:
        return
    new = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        new.write_text(redactor.text(as_metrics(diagnosis)), encoding="utf-8")
        new.replace(file)
    except OSError as error:
        new.unlink(missing_ok=True)
        complain(f"--prometheus {file}: {error.strerror}")


def _code(diagnosis: Diagnosis) -> int:
    return FAILED if diagnosis.is_sick else UNDECIDED if diagnosis.unknown else PASSED
