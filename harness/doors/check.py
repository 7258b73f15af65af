"""`dc-harness check`: checks of one server, with the plan first, and a verdict for each of them."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from ..hosts import MissingCapability
from ..report.plan import checks as results
from ..report.records import Record
from ..report.run import Run
from ..report.terminal import render_check, render_end
from ..servers.server import ServerError, Unsupported
from ..stage.check import Check, recording
from ..stage.options import Choice
from ..stage.session import open_session
from ..stage.survey import machine_seen, server_seen
from .console import say
from .exit_codes import FAILED, NOTHING_RAN, exit_code
from .interrupts import Interrupted, interruptible

__all__ = ["check"]


def check(chosen: Sequence[Check], choice: Choice, directory: Path) -> int:
    """Run these checks; results go to the directory, and the end of the run to stdout."""
    _show_progress()
    run = Run(directory)
    code, interrupted = None, ""
    with interruptible():
        try:
            run.plan(((each.name, each.requirements) for each in chosen), target=choice.title)
            _run(chosen, choice, run)
        except ServerError as error:
            code, interrupted = FAILED, str(error)
        except (MissingCapability, Unsupported) as missing:
            code, interrupted = NOTHING_RAN, str(missing)
        except Interrupted as signal:
            code, interrupted = signal.exit_code, str(signal)
        run.end(interrupted=interrupted)
        run.finish()
    say(f"\n{render_end(run.records)}\nResults in {run.directory}")
    return exit_code(each.verdict for each in results(run.records)) if code is None else code


def _run(chosen: Sequence[Check], choice: Choice, run: Run) -> None:
    def show(record: Record, files: Sequence[Path]) -> None:
        run.add(record, files)
        say(render_check(run.records[-1]))

    machine = machine_seen()  # before a server is started: a process with threads can enter no user namespace
    with open_session(run, choice) as session, recording(show, run=run.name, door="dc-harness check"):
        target = session.target
        run.begin(machine, server_seen(target), target=target.name, notes=session.absent)
        for each in chosen:
            each.run(session.stage(each.name))


def _show_progress() -> None:
    progress = logging.getLogger("harness.progress")
    progress.setLevel(logging.INFO)
    progress.addHandler(logging.StreamHandler(sys.stderr))
