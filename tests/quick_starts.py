"""Reference servers, mutants and call agents that the harness starts in tests come from fork servers.

Starting one costs a second of CPU, nearly all of it for loading modules, and the tests do it hundreds of times. The
harness starts `fork_client` instead, by the same `Host` and with the same arguments, files and environment.
Tests of the programs themselves start them as a user does.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.calls.agent import Agent
from harness.closing import Closing
from harness.hosts import Host
from harness.servers.reference import SupervisorProcess

from .fork_server import LISTENER

__all__ = ["ForkServer", "quick_starts"]

CLIENT = (sys.executable, "-I", "-S", str(Path(__file__).with_name("fork_client.py")))
SERVERS = (
    "reference_server.__main__",
    "reference_server.tls",
    "reference_server.mail.service",
    "reference_server.turn.service",
    "reference_server.iroh_relay.service",
    "mutants.__main__",
)


class ForkServer(Closing):
    """The process that has loaded the modules `loads`. It is started at first use, and ends with us."""

    def __init__(self, *loads: str) -> None:
        self._loads = loads
        self._process: subprocess.Popen[bytes] | None = None
        self._directory = tempfile.TemporaryDirectory(prefix="dc-fork-server-")
        self._path = Path(self._directory.name, "socket")

    def command(self, program: str, *arguments: str) -> tuple[str, ...]:
        """Command that takes the place of `python -m program arguments`."""
        return (*CLIENT, str(self._path), program, *arguments)

    def start(self) -> None:
        """A second call does nothing."""
        if self._process is not None:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(self._path))  # here: whoever asks before everything is loaded waits
            listener.listen()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fork_server", *self._loads],
                cwd=Path(__file__).parents[1],
                stdin=subprocess.PIPE,  # it ends with us, also where we are killed
                pass_fds=[listener.fileno()],
                env={**os.environ, LISTENER: str(listener.fileno())},
            )

    def close(self) -> None:
        if self._process is not None:
            self._process.communicate()
        self._directory.cleanup()


@contextmanager
def quick_starts() -> Iterator[None]:
    """Within the block, whatever of ours the harness starts is forked."""
    start_server, start_agent = SupervisorProcess.__init__, Agent.__init__

    def server(self: SupervisorProcess, host: Host, command: Sequence[str], *others: Any) -> None:
        match command:
            case [sys.executable, "-m", "reference_server" | "mutants" as program, *arguments]:
                servers.start()
                command = servers.command(program, *arguments)
        start_server(self, host, command, *others)

    def agent(self: Agent, *others: Any, **named: Any) -> None:
        agents.start()
        start_agent(self, *others, **named)

    with ExitStack() as stack:
        servers = stack.enter_context(ForkServer(*SERVERS))
        agents = stack.enter_context(ForkServer("harness.calls.peer"))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(SupervisorProcess, "__init__", server)
        patch.setattr(Agent, "__init__", agent)
        patch.setattr("harness.calls.agent.PEER_COMMAND", agents.command("harness.calls.peer"))
        yield
