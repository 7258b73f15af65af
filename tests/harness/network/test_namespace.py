"""A namespace that is gone, or goes while it works: whoever asks it for something is told, and nobody waits forever."""

from __future__ import annotations

import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.hosts import MissingCapability
from harness.network.lab import Lab
from harness.network.names import Names
from harness.network.nameserver import NameServer
from harness.network.namespace import Namespace, NamespaceClosed
from harness.waiting import wait_until

WORKERS = 8


def test_a_closed_namespace_says_so(lab):
    alice = lab.device("alice")
    lab.close()
    with pytest.raises(NamespaceClosed, match="the network of alice is closed"):
        alice.socket(socket.AF_INET, socket.SOCK_DGRAM)
    alice.namespace.close()


@pytest.mark.usefixtures("lab")
def test_what_was_begun_before_the_end_is_finished_and_the_rest_refused():
    """Everybody who asks gets an answer, and no program outlives its namespace."""
    space = Namespace("busy")
    begun = threading.Semaphore(0)

    def start_programs() -> list[subprocess.Popen[bytes]]:
        started = []
        try:
            while True:
                started.append(space.popen(["sleep", "600"]))
                begun.release()
        except NamespaceClosed:
            return started

    with ThreadPoolExecutor(WORKERS) as pool:
        asking = [pool.submit(start_programs) for _ in range(WORKERS)]
        for _ in range(WORKERS):
            begun.acquire()
        space.close()
        programs = [each for asked in asking for each in asked.result()]
    wait_until(lambda: all(each.poll() is not None for each in programs), "the programs to end", within=60)


def test_without_setpriv_no_program_is_started(lab, monkeypatch):
    """It would outlive us if we were killed."""
    alice = lab.device("alice")
    monkeypatch.setattr("shutil.which", lambda *_args, **_kwargs: None)
    with pytest.raises(MissingCapability, match="capability setpriv"):
        alice.popen(["true"])


def test_a_name_server_that_cannot_start_says_why(lab: Lab, monkeypatch):
    async def refuse(self, started):
        raise OSError("no room")

    monkeypatch.setattr(NameServer, "_serve", refuse)
    host = lab.server("names2")
    with pytest.raises(OSError, match="no room"):
        NameServer(host, [host.address], Names())
