"""The process that workers and cells are forked from: it has loaded everything, and has no threads."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from multiprocessing.context import ForkServerContext

from ..scratch import scratch_directory

__all__ = ["end_with_parent", "fork_context"]

CLOSE_WITHIN = 3.0
"""Seconds in which a process whose parent has gone closes what it has; then it is killed."""


@cache
def fork_context() -> ForkServerContext:
    """The context of multiprocessing, whose socket lies in a scratch directory.

    By itself multiprocessing makes a directory `pymp-...`, which nobody would remove if this process were killed.
    """
    context = multiprocessing.get_context("forkserver")
    until_the_end = ExitStack()
    directory = until_the_end.enter_context(scratch_directory("fork"))
    atexit.register(until_the_end.close)
    # There is no other way to say it but TMPDIR, which is everybody's: this is where `util.get_temp_dir` looks.
    vars(multiprocessing.current_process())["_config"]["tempdir"] = str(directory)
    return context


def end_with_parent() -> None:
    """Give this process a SIGTERM when the one that asked for it has gone, however that was, and in the end a SIGKILL.

    The kernel could not do it (PR_SET_PDEATHSIG): our parent is the fork server, which lives as long as we do. This
    makes a thread, and a process with threads can enter no user namespace: so it comes after that.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None, "no process that was forked"
    threading.Thread(target=_end_after, args=(parent.join,), name="parent", daemon=True).start()


def _end_after(gone: Callable[[], object]) -> None:
    gone()
    os.kill(os.getpid(), signal.SIGTERM)
    threading.Event().wait(CLOSE_WITHIN)
    os.kill(os.getpid(), signal.SIGKILL)
