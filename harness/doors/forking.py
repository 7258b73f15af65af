"""The process that workers and cells are forked from: it has loaded everything, and has no threads."""

from __future__ import annotations

import atexit
import multiprocessing
from contextlib import ExitStack
from functools import cache
from multiprocessing.context import ForkServerContext

from ..scratch import scratch_directory

__all__ = ["fork_context"]


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
