"""A server that is ended, by whatever signal and at whatever moment: no process stays, and nothing on the disk."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from harness.waiting import wait_until

COMMAND = [sys.executable, "-m", "reference_server", "--ephemeral-ports"]
GONE_WITHIN = 5.0
IN_ORDER = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Server:
    """Its processes are known by a mark in their environment, its files by a directory for temporary ones."""

    def __init__(self, *arguments: str, ignored: signal.Signals | None = None) -> None:
        self.temporary = Path(tempfile.mkdtemp(prefix="dc-tests-"))  # short: paths of sockets are
        self._mark = uuid4().hex
        command = [*COMMAND, *arguments]
        if ignored is not None:
            command = ["nohup", *command]
        self.process = self.start(command)

    def start(self, command: list[str]) -> subprocess.Popen[bytes]:
        environment = os.environ | {"TMPDIR": str(self.temporary), "DC_TEST_MARK": self._mark}
        return subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            stdin=subprocess.DEVNULL,
        )

    def ready(self) -> None:
        assert self.process.stdout is not None
        assert json.loads(self.process.stdout.readline())["ready"]

    def processes(self) -> dict[int, bytes]:
        """Living ones, by ID, with their command lines."""
        found = {}
        for each in Path("/proc").glob("[0-9]*"):
            try:
                state = (each / "stat").read_bytes().rpartition(b")")[2].split()[0]
                if state != b"Z" and self._mark.encode() in (each / "environ").read_bytes():
                    found[int(each.name)] = (each / "cmdline").read_bytes()
            except OSError:
                continue  # it has ended meanwhile, or is somebody else's
        return found

    def expect_to_be_gone(self) -> None:
        wait_until(
            lambda: not self.processes(), "every process to end", within=GONE_WITHIN, seen=self.processes
        )

    def left(self) -> list[str]:
        return sorted(str(each.relative_to(self.temporary)) for each in self.temporary.rglob("*"))

    def close(self) -> None:
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)
        self.process.communicate()
        shutil.rmtree(self.temporary)


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    found = Server()
    yield found
    found.close()


@pytest.mark.parametrize("number", IN_ORDER)
def test_a_ready_server_ends_in_good_order(server: Server, number: signal.Signals) -> None:
    server.ready()
    server.process.send_signal(number)
    server.expect_to_be_gone()
    assert server.left() == []


@pytest.mark.parametrize("number", IN_ORDER)
@pytest.mark.parametrize("seconds", [0.2, 0.5])
def test_one_that_is_not_ready_yet_leaves_nothing_either(
    server: Server, number: signal.Signals, seconds: float
) -> None:
    time.sleep(seconds)  # the moment is what is tested
    server.process.send_signal(number)
    server.expect_to_be_gone()
    assert server.left() == []


def test_what_a_killed_one_leaves_goes_when_the_next_one_starts(server: Server) -> None:
    server.ready()
    server.process.kill()
    server.expect_to_be_gone()
    assert any(each.endswith("turn-secret") for each in server.left()), "else this test tests nothing"
    server.process.communicate()
    server.process = server.start(COMMAND)
    server.ready()
    living = {each.split("/")[0] for each in server.left()}
    assert len(living) == 2
    server.process.terminate()
    server.expect_to_be_gone()
    assert server.left() == []


def test_a_stopped_service_does_not_outlive_a_killed_server(server: Server) -> None:
    server.ready()
    services = [pid for pid in server.processes() if pid != server.process.pid]
    assert services
    for pid in services:
        os.kill(pid, signal.SIGSTOP)
    server.process.kill()
    server.expect_to_be_gone()


def test_nohup_is_respected() -> None:
    server = Server(ignored=signal.SIGHUP)
    try:
        server.ready()
        server.process.send_signal(signal.SIGHUP)
        time.sleep(0.5)  # nothing is to happen
        assert server.process.poll() is None
    finally:
        server.close()
