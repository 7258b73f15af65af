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

from harness.closing import Closing
from harness.hosts import Host
from harness.servers.reference import SupervisorProcess

from .fork_server import LISTENER

__all__ = ["ForkServer", "quick_command", "quick_starts"]

CLIENT = (sys.executable, "-I", "-S", str(Path(__file__).with_name("fork_client.py")))
SERVERS = (
    "reference_server.__main__",
    "reference_server.tls",
    "reference_server.mail.service",
    "reference_server.turn.service",
    "reference_server.iroh_relay.service",
    "reference_server.config.check_config",
    "mutants.__main__",
)
BEHIND = 5
"""Niceness of all others: an agent that does not get its 50 packets a second onto the wire leaves a test undecided."""


class ForkServer(Closing):
    """The process that loads some modules at its first use, and then forks. It ends with us."""

    def __init__(self, *loads: str) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="dc-fork-server-")
        self._path = Path(self._directory.name, "socket")
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(self._path))  # here: a client that comes before the process is there waits
            listener.listen()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fork_server", *loads],
                cwd=Path(__file__).parents[1],
                stdin=subprocess.PIPE,  # it ends with us, also where we are killed
                pass_fds=[listener.fileno()],
                env={**os.environ, LISTENER: str(listener.fileno())},
            )

    def command(self, program: str, *arguments: str) -> tuple[str, ...]:
        """Command that takes the place of `python -m program arguments`."""
        return (*CLIENT, str(self._path), program, *arguments)

    def close(self) -> None:
        self._process.communicate()
        self._directory.cleanup()


_servers: ForkServer | None = None


def quick_command(program: str, *arguments: str) -> tuple[str, ...]:
    """Command that starts a program of ours from this session's fork server."""
    assert _servers is not None
    return _servers.command(program, *arguments)


@contextmanager
def quick_starts() -> Iterator[None]:
    """Within the block, whatever of ours the harness starts is forked."""
    start = SupervisorProcess.__init__

    def start_quickly(
        self: SupervisorProcess, host: Host, command: Sequence[str], *others: Any, **named: Any
    ) -> None:
        match command:
            case [sys.executable, "-m", "reference_server" | "mutants" as program, *arguments]:
                command = quick_command(program, *arguments)
        start(self, host, command, *others, **named)

    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(sys.modules[__name__], "_servers", stack.enter_context(ForkServer(*SERVERS)))
        agents = stack.enter_context(ForkServer("harness.calls.agent_program"))
        os.nice(BEHIND)
        patch.setattr(SupervisorProcess, "__init__", start_quickly)
        patch.setattr("harness.calls.agent.AGENT_COMMAND", agents.command("harness.calls.agent_program"))
        yield
