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

from benchmarks.endings import marked
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

ENDS_WITH_ITS_PARENT = """
import os, signal, sys, time
from harness.doors.forking import end_with_parent, fork_context
def work():
    if sys.argv[1:]:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_with_parent()
    print("working", flush=True)
    time.sleep(600)
if __name__ == "__main__":
    fork_context().Process(target=work).start()
    time.sleep(600)
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


@pytest.mark.parametrize("arguments", [(), ("does not hear",)])
def test_it_does_not_outlive_a_parent_that_is_killed(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    program = tmp_path / "parent.py"  # a file: the fork server loads it for the function
    program.write_text(ENDS_WITH_ITS_PARENT)
    with marked([sys.executable, program, *arguments], directory=Path(__file__).parents[2]) as running:
        assert running.process.stdout is not None
        assert running.process.stdout.readline() == b"working\n"
        running.process.kill()
        running.expect_to_be_gone(within=60)


def _run(temporary: Path, *arguments: str) -> str:
    command = [sys.executable, "-c", FORKS, *arguments]
    environment = os.environ | {"TMPDIR": str(temporary)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout
