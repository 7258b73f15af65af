"""The embedded server as a target: a program known only by its ready line and its control socket."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..clients.control import ControlClient, Ledgers, ServiceLog
from ..closing import Closing
from ..hosts import Host, LocalHost, end_process
from ..target import Target
from ..waiting import WaitTimeout, wait_until
from .endpoints import describe

__all__ = ["ReferenceServer", "ServerError"]

REFERENCE_COMMAND = (sys.executable, "-m", "reference_server")
CAPABILITIES = frozenset({"iroh_relay", "relay_v1", "ledger", "logs", "faults", "lab"})
"""`lab`: another one like it can be started in a network of our own."""
LIFELINE = "DC_SERVER_LIFELINE"
"""Names the read end of a pipe that we hold: when we are gone, even by kill -9, the server ends itself."""
STOP_PATIENCE = 10.0
"""Seconds that the supervisor gets to end its services before all of them are killed."""
TAIL_LINES = 20


class ServerError(Exception):
    """The server did not start. The text has the end of what it wrote on stderr."""


class ReferenceServer(Closing):
    """A running server; `with ReferenceServer(...) as server:` ends it whatever happens.

    `command` is how it is started: `[sys.executable, "-m", "mutants", NAME]` takes the same arguments.
    """

    def __init__(
        self,
        state: Path,
        logs: Path,
        *,
        host: Host | None = None,
        command: Sequence[str] = REFERENCE_COMMAND,
        arguments: Sequence[str] = (),
        ephemeral: bool = True,
        relay_ping_interval: float | None = None,
        name: str = "reference",
        within: float = 30.0,
    ) -> None:
        """`state`: directory of its database; `logs`: directory of its output; `ephemeral`: on free ports of an
        address of its own; `within`: seconds to start.

        `relay_ping_interval`: seconds of silence before the relay pings a client, instead of its default.
        """
        self._host = host or LocalHost()
        if relay_ping_interval is not None:
            arguments = [*arguments, "--relay-ping-interval", str(relay_ping_interval)]
        self._stdout_path = logs / f"{name}.stdout.log"
        self.stderr_path = logs / f"{name}.stderr.log"
        logs.mkdir(parents=True, exist_ok=True)
        ports = ["--ephemeral-ports"] if ephemeral else []
        lifeline, self._lifeline = os.pipe()
        try:
            with self._stdout_path.open("wb") as stdout, self.stderr_path.open("wb") as stderr:
                self._process = self._host.popen(
                    [*command, *ports, "--ledger", "--state", str(state), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=stdout,
                    stderr=stderr,
                    pass_fds=[lifeline],
                    env={**os.environ, LIFELINE: str(lifeline)},
                    process_group=0,  # Ctrl-C in the terminal is for the harness, which then ends the server
                )
        except BaseException as error:
            os.close(self._lifeline)
            if isinstance(error, OSError):
                raise ServerError(f"the server does not start: {error}") from error
            raise
        finally:
            os.close(lifeline)
        try:
            self.endpoints = self._read_ready_line(within)
            self.target = self._describe(name)
            if relay_ping_interval is not None:
                self.target = replace(self.target, relay_ping_interval=relay_ping_interval)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def ledger(self) -> Ledgers:
        """What the services have seen."""
        return self._control.ledger()

    def logs(self, service: str, *, lines: int = 200) -> ServiceLog:
        """The end of one service's log (`mail` or `iroh_relay`)."""
        return self._control.logs(service, lines=lines)

    def restart(self, service: str, *, kill: bool = False) -> int:
        """Restart one service, by SIGKILL if asked; returns when it is ready on the same ports."""
        return self._control.restart(service, kill=kill)

    def pause(self, service: str, paused: bool) -> None:
        """Let a service's process stand still, or go on."""
        self._control.pause(service, paused=paused)

    def close(self) -> None:
        """End the server, its services with it, and reap it. A second call does nothing."""
        end_process(self._process, patience=STOP_PATIENCE)
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def _read_ready_line(self, within: float) -> Mapping[str, Any]:
        try:
            line = wait_until(self._first_line, "the server's ready line", within=within)
        except WaitTimeout:
            raise ServerError(self.explain(f"was not ready within {within:g} s")) from None
        try:
            ready = json.loads(line)
            if ready["ready"] is True and isinstance(ready["endpoints"], dict):
                return ready["endpoints"]
        except (ValueError, KeyError, TypeError):
            pass  # said below, together with the other ways to be wrong
        raise ServerError(self.explain(f"printed {line[:200]!r} instead of a ready line"))

    def _first_line(self) -> bytes:
        code = self._process.poll()  # before reading: whatever an ended process wrote is there to read
        line, newline, _ = self._stdout_path.read_bytes().partition(b"\n")
        if not newline and code is not None:
            raise ServerError(self.explain(f"ended with exit code {code} before it was ready"))
        return line if newline else b""

    def _describe(self, name: str) -> Target:
        try:
            self._control = ControlClient(Path(self.endpoints["control"]), self._host)
            return describe(self.endpoints, name, CAPABILITIES, self._control)
        except (KeyError, TypeError, ValueError) as error:
            raise ServerError(self.explain(f"has a ready line without a usable {error}")) from error

    def explain(self, what: str) -> str:
        """The sentence "the server ...", with the end of what it wrote on stderr."""
        tail = self.stderr_path.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        said = "\n  ".join(tail) if tail else "(nothing)"
        return f"the server {what}. The end of {self.stderr_path}:\n  {said}"


def keep_service_logs(state: Path, logs: Path) -> None:
    """Copy what the services wrote: it is evidence, and their state is not."""
    for log in state.glob("logs/*.log"):
        shutil.copy(log, logs / f"server.{log.name}")
