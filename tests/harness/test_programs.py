"""Checks of a server's own program, on stand-ins for madmail's that are right or wrong in one way.

The reference server has no `upgrade` and no name to hide, so no mutant of it can be killed by these checks.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.hosts import LocalHost
from harness.scratch import scratch_directory
from harness.servers.madmail import BINARY_VARIABLE
from harness.stage.outcome import Outcome
from harness.steps import programs, upgrades
from harness.steps.programs import expect_another_name
from harness.steps.upgrades import RELEASE_KEY, expect_signatures_matter

UPGRADES = """\
#!{python}
import io, sys, tarfile, urllib.request
from pathlib import Path
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

source, fault = sys.argv[2], "{fault}"
data = urllib.request.urlopen(source).read() if "://" in source else Path(source).read_bytes()
if archive := source.endswith(".tar.gz"):
    data = tarfile.open(fileobj=io.BytesIO(data)).extractfile("madmail").read()
try:
    if not (fault == "trusts archives" and archive):
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex("{key}"))
        key.verify(data[-64:], data[:-64])
        if fault == "refuses all":
            raise InvalidSignature
except InvalidSignature:
    sys.exit("INVALID SIGNATURE: this binary cannot be trusted")
print("Signature verification successful.")
if fault == "replaces itself":
    Path(sys.argv[0]).write_bytes(data)
sys.exit("it does not run")
"""
ALIAS = "udevmon7"


def judged(directory: Path, fault: str, key: str = RELEASE_KEY.decode()) -> Outcome:
    program = directory / "madmail"
    program.write_text(UPGRADES.format(python=sys.executable, fault=fault, key=key))
    program.chmod(0o755)
    (directory / "scratch").mkdir()
    outcome = Outcome()
    expect_signatures_matter(LocalHost(), outcome, program, directory / "scratch")
    return outcome


@pytest.fixture
def same_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody may not run the Python of these tests, which can be anywhere."""
    monkeypatch.setattr(upgrades, "_as_nobody", dict)


@pytest.mark.usefixtures("same_user")
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("", ""),
        ("trusts archives", "what is unsigned, in an archive, is not refused for its signature"),
        ("replaces itself", "the program was replaced by something that does not run"),
        ("refuses all", "what is signed, as a file, is not taken as rightly signed: INVALID SIGNATURE"),
    ],
)
def test_an_upgrade_is_judged_by_what_it_takes(fault: str, words: str, tmp_path: Path) -> None:
    outcome = judged(tmp_path, fault)
    assert bool(outcome) == (not words), outcome
    assert words in outcome.reason
    assert not outcome.notes


@pytest.mark.usefixtures("same_user")
def test_a_program_with_another_key_is_judged_by_what_it_refuses(tmp_path: Path) -> None:
    outcome = judged(tmp_path, "", key="00" * 32)
    assert outcome, outcome
    assert outcome.notes == [
        "that it takes what is rightly signed was not tried: the release key is not in the program"
    ]


def test_the_program_of_madmail_takes_what_is_signed_alone() -> None:
    if not (binary := os.environ.get(BINARY_VARIABLE)):
        pytest.skip(f"capability madmail: {BINARY_VARIABLE}=PATH in the environment")
    outcome = Outcome()
    with scratch_directory("upgrade") as directory:
        expect_signatures_matter(LocalHost(), outcome, Path(binary), directory)
    assert outcome, outcome
    assert not outcome.notes


@pytest.fixture
def renamed(tmp_path: Path) -> Iterator[Path]:
    """A program that runs under another name than it was built with."""
    sleep = shutil.which("sleep")
    assert sleep is not None
    program = Path(shutil.copy(sleep, tmp_path / ALIAS))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    process = subprocess.Popen([program, "600"])
    try:
        yield program
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("paths", "greeting", "words"),
    [
        ([f"/etc/{ALIAS}/{ALIAS}.conf"], "220 mail.example ESMTP", ""),
        (
            ["/etc/madmail/madmail.conf"],
            "220 mail.example ESMTP",
            "uses /etc/madmail/madmail.conf by default",
        ),
        ([f"/var/lib/{ALIAS}"], "220 mail.example Maddy", "the greeting at port 587 has its own name"),
    ],
)
def test_a_name_is_looked_for_in_paths_and_greetings(
    renamed: Path, monkeypatch: pytest.MonkeyPatch, paths: list[str], greeting: str, words: str
) -> None:
    monkeypatch.setattr(programs, "default_paths", lambda _host, _program: paths)
    monkeypatch.setattr(programs, "_greetings", lambda _stage: [(587, greeting)])
    outcome = Outcome()
    stage: Any = SimpleNamespace(host=LocalHost())
    expect_another_name(stage, outcome, renamed)
    assert bool(outcome) == (not words), outcome
    assert words in outcome.reason


def test_a_program_that_runs_under_its_old_name_is_not_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "default_paths", lambda _host, _program: [])
    monkeypatch.setattr(programs, "_greetings", lambda _stage: [])
    outcome = Outcome()
    stage: Any = SimpleNamespace(host=LocalHost())
    expect_another_name(stage, outcome, tmp_path / ALIAS)
    assert "is nowhere in the list of processes" in outcome.reason
