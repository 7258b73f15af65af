"""`python -m benchmarks.endings`: each command of the harness is ended by each signal at several moments.

After five seconds no process of it is there; in the directory for temporary files is nothing, or after SIGKILL nothing
that the next start does not remove; and its exit code is that of the signal, or its own where it had come to it. Exit
code 1 for a fault. Processes are known by a mark in their environment, also those that have left their session or their
parent. A command that has ended before a moment is tried again at an earlier one.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

from harness.waiting import WaitTimeout, wait_until

DC_HARNESS = (sys.executable, "-c", "import sys; from harness.doors.cli import main; sys.exit(main())")
NEXT_START = (*DC_HARNESS, "check", "tls.certificates_are_trusted", "--out")
MARK = "DC_TEST_MARK"
GONE_WITHIN = 5.0
WITHIN = 300.0
"""Seconds until a moment comes."""
SOONEST = 0.1
"""Seconds: a moment that is earlier is the appearance of its process."""
OF_THEIR_OWN = (0, 3)
"""Exit codes of a command that had come to its result, or that a signal is to end, as `serve`."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL)


@dataclass(frozen=True)
class Moment:
    """So many seconds after there is a process with this in its command line."""

    process: str
    seconds: float

    def __str__(self) -> str:
        return f"{self.seconds:g} s after {self.process or 'the start'}"

    @property
    def sooner(self) -> Moment:
        return replace(self, seconds=self.seconds / 2 if self.seconds > SOONEST else 0.0)


@dataclass(frozen=True)
class Command:
    """A command, and when it is ended."""

    words: tuple[str | Path, ...]
    moments: tuple[Moment, ...]
    has_directory: bool = True
    """It takes `--out`."""


STARTS = (Moment("", 0.3), Moment("", 1.5))
SERVED = Moment("--ledger", 2)
"""An option of every server."""
WITH_CORES = Moment("deltachat-rpc-server", 2)
AGENT = "/socket harness.calls.agent_program"
"""The client of a fork server: its process is forked, and the fork server itself has the name as well."""
IN_A_CALL = (Moment(AGENT, 1), Moment(AGENT, 5))
CALL = "calls.relayed_call_is_heard_and_seen"
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")
MUTANTS = (*DC_HARNESS, "mutants", "--jobs", "2")
LOAD = (*DC_HARNESS, "load", "--users", "20", "--workers", "2", "--run-time", "30")
COMMANDS: Mapping[str, Command] = {
    "check": Command((*DC_HARNESS, "check", CALL), (*STARTS, *IN_A_CALL)),
    "pytest": Command((*PYTEST, "scenarios/test_calls.py", "-k", "heard_and_seen"), (*STARTS, *IN_A_CALL), False),
    "signoff": Command((*DC_HARNESS, "signoff"), (*STARTS, SERVED, WITH_CORES)),
    "matrix": Command((*DC_HARNESS, "matrix"), (*STARTS, SERVED, WITH_CORES)),
    "mutants": Command((*MUTANTS, "--declared"), (*STARTS, Moment("mutants", 3), Moment("mutants", 8))),
    "deployments": Command((*MUTANTS, "--deployments"), (*STARTS, Moment("mutants", 4), Moment("mutants", 9))),
    "doctor": Command((*DC_HARNESS, "doctor"), (*STARTS, SERVED), False),
    "load": Command(LOAD, (*STARTS, SERVED, Moment("locust", 4))),
    "serve": Command((*DC_HARNESS, "serve"), (*STARTS, SERVED), False),
}  # fmt: skip


class Marked:
    """A command with all that it starts, and a directory of its own for temporary files."""

    def __init__(self, words: Sequence[str | Path], *, directory: Path | None = None) -> None:
        self.temporary = Path(tempfile.mkdtemp(prefix="dc-tests-"))  # short: paths of sockets are
        self._mark = uuid4().hex
        self._directory = directory
        self.process = self.start(words)

    def start(self, words: Sequence[str | Path]) -> subprocess.Popen[bytes]:
        """One more command with the same mark and directory."""
        return subprocess.Popen(
            words,
            env=os.environ | {"TMPDIR": str(self.temporary), MARK: self._mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._directory,
        )

    def processes(self) -> dict[int, str]:
        """Living ones, by ID, with their command lines."""
        found = {}
        for each in Path("/proc").glob("[0-9]*"):
            try:
                state = (each / "stat").read_bytes().rpartition(b")")[2].split()[0]
                if state != b"Z" and self._mark.encode() in (each / "environ").read_bytes():
                    line = (each / "cmdline").read_bytes().replace(b"\0", b" ")
                    found[int(each.name)] = line.decode(errors="replace")
            except OSError:
                continue  # it has ended meanwhile, or is somebody else's
        return found

    def lives_until(self, moment: Moment) -> bool:
        """Wait for a moment. False: the command has ended before. Raises `WaitTimeout` where neither comes."""
        wait_until(
            lambda: (
                self.process.poll() is not None
                or any(moment.process in line for line in self.processes().values())
            ),
            str(moment),
            within=WITHIN,
        )
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(moment.seconds)
        return self.process.poll() is None

    def expect_to_be_gone(self, within: float = GONE_WITHIN) -> None:
        """Raises `WaitTimeout` with the processes that are still there."""
        wait_until(lambda: not self.processes(), "every process to end", within=within, seen=self.processes)

    def left(self) -> list[str]:
        """Names in its directory for temporary files."""
        return sorted(str(each.relative_to(self.temporary)) for each in self.temporary.rglob("*"))

    def close(self) -> None:
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self.process.communicate()
        shutil.rmtree(self.temporary)


@contextmanager
def marked(words: Sequence[str | Path], *, directory: Path | None = None) -> Iterator[Marked]:
    """A command that is cleared away at the end of the block."""
    command = Marked(words, directory=directory)
    try:
        yield command
    finally:
        command.close()


@dataclass(frozen=True)
class Ending:
    """End of a command by a signal."""

    moment: Moment
    """Moment at which it was tried."""
    seconds: float
    """Until nothing of it was there."""
    faults: Sequence[str]
    """Sentences on what is wrong."""


def end(
    command: Command, moment: Moment, by: signal.Signals, results: Path, *, within: float = GONE_WITHIN
) -> Ending:
    """End it at this moment, or sooner where it does not live so long. It is a fault to take longer than `within`."""
    out = ("--out", results / uuid4().hex) if command.has_directory else ()
    with marked([*command.words, *out], directory=Path(__file__).parents[1]) as running:
        try:
            lives = running.lives_until(moment)
        except WaitTimeout as error:
            return Ending(moment, 0.0, [f"not tried: {error}"])
        if lives:
            return _ended(running, moment, by, results, within)
    if moment.seconds:
        return end(command, moment.sooner, by, results, within=within)
    return Ending(moment, 0.0, [f"not tried: it ended with exit code {running.process.returncode} before"])


def _ended(running: Marked, moment: Moment, by: signal.Signals, results: Path, within: float) -> Ending:
    running.process.send_signal(by)
    began = time.monotonic()
    faults = []
    try:
        running.expect_to_be_gone(within)
    except WaitTimeout as error:
        faults.append(str(error))
        running.expect_to_be_gone(WITHIN)
    seconds = time.monotonic() - began
    code = running.process.wait(WITHIN)
    if code not in (-by, 128 + by, *OF_THEIR_OWN):
        faults.append(f"exit code {code}")
    if by is signal.SIGKILL:
        running.start([*NEXT_START, results / uuid4().hex]).communicate()
    return Ending(moment, seconds, [*faults, *(f"left {each}" for each in running.left())])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.endings", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument(
        "command", nargs="*", help=f"of {', '.join(COMMANDS)} (default: all)", metavar="COMMAND"
    )
    parser.add_argument("--signal", choices=[each.name for each in SIGNALS], help="only this one")
    options = parser.parse_args(argv)
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="dc-endings-") as results:
        for name in options.command or COMMANDS:
            for moment in COMMANDS[name].moments:
                for by in [each for each in SIGNALS if options.signal in (None, each.name)]:
                    found = end(COMMANDS[name], moment, by, Path(results))
                    print(
                        f"{name:12} {by.name:8} {found.moment!s:30} gone after {found.seconds:.1f} s",
                        flush=True,
                    )
                    for each in found.faults:
                        print(f"    {each}", flush=True)
                    wrong += len(found.faults)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
