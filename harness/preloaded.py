"""Programs of ours as forks of a process that has loaded their modules: a start costs a tenth of the processor time.

What is started is `fork_client`, by any `Host` and with any arguments, files and environment. It hands all of that
over, with the network that it is in, passes signals on, and ends as the program does. Who kills it kills the program.
"""

from __future__ import annotations

import atexit
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path

from .closing import Closing
from .fork_server import LISTENER
from .hosts import LocalHost
from .scratch import scratch_directory

__all__ = [
    "CLIENT",
    "ForkServer",
    "Modules",
    "adopt",
    "end_fork_servers",
    "fork_servers",
    "load_ahead",
    "preloaded",
]

CLIENT = (sys.executable, "-I", "-S", str(Path(__file__).with_name("fork_client.py")))
Modules = tuple[str, ...]
"""That a fork server loads."""
END_WITHIN = 10.0
"""Seconds for what was forked, when we close its fork server; then all of it is killed."""

_servers: list[ForkServer] = []
_sockets: dict[Modules, Path] = {}
_starting = threading.Lock()


class ForkServer(Closing):
    """The process that loads some modules at its first use, and then forks.

    It ends when it is closed, and with it what it forked. When we are gone, however that was, it ends after the last
    of them.
    """

    def __init__(self, *loads: str) -> None:
        self._scratch = ExitStack()
        self.socket = self._scratch.enter_context(scratch_directory("forks")) / "socket"
        """Where clients connect."""
        with LocalHost().socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(self.socket))  # here: a client that comes before the process is there waits
            listener.listen()
            self._process = LocalHost().popen(
                [sys.executable, "-P", "-m", "harness.fork_server", *loads],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=[listener.fileno()],
                env={**os.environ, LISTENER: str(listener.fileno()), "PYTHONPATH": _our_path()},
                process_group=0,  # Ctrl-C in the terminal is for us
            )

    def load(self) -> None:
        """Let it load its modules now, and do not wait for it."""
        with LocalHost().socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
            connection.connect(str(self.socket))

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END_WITHIN)
        self._process.kill()
        self._process.wait()
        self._scratch.close()


def preloaded(program: str, *arguments: str, loads: Modules) -> tuple[str, ...]:
    """Command that takes the place of a start of the module `program`, which has a function `main()`.

    It is forked from the fork server of this process that has loaded these modules: one that lives as long as we do.
    """
    return (*CLIENT, str(fork_servers(loads)[loads]), program, *arguments)


def fork_servers(*groups: Modules) -> dict[Modules, Path]:
    """Sockets of the fork servers that load these modules, for `adopt`. Those that are not there are started."""
    with _starting:
        for loads in groups:
            if loads not in _sockets:
                _servers.append(ForkServer(*loads))
                _sockets[loads] = _servers[-1].socket
        return {loads: _sockets[loads] for loads in groups}


def load_ahead(loads: Modules) -> None:
    """Let the fork server of these modules load them now, beside whatever we do until something is forked from it."""
    path = fork_servers(loads)[loads]
    for each in _servers:  # none, where it is that of the process that started this one
        if each.socket == path:
            each.load()


def adopt(sockets: Mapping[Modules, Path]) -> None:
    """Use the fork servers of the process that started this one."""
    with _starting:
        _sockets.update(sockets)


@atexit.register
def end_fork_servers() -> None:
    """End the fork servers of this process, and what they forked."""
    with _starting:
        _sockets.clear()
        while _servers:
            _servers.pop().close()


def _our_path() -> str:
    """It finds the modules that we would find."""
    return os.pathsep.join(each or os.getcwd() for each in sys.path)  # noqa: PTH109
