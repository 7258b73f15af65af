"""Keeper of one program: its parent in place of the harness, so that nothing that it starts outlives the harness.

    python -I -S keeper.py HARNESS_PID STATUS_FD COMMAND...

Orphans among the program's descendants become the keeper's children, also those in a session of their own (prctl(2),
PR_SET_CHILD_SUBREAPER). All of them are killed when the program has ended, on SIGTERM, and when the harness has gone,
even by SIGKILL (PR_SET_PDEATHSIG). The keeper then ends as the program did. If somebody kills the keeper itself, the
kernel kills the program, but not what that has started.

STATUS_FD gets the program's process ID, or minus the errno of the failed execve(2), and is closed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import sys
from pathlib import Path

__all__ = ["children_of"]

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
AWAITED = {signal.SIGTERM, signal.SIGCHLD}
IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)


def children_of(parent: int) -> list[int]:
    """Process IDs of its children, zombies among them."""
    return [int(each.name) for each in Path("/proc").glob("[0-9]*") if _parent_of(each) == parent]


def _parent_of(process: Path) -> int | None:
    try:
        stat = (process / "stat").read_bytes()
    except OSError:  # it has ended meanwhile
        return None
    return int(stat.rpartition(b")")[2].split()[1])  # the name in brackets may have any character


def _main(harness: int, status: int, command: list[str]) -> None:
    libc = ctypes.CDLL(None)
    signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != harness:
        return
    os.set_inheritable(status, False)
    failure_in, failure_out = os.pipe()  # closed by a successful execve, as every one that is not inheritable
    program = os.fork()
    if program == 0:
        _become(libc, command, failure_out)
    os.close(failure_out)
    failure = os.read(failure_in, 16)
    os.write(status, b"-" + failure if failure else b"%d" % program)
    os.close(status)
    ending = _wait_for(program)
    rest = _kill_children(program)
    _end_like(rest if ending is None else ending)


def _become(libc: ctypes.CDLL, command: list[str], failure: int) -> None:
    try:
        os.setsid()
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        for each in IGNORED_BY_PYTHON:
            signal.signal(each, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, AWAITED)
        os.execvp(command[0], command)  # noqa: S606 - what a keeper is for
    except OSError as error:
        os.write(failure, b"%d" % (error.errno or 0))
    finally:
        os._exit(127)


def _wait_for(program: int) -> int | None:
    """Status of the program's end; None: the keeper has been told to end it."""
    while signal.sigwait(AWAITED) == signal.SIGCHLD:
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                if found[0] == program:
                    return found[1]
    return None


def _kill_children(program: int) -> int:
    """Kill and reap all that there are, and those that become ours by that; the program's status, if it was there."""
    ending = 0
    while True:
        for child in children_of(os.getpid()):
            with contextlib.suppress(OSError):
                os.kill(child, signal.SIGKILL)
        try:
            child, status = os.waitpid(-1, 0)
        except ChildProcessError:
            return ending
        if child == program:
            ending = status


def _end_like(status: int) -> None:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
        os.kill(os.getpid(), number)
    sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
