"""Who owns a lab: several at a time on the same addresses, an owner that is killed, an ordinary user."""

import json
import os
import shlex
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from harness.network.preflight import Level, preflight
from harness.waiting import wait_until

from .nobody import as_nobody

MARK = f"LAB_OWNER_OF={os.getpid()}"
"""Stands in the environment of the owners of this process, and so of everything that they start."""
ROOT = Path(__file__).resolve().parents[3]
OWNER = """
import json, os, sys
from harness.network import profiles
from harness.network.lab import Lab, possible
from harness.network.preflight import preflight
from harness.network.probe import verify

with Lab() as lab:
    alice = lab.device("alice", possible([profiles.HOME, profiles.UDP_BLOCKED_PUBLIC]))
    verify(lab, alice)
    child = alice.popen(["sleep", "600"])
    namespaces = [lab.internet, alice.namespace, alice.routers[0].namespace]
    found = {
        "level": preflight().level,
        "address": alice.address,
        "entrance": alice.namespace.entrance,
        "child": child.pid,
        "namespaces": [os.fstat(each.fd).st_ino for each in namespaces],
    }
    print(json.dumps(found), flush=True)
    sys.stdin.read()
"""
TOO_LATE = """
import threading
from harness.network.lab import Lab
threading.Thread(target=threading.Event().wait, daemon=True).start()
try:
    Lab()
except Exception as error:
    print(type(error).__name__, error, flush=True)
"""


def start(command: list[str], script: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*command, "env", MARK, sys.executable, "-c", script],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def read(owner: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert owner.stdout is not None
    found: dict[str, Any] = json.loads(owner.stdout.readline())
    return found


def addresses_behind(entrance: str) -> str:
    """What a person sees who enters a host by hand."""
    look = [*shlex.split(entrance), "ip", "-o", "address"]
    return subprocess.run(look, capture_output=True, text=True, check=True).stdout


def namespaces_in_use() -> set[int]:
    """Of all threads of owners and of what they started; others may get the number of one that is gone."""
    used = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if MARK.encode() in process.joinpath("environ").read_bytes().split(b"\0"):
                for entry in process.glob("task/[0-9]*/ns/net"):
                    used.add(int(str(entry.readlink()).removeprefix("net:[").removesuffix("]")))
        except OSError:
            continue  # it has just ended, or it is none of our business
    return used


@pytest.mark.usefixtures("lab")
def test_four_labs_at_once_and_nothing_is_left_when_their_owners_are_killed():
    with ExitStack() as stack:
        owners = [stack.enter_context(start([], OWNER)) for _ in range(4)]
        for owner in owners:
            stack.callback(owner.kill)
        labs = [read(owner) for owner in owners]
        assert len({lab["address"] for lab in labs}) == 1
        namespaces = {each for lab in labs for each in lab["namespaces"]}
        assert len(namespaces) == 12
        assert namespaces <= namespaces_in_use()
        if preflight().level is Level.ROOT:  # from inside a user namespace there is nothing to enter
            assert labs[0]["address"] in addresses_behind(labs[0]["entrance"])
        for owner in owners:
            owner.kill()
        children = [Path("/proc", str(lab["child"])) for lab in labs]
        wait_until(lambda: not any(map(is_alive, children)), "their programs to end", within=60)
        wait_until(lambda: not namespaces & namespaces_in_use(), "their namespaces to go", within=60)


def is_alive(process: Path) -> bool:
    """One that has ended and that nobody has reaped yet is a zombie."""
    try:
        return process.joinpath("stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.usefixtures("lab")
def test_an_ordinary_user_has_labs_too(tmp_path: Path):
    ordinary = as_nobody(tmp_path) if preflight().level is Level.ROOT else []
    with start(ordinary, OWNER) as owner:
        found = read(owner)
        if ordinary:  # from inside there is nothing to enter
            assert found["address"] in addresses_behind(found["entrance"])
        owner.communicate()
    assert owner.returncode == 0
    assert found["level"] == Level.USERNS
    assert not set(found["namespaces"]) & namespaces_in_use()


@pytest.mark.usefixtures("lab")
def test_an_ordinary_user_with_threads_is_told_what_is_missing(tmp_path: Path):
    if preflight().level is not Level.ROOT:
        pytest.skip("capability root: our children are in our user namespace already: run it as root")
    with start(as_nobody(tmp_path), TOO_LATE) as owner:
        said = owner.communicate()[0].decode()
    assert said.startswith("MissingCapability capability netns: ")
    assert "threads" in said
