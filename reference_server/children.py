"""Child processes that run a function of this program: nothing is loaded twice, and each has a session of its own.

Only for a process with one thread (and any number of asyncio tasks): a thread would not exist in the child, and what
it held would stay locked there. A child that is stopped (SIGSTOP) goes on when its parent has ended, however that was,
and hears of it by the lifeline that it has (`service.end_with_parent`).
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

__all__ = ["Child"]

PR_SET_PDEATHSIG = 1
HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals for which the parent's event loop has handlers, which must not run inside a child."""


class Child:
    """A running child process, collected as soon as it has ended. `start` makes one."""

    def __init__(self, pid: int, stdout: asyncio.StreamReader, transport: asyncio.ReadTransport) -> None:
        self.pid = pid
        self.stdout = stdout
        self._transport = transport
        self._descriptor = os.pidfd_open(pid)
        self._loop = asyncio.get_running_loop()
        self._code: asyncio.Future[int] = self._loop.create_future()
        self._loop.add_reader(self._descriptor, self._collect)

    @classmethod
    async def start(cls, work: Callable[[], int], *, stderr: int, keep: Collection[int]) -> Child:
        """Run `work` in a child process, whose exit code is what it returns.

        The child is in a session of its own (Ctrl-C is for the parent), reads from /dev/null, writes to `stdout` of the
        result and to the file `stderr`, and has no other open file but those in `keep`.
        """
        read_end, write_end = os.pipe()
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", buffering=0)
        )
        try:
            return cls(_fork(work, write_end, stderr, keep), reader, transport)
        finally:
            os.close(write_end)

    @property
    def ended(self) -> bool:
        """By the kernel's word, collected or not."""
        return self._code.done() or bool(select.select([self._descriptor], [], [], 0)[0])

    def send_signal(self, number: signal.Signals) -> None:
        """Does nothing for one that has ended."""
        with suppress(ProcessLookupError):
            if not self._code.done():
                signal.pidfd_send_signal(self._descriptor, number)

    async def wait(self) -> int:
        """The exit code, or the number of the signal that ended it, below zero."""
        return await asyncio.shield(self._code)

    def _collect(self) -> None:
        _pid, status = os.waitpid(self.pid, 0)
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._transport.close()
        self._code.set_result(os.waitstatus_to_exitcode(status))


def _fork(work: Callable[[], int], stdout: int, stderr: int, keep: Collection[int]) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    try:
        pid = os.fork()
        if pid == 0:
            _become(work, stdout, stderr, keep)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


def _become(work: Callable[[], int], stdout: int, stderr: int, keep: Collection[int]) -> NoReturn:
    """The child's life. The parent's event loop and whatever else it made stay as they are, and are used no more."""
    code = 1
    try:
        gc.freeze()  # what the parent made is the parent's to finalize
        os.setsid()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGCONT)
        signal.set_wakeup_fd(-1)
        for handled in HANDLED:
            signal.signal(handled, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for standard, source in enumerate((nothing, stdout, stderr)):
            os.dup2(source, standard)
        _close_all_but(keep)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        code = work()
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _close_all_but(keep: Collection[int]) -> None:
    for number in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if number > 2 and number not in keep:
            with suppress(OSError):  # the one that listed them is closed already
                os.close(number)
