"""A server that is ended, by whatever signal and at whatever moment: no process stays, and nothing on the disk."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator

import pytest

from benchmarks.endings import Marked

COMMAND = [sys.executable, "-m", "reference_server", "--ephemeral-ports"]
IN_ORDER = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Server(Marked):
    """A server of ours."""

    def __init__(self, *, ignored: signal.Signals | None = None) -> None:
        super().__init__(COMMAND if ignored is None else ["nohup", *COMMAND])

    def ready(self) -> None:
        assert self.process.stdout is not None
        assert json.loads(self.process.stdout.readline())["ready"]


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
