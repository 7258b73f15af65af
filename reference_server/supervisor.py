"""Starts, watches, restarts and stops the services of one server; each is a process of its own.

A service that dies unasked is reported and left dead: a test server that heals itself would hide the fault.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import control
from .children import Child
from .control import ControlError, ControlServer
from .errors import ConfigurationError
from .plan import Plan
from .programs import Program, standard_program
from .service import LIFELINE, run
from .service_settings import ServiceSettings

__all__ = ["ServiceProcess", "Supervisor"]

READY_TIMEOUT = 30.0
STOP_TIMEOUT = 5.0
LOG_LINES = 200

log = logging.getLogger(__name__)


class ServiceProcess:
    """One service as a child process: its ready line, its log and its control socket."""

    def __init__(
        self, name: str, settings: ServiceSettings, program: Program, log_file: Path, lifeline: int
    ) -> None:
        """`lifeline` is the read end of a pipe whose other end only this process holds."""
        self.name = name
        self.settings = settings
        self.log_file = log_file
        self.stopping = False
        self.changing = asyncio.Lock()
        """Held by whoever starts or stops it."""
        self._program = program
        self._lifeline = lifeline
        self._child: Child | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> dict[str, Any]:
        """Run the service and return the endpoints of its ready line."""
        self.stopping = False
        with self.log_file.open("ab") as log_output:
            self._child = await Child.start(
                self._serve,
                stderr=log_output.fileno(),
                keep={self._lifeline, *self.settings.descriptors()},
            )
        endpoints = await self._ready_line(self._child)
        self._note(f"{self.name} is ready, process {self._child.pid}")
        self._watcher = asyncio.create_task(self._watch(self._child))
        return endpoints

    def _serve(self) -> int:
        """Run the service; this is the child's."""
        os.environ[LIFELINE] = str(self._lifeline)
        return run(self.name, lambda: self.settings, self._program)

    async def _ready_line(self, child: Child) -> dict[str, Any]:
        try:
            async with asyncio.timeout(READY_TIMEOUT):
                line = await child.stdout.readline()
        except TimeoutError as error:
            await self.stop()
            raise ConfigurationError(f"{self.name} was not ready after {READY_TIMEOUT:.0f} s") from error
        if not line:
            code = await child.wait()
            last = self.tail(5)
            raise ConfigurationError("\n".join(last) or f"{self.name} ended with exit code {code}")
        endpoints: dict[str, Any] = json.loads(line)["endpoints"]
        return endpoints

    async def _watch(self, child: Child) -> None:
        code = await child.wait()
        self._note(f"{self.name} ended with exit code {code}, {'as asked' if self.stopping else 'by itself'}")
        if not self.stopping:
            log.error("%s ended by itself with exit code %s; its log is %s", self.name, code, self.log_file)

    def _note(self, text: str) -> None:
        """Write into the service's own log, so that whoever follows it sees starts and ends.

        A full disk is no reason to end a service, or not to.
        """
        with suppress(OSError), self.log_file.open("a") as output:
            output.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} supervisor INFO {text}\n")

    @property
    def pid(self) -> int | None:
        """The process ID while the service runs."""
        return None if self._child is None or self._child.ended else self._child.pid

    def send_signal(self, number: signal.Signals) -> None:
        """Raises `ControlError` when there is no process to hear it."""
        if self._child is None or self._child.ended:
            raise ControlError(f"{self.name} is not running")
        self._child.send_signal(number)

    async def stop(self, first: signal.Signals = signal.SIGTERM) -> None:
        """End the process, by force if it does not listen, and wait until it is gone and its end is in the log."""
        child = self._child
        if child is None:
            return
        for number in (first, signal.SIGKILL):
            if not child.ended:
                self.stopping = True
                child.send_signal(number)
                child.send_signal(signal.SIGCONT)  # a paused process would not hear the first
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_TIMEOUT):
                    await child.wait()
                    break
        if self._watcher is not None and child.ended:
            await self._watcher

    async def ledger(self) -> Any:
        """Raises `ControlError` when the service does not answer."""
        assert self.settings.control is not None
        return await control.request(self.settings.control, "ledger")

    def tail(self, lines: int) -> list[str]:
        with suppress(FileNotFoundError):
            return self.log_file.read_text(errors="replace").splitlines()[-lines:]
        return []


class Supervisor:
    """The services of one server, started together."""

    def __init__(
        self,
        plan: Plan,
        programs: Callable[[str], Program] = standard_program,
        *,
        state: Path,
        runtime: Path,
    ) -> None:
        """`state` keeps the logs, `runtime` the control sockets; both are there already."""
        self._plan = plan
        self._stopped = asyncio.Event()
        self._lifeline_read, self._lifeline_write = os.pipe()
        logs = state / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        self._services = {
            name: ServiceProcess(name, settings, programs(name), logs / f"{name}.log", self._lifeline_read)
            for name, settings in plan.services.items()
        }
        self._control = ControlServer(
            runtime / "control.sock",
            {
                "ledger": self._ledger,
                "logs": self._logs,
                "pause": self._pause,
                "restart": self._restart,
                "services": self._pids,
                "start": self._start,
                "stop": self._stop,
            },
        )

    async def start(self) -> dict[str, Any]:
        """Start every service and return the endpoints of the ready line."""
        if self._plan.certificate is not None:
            _issue(self._plan.certificate.ca_file.parent, self._plan.names)
        results = await asyncio.gather(
            *(service.start() for service in self._services.values()), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        await self._control.start()
        by_priority = reversed(results)  # where TURN and the relay both answer STUN, iroh asks the relay
        endpoints = {key: value for result in by_priority for key, value in result.items()}
        return {"control": str(self._control.path), **endpoints}

    async def wait_stopped(self) -> None:
        """Return when somebody asked the server to stop."""
        await self._stopped.wait()

    def ask_to_stop(self) -> None:
        self._stopped.set()

    async def close(self) -> None:
        await self._control.close()
        await asyncio.gather(*(service.stop() for service in self._services.values()))
        os.close(self._lifeline_write)
        os.close(self._lifeline_read)
        if self._plan.claim is not None:
            self._plan.claim.close()

    @property
    def services(self) -> tuple[ServiceProcess, ...]:
        return tuple(self._services.values())

    async def restart(self, service: ServiceProcess, first: signal.Signals) -> None:
        """Replace one service's process, and touch no other."""
        async with service.changing:
            await service.stop(first)
            await service.start()

    # Verbs of the control socket

    def _named(self, fields: Mapping[str, Any]) -> ServiceProcess:
        service = self._services.get(str(fields.get("service")))
        if service is None:
            raise ControlError(f"unknown service; known are {', '.join(sorted(self._services))}")
        return service

    async def _ledger(self, _fields: Mapping[str, Any]) -> dict[str, Any]:
        async def of(service: ServiceProcess) -> Any:
            try:
                return await service.ledger()
            except ControlError as error:
                return {"error": str(error)}

        ledgers = await asyncio.gather(*(of(service) for service in self._services.values()))
        return dict(zip(self._services, ledgers, strict=True))

    async def _logs(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        service = self._named(fields)
        lines = fields.get("lines", LOG_LINES)
        if not isinstance(lines, int) or lines < 1:
            raise ControlError("lines is a positive number")
        return {"path": str(service.log_file), "lines": service.tail(lines)}

    async def _restart(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        service, first = self._named(fields), _signal_of(fields)
        try:
            await self.restart(service, first)
        except ConfigurationError as error:
            raise ControlError(str(error)) from error
        return {"pid": service.pid}

    async def _start(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        service = self._named(fields)
        async with service.changing:
            if service.pid is not None:
                raise ControlError(f"{service.name} is running already")
            try:
                await service.start()
            except ConfigurationError as error:
                raise ControlError(str(error)) from error
        return {"pid": service.pid}

    async def _pause(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        self._named(fields).send_signal(signal.SIGSTOP if fields.get("paused") else signal.SIGCONT)
        return {}

    async def _stop(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        """One service, which stays stopped; without a name all of them, and the server with them."""
        if "service" not in fields:
            self.ask_to_stop()
            return {}
        service, first = self._named(fields), _signal_of(fields)
        async with service.changing:
            if service.pid is None:
                raise ControlError(f"{service.name} is not running")
            await service.stop(first)
        return {}

    async def _pids(self, _fields: Mapping[str, Any]) -> dict[str, Any]:
        return {name: service.pid for name, service in self._services.items()}


def _signal_of(fields: Mapping[str, Any]) -> signal.Signals:
    name = fields.get("signal", "TERM")
    if name not in ("TERM", "KILL"):
        raise ControlError("signal is TERM or KILL")
    return signal.Signals[f"SIG{name}"]


def _issue(directory: Path, names: tuple[str, ...]) -> None:
    from .tls import issue_development_certificate  # noqa: PLC0415 - cryptography is slow to load

    issue_development_certificate(directory, names)
