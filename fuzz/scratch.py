"""A directory of this process for files that targets read; it is gone at its end, or when the next run starts."""

from __future__ import annotations

import atexit
from contextlib import ExitStack

from harness.scratch import remove_leftovers, scratch_directory

__all__ = ["DIRECTORY"]

remove_leftovers()  # atheris ends a process without a word to anybody
_until_the_end = ExitStack()
DIRECTORY = _until_the_end.enter_context(scratch_directory("fuzz"))
atexit.register(_until_the_end.close)
