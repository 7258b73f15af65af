"""Scratch directories: gone with their owner, and those of dead owners at the next start."""

from __future__ import annotations

import subprocess
import sys

import pytest

from harness.scratch import remove_leftovers, scratch_directory

DIES = "import os, signal; from harness.scratch import scratch_directory\nwith scratch_directory('state') as d:\n"
DIES += "    (d / 'mail.db').write_text('x'); os.kill(os.getpid(), signal.SIGKILL)"


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_it_goes_with_its_block(temporary):
    with pytest.raises(ZeroDivisionError), scratch_directory("state") as directory:
        (directory / "mail.db").write_text("x")
        assert directory.stat().st_mode & 0o777 == 0o700
        raise ZeroDivisionError
    assert list(temporary.iterdir()) == []


def test_only_those_of_the_dead_are_removed(temporary, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(temporary))
    subprocess.run([sys.executable, "-c", DIES], check=False)
    [left] = temporary.iterdir()
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (temporary / f"{left.name}-link").symlink_to(elsewhere)
    with scratch_directory("state") as mine:
        remove_leftovers()
        assert mine.is_dir()
        assert not left.exists()
    assert elsewhere.is_dir()
