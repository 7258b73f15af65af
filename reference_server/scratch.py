"""Directories for what a server needs only while it lives, its secret among that; those of one that was killed go when
the next one starts.

Each is locked by its owner, and the kernel gives a lock back with the process that held it, however that ended.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["remove_leftovers", "scratch_directory"]

PREFIX = "dc-server-own-"
"""Short: paths of unix sockets are."""


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """A new empty directory that only this user can read; it goes with the block."""
    # Nobody takes it for a leftover before it is locked: until then it has another name.
    unlocked = Path(tempfile.mkdtemp(prefix=f".{PREFIX}"))
    directory = unlocked.with_name(unlocked.name.removeprefix("."))
    lock = os.open(unlocked, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        unlocked.rename(directory)
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def remove_leftovers() -> None:
    """Remove the scratch directories of this user's servers that have ended without doing it."""
    for path in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            found = path.lstat()
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid():
                _remove_if_nobody_has_it(path)


def _remove_if_nobody_has_it(directory: Path) -> None:
    lock = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(directory, ignore_errors=True)
    finally:
        os.close(lock)
