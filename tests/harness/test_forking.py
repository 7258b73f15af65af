"""Processes are forked from one whose socket goes with us, or at the next start when we were killed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.scratch import PREFIX, remove_leftovers

FORKS = """
import os, signal, sys
from harness.doors.forking import fork_context
if __name__ == "__main__":
    process = fork_context().Process(target=print, args=("it was forked",))
    process.start()
    process.join()
    if sys.argv[1:]:
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def temporary() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="dc-tests-"))  # short: paths of sockets are
    yield directory
    shutil.rmtree(directory)


def test_one_that_ends_leaves_nothing(temporary: Path) -> None:
    assert _run(temporary) == "it was forked\n"
    assert list(temporary.iterdir()) == []


def test_what_a_killed_one_leaves_goes_at_the_next_start(
    temporary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _run(temporary, "killed") == "it was forked\n"
    [left] = temporary.iterdir()
    assert left.name.startswith(PREFIX)
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    remove_leftovers()
    assert list(temporary.iterdir()) == []


def _run(temporary: Path, *arguments: str) -> str:
    command = [sys.executable, "-c", FORKS, *arguments]
    environment = os.environ | {"TMPDIR": str(temporary)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout
