"""`python -m benchmarks.clock_jumps`: the clock of a server of ours jumps by hours and days, both ways, under load.

The exchanges are those of `benchmarks.survival`, and none of them may break: what runs is timed by a clock that does
not jump. Every message answered with 250 is in the mailbox once. After each jump allocations from before it can be
refreshed, and whoever asks METADATA anew gets credentials that are granted. Needs libfaketime (Debian: faketime). Exit
code 1 for a fault; the jumps follow from the seed.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from harness.clients.turn.client import TurnError
from harness.network.namespace import program
from harness.report.run import Run
from harness.servers.reference import COMMAND, Reference
from harness.stage.session import open_session
from harness.stage.stage import Stage
from harness.steps.turn_exchange import OwnTurn
from harness.waiting import WaitTimeout

from .survival import at_work, exchanges, go_on, mailbox_faults, new_accounts

FARTHEST = 30 * 24 * 3600
"""Seconds; the certificates of a server are longer valid."""


class Clock:
    """The wall clock of the processes that have it, which is as far off as a file says."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "clock"
        self.set(0)

    def set(self, seconds: int) -> None:
        """So far off from now on."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.replace(self._file)  # a process that reads it sees the one or the other

    def command(self, command: Sequence[str]) -> tuple[str, ...]:
        """A program that has this clock. Raises `MissingCapability` without `faketime`."""
        asked = subprocess.run(
            [program("faketime"), "-f", "+0", "printenv", "LD_PRELOAD"],
            capture_output=True,
            text=True,
            check=True,
        )
        settings = {
            "LD_PRELOAD": asked.stdout.strip(),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }
        return (program("env"), *(f"{name}={value}" for name, value in settings.items()), *command)


def jump(stage: Stage, clock: Clock, *, jumps: int, seed: int) -> list[str]:
    """Let the clock jump `jumps` times. Returns sentences on what went wrong."""
    chance = random.Random(seed)
    alice, bob = new_accounts(stage)
    loads = exchanges(stage, alice, bob)
    faults = []
    with OwnTurn.of(stage).peers() as (one, _), at_work(loads):
        go_on(loads)
        for number in range(1, jumps + 1):
            seconds = chance.randint(-FARTHEST, FARTHEST)
            what = f"jump {number}, to {seconds:+d} s,"
            breaks = {each.name: each.breaks for each in loads}
            clock.set(seconds)
            go_on(loads, or_break=True)
            broken = [each.name for each in loads if each.breaks > breaks[each.name]]
            if broken:
                faults.append(f"{what} broke {', '.join(broken)}")
                break  # it may have been its last
            try:
                one.client.refresh()
            except (TurnError, WaitTimeout) as error:
                faults.append(f"after {what} a running allocation could not be refreshed: {error}")
            if not OwnTurn.of(stage).is_granted:
                faults.append(f"after {what} credentials of METADATA were refused")
    accepted, lost = mailbox_faults(stage, loads, bob)
    faults += lost
    print(f"seed {seed}: {jumps} jumps, {accepted} messages answered with 250; faults: {len(faults)}")
    return faults


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.clock_jumps", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--jumps", type=int, default=10, help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of their lengths (default: %(default)s)")
    options = parser.parse_args(argv)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="dc-clock-")))
        clock = Clock(directory)
        kind = Reference(clock.command(COMMAND))
        session = stack.enter_context(open_session(Run(directory / "run"), kind=kind))
        faults = jump(session.stage("clock"), clock, jumps=options.jumps, seed=options.seed)
    for each in faults:
        print(each)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
