"""Starts, watches, restarts and stops the services of one server; each is a process of its own.

A service that dies unasked is reported and left dead: a test server that heals itself would hide the fault.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import control
from .addresses import STUN_PORT, TURNS_PORT, Ports
from .control import ControlError, ControlServer
from .service import LIFELINE, ConfigurationError
from .tls import DevelopmentCertificate, issue_development_certificate

__all__ = ["Command", "ServerSettings", "Supervisor", "standard_command"]

READY_TIMEOUT = 30.0
STOP_TIMEOUT = 5.0
LOG_LINES = 200

log = logging.getLogger(__name__)

Command = Callable[[str, Sequence[str]], list[str]]
"""From a service's name and arguments to the program to run. `mutants` puts others in place here."""


def standard_command(service: str, arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", f"reference_server.{service}", *arguments]


@dataclass(frozen=True)
class ServerSettings:
    """One server: where it lives and what it says."""

    state: Path
    host: str
    ports: Ports
    domain: str = "chatmail.test"
    dialect: str = "chatmail"
    ledger: bool = False
    public: bool = False
    hash_cost: str = "low"
    turn: bool = True
    """Needs an IPv4 address: the METADATA line of TURN cannot carry another one."""
    turn_ttl: int = 86400
    """Seconds that the TURN credentials of METADATA are valid."""

    @property
    def iroh_relay_url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.ports.iroh_relay}"


class ServiceProcess:
    """One service as a child process: its ready line, its log and its control socket."""

    def __init__(
        self, name: str, command: Sequence[str], log_file: Path, control_path: Path, fds: Sequence[int]
    ) -> None:
        self.name = name
        self.command = command
        self.log_file = log_file
        self.control_path = control_path
        self.fds = fds
        self.stopping = False
        self._process: asyncio.subprocess.Process | None = None
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> dict[str, Any]:
        """Run the program and return the endpoints of its ready line."""
        self.stopping = False
        lifeline = next(iter(self.fds))
        with self.log_file.open("ab") as log_output:
            self._process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log_output,
                pass_fds=self.fds,
                env={**os.environ, LIFELINE: str(lifeline)},
                start_new_session=True,  # Ctrl-C reaches the supervisor, which ends the services in order
            )
        endpoints = await self._ready_line()
        self._watcher = asyncio.create_task(self._watch(self._process))
        return endpoints

    async def _ready_line(self) -> dict[str, Any]:
        assert self._process is not None and self._process.stdout is not None
        try:
            async with asyncio.timeout(READY_TIMEOUT):
                line = await self._process.stdout.readline()
        except TimeoutError as error:
            await self.stop()
            raise ConfigurationError(f"{self.name} was not ready after {READY_TIMEOUT:.0f} s") from error
        if not line:
            code = await self._process.wait()
            last = self.tail(5)
            raise ConfigurationError("\n".join(last) or f"{self.name} ended with exit code {code}")
        endpoints: dict[str, Any] = json.loads(line)["endpoints"]
        return endpoints

    async def _watch(self, process: asyncio.subprocess.Process) -> None:
        code = await process.wait()
        if not self.stopping:
            log.error("%s ended by itself with exit code %s; its log is %s", self.name, code, self.log_file)

    @property
    def pid(self) -> int | None:
        """The process ID while the service runs."""
        if self._process is None or self._process.returncode is not None:
            return None
        return self._process.pid

    def send_signal(self, number: signal.Signals) -> None:
        if self._process is None or self._process.returncode is not None:
            raise ControlError(f"{self.name} is not running")
        self._process.send_signal(number)

    async def stop(self, first: signal.Signals = signal.SIGTERM) -> None:
        """End the process, by force if it does not listen, and wait until it is gone."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        self.stopping = True
        for number in (first, signal.SIGKILL):
            with suppress(ProcessLookupError):
                process.send_signal(number)
                process.send_signal(signal.SIGCONT)  # a paused process would not hear the first
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_TIMEOUT):
                    await process.wait()
                    return

    def tail(self, lines: int) -> list[str]:
        with suppress(FileNotFoundError):
            return self.log_file.read_text(errors="replace").splitlines()[-lines:]
        return []


class Supervisor:
    """The services of one server, started together."""

    def __init__(
        self, settings: ServerSettings, claim: socket.socket, command: Command = standard_command
    ) -> None:
        self.settings = settings
        self._stopped = asyncio.Event()
        self._runtime = Path(tempfile.mkdtemp(prefix="dc-server-"))  # mode 0700; short, for unix socket paths
        self._lifeline_read, self._lifeline_write = os.pipe()
        self._claim = claim
        self._command = command
        stun = (claim.fileno(),)
        self._services = {
            "iroh_relay": self._service(
                "iroh_relay", self._relay_arguments(), *(() if settings.turn else stun)
            ),
            "mail": self._service("mail", self._mail_arguments()),
        }
        if settings.turn:
            self._services["turn"] = self._service("turn", self._turn_arguments(), *stun)
        self._control = ControlServer(
            self._runtime / "control.sock",
            {
                "ledger": self._ledger,
                "logs": self._logs,
                "restart": self._restart,
                "pause": self._pause,
                "stop": self._stop,
            },
        )

    async def start(self) -> dict[str, Any]:
        """Start every service and return the endpoints of the ready line."""
        results = await asyncio.gather(
            *(service.start() for service in self._services.values()), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        await self._control.start()
        endpoints = {key: value for result in results for key, value in result.items()}  # type: ignore[union-attr]
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
        self._claim.close()
        shutil.rmtree(self._runtime, ignore_errors=True)

    # How the services are started

    def _service(self, name: str, arguments: Sequence[str], *fds: int) -> ServiceProcess:
        control_path = self._runtime / f"{name}.sock"
        arguments = [*arguments, "--control", str(control_path)]
        if self.settings.ledger:
            arguments.append("--ledger")
        if self.settings.public:
            arguments.append("--public")
        logs = self.settings.state / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        command = self._command(name, arguments)
        return ServiceProcess(name, command, logs / f"{name}.log", control_path, (self._lifeline_read, *fds))

    def _mail_arguments(self) -> list[str]:
        settings, ports = self.settings, self.settings.ports
        arguments = {
            "--state": settings.state / "mail",
            "--host": settings.host,
            "--imaps-port": ports.imaps,
            "--imap-port": ports.imap,
            "--submissions-port": ports.submissions,
            "--submission-port": ports.submission,
            "--https-port": ports.https,
            "--domain": settings.domain,
            "--dialect": settings.dialect,
            "--iroh-relay-url": settings.iroh_relay_url,
            "--password-hash-cost": settings.hash_cost,
        }
        if settings.turn:
            arguments |= {
                "--turn-address": f"{settings.host}:{STUN_PORT}",
                "--turn-secret-file": self._turn_secret_file(),
                "--turn-ttl": settings.turn_ttl,
            }
        return [str(word) for pair in arguments.items() for word in pair]

    def _relay_arguments(self) -> list[str]:
        """Write the relay's own configuration file: the same one that a stand-alone relay reads."""
        settings = self.settings
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        file = settings.state / "iroh-relay.toml"
        file.write_text(
            "# written by the supervisor at each start\n"
            "enable_relay = true\n"
            f'http_bind_addr = "{host}:{settings.ports.iroh_relay}"\n'
            f"enable_stun = {'false' if settings.turn else 'true'}\n"
            f'stun_bind_addr = "{host}:{STUN_PORT}"\n'
            "enable_metrics = false\n"
            'access = "everyone"\n'
        )
        stun = [] if settings.turn else ["--stun-fd", str(self._claim.fileno())]
        return ["--config-path", str(file), *stun]

    def _turn_arguments(self) -> list[str]:
        """TURN takes the place of the relay on UDP 3478 and answers STUN there."""
        host, certificate = self.settings.host, self._certificate()
        arguments: dict[str, object] = {
            "--realm": self.settings.domain,
            "--secret-file": self._turn_secret_file(),
            "--cert": certificate.certificate_file,
            "--key": certificate.key_file,
            "--udp-fd": self._claim.fileno(),
        }
        listeners = (f"udp://{host}:{STUN_PORT}", f"tcp://{host}:{STUN_PORT}", f"tls://{host}:{TURNS_PORT}")
        words = [str(word) for pair in arguments.items() for word in pair]
        return [*words, *(f"--listen={listener}" for listener in listeners)]

    def _certificate(self) -> DevelopmentCertificate:
        """The one of the mail service, so that one CA is enough for clients."""
        settings = self.settings
        return issue_development_certificate(
            settings.state / "mail" / "tls", [settings.host, settings.domain]
        )

    def _turn_secret_file(self) -> Path:
        """What mail and TURN share: a new secret for each run, in a file that only its owner can read."""
        file = self._runtime / "turn-secret"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(secrets.token_urlsafe(32) + "\n")
        return file

    # Verbs of the control socket

    def _named(self, fields: Mapping[str, Any]) -> ServiceProcess:
        service = self._services.get(str(fields.get("service")))
        if service is None:
            raise ControlError(f"unknown service; known are {', '.join(sorted(self._services))}")
        return service

    async def _ledger(self, _fields: Mapping[str, Any]) -> dict[str, Any]:
        async def of(service: ServiceProcess) -> Any:
            try:
                return await control.request(service.control_path, "ledger")
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
        service = self._named(fields)
        name = fields.get("signal", "TERM")
        if name not in ("TERM", "KILL"):
            raise ControlError("signal is TERM or KILL")
        await service.stop(signal.Signals[f"SIG{name}"])
        try:
            await service.start()
        except ConfigurationError as error:
            raise ControlError(str(error)) from error
        return {"pid": service.pid}

    async def _pause(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        self._named(fields).send_signal(signal.SIGSTOP if fields.get("paused") else signal.SIGCONT)
        return {}

    async def _stop(self, _fields: Mapping[str, Any]) -> dict[str, Any]:
        self.ask_to_stop()
        return {}
