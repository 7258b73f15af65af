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
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import control
from .certificates import DevelopmentCertificate
from .control import ControlError, ControlServer
from .service import LIFELINE, ConfigurationError
from .settings import ServerSettings, TurnServer

__all__ = ["Command", "ServiceProcess", "Supervisor", "standard_command"]

READY_TIMEOUT = 30.0
STOP_TIMEOUT = 5.0
LOG_LINES = 200

log = logging.getLogger(__name__)

Command = Callable[[str, Sequence[str]], list[str]]
"""From a service's name and arguments to the program to run. `mutants` puts others in place here."""


def standard_command(service: str, arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", f"reference_server.{service}", *arguments]


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
        self._note(f"{self.name} is ready, process {self._process.pid}")
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
        return None if self._process is None or _has_ended(self._process) else self._process.pid

    def send_signal(self, number: signal.Signals) -> None:
        if (pid := self.pid) is None:
            raise ControlError(f"{self.name} is not running")
        os.kill(pid, number)

    async def stop(self, first: signal.Signals = signal.SIGTERM) -> None:
        """End the process, by force if it does not listen, and wait until it is gone and its end is in the log."""
        process = self._process
        if process is None:
            return
        for number in (first, signal.SIGKILL):
            if not _has_ended(process):
                self.stopping = True
                with suppress(ProcessLookupError):
                    os.kill(process.pid, number)
                    os.kill(process.pid, signal.SIGCONT)  # a paused process would not hear the first
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_TIMEOUT):
                    await process.wait()
                    break
        if self._watcher is not None and process.returncode is not None:
            await self._watcher

    def tail(self, lines: int) -> list[str]:
        with suppress(FileNotFoundError):
            return self.log_file.read_text(errors="replace").splitlines()[-lines:]
        return []


def _has_ended(process: asyncio.subprocess.Process) -> bool:
    """Ask the kernel, and leave the exit code for asyncio to collect.

    `Process.send_signal` would collect it in passing, and asyncio would then report an unknown process and code 255.
    """
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True  # collected already


def _issue(directory: Path, names: Sequence[str]) -> None:
    from .tls import issue_development_certificate  # noqa: PLC0415 - cryptography is slow to load

    issue_development_certificate(directory, names)


class Supervisor:
    """The services of one server, started together."""

    def __init__(
        self, settings: ServerSettings, claim: socket.socket | None, command: Command = standard_command
    ) -> None:
        """`claim` is the server's UDP 3478, for TURN or the relay to answer STUN on."""
        self.settings = settings
        self._stopped = asyncio.Event()
        self._runtime = Path(tempfile.mkdtemp(prefix="dc-server-"))  # mode 0700; short, for unix socket paths
        self._lifeline_read, self._lifeline_write = os.pipe()
        self._claim = claim
        self._command = command
        turn = settings.turn
        turn_has_stun = turn is not None and turn.answers_stun_on(settings.host)
        stun = [] if claim is None else [claim.fileno()]
        for_turn, for_relay = (stun, []) if turn_has_stun else ([], stun)
        self._services = {
            "iroh_relay": self._service("iroh_relay", self._relay_arguments(for_relay), *for_relay),
            "mail": self._service("mail", self._mail_arguments()),
        }
        if turn is not None:
            self._services["turn"] = self._service("turn", self._turn_arguments(turn, for_turn), *for_turn)
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
        certificate = asyncio.create_task(self._issue_certificate())
        results = await asyncio.gather(
            *(self._start(service, certificate) for service in self._services.values()),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        await self._control.start()
        by_priority = reversed(results)  # where TURN and the relay both answer STUN, iroh asks the relay
        endpoints = {key: value for result in by_priority for key, value in result.items()}
        return {"control": str(self._control.path), **endpoints}

    async def _start(self, service: ServiceProcess, certificate: asyncio.Task[None]) -> dict[str, Any]:
        if service.name != "iroh_relay":  # which has its own files, if any: it starts in the meantime
            await certificate
        return await service.start()

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
        if self._claim is not None:
            self._claim.close()
        shutil.rmtree(self._runtime, ignore_errors=True)

    @property
    def services(self) -> tuple[ServiceProcess, ...]:
        return tuple(self._services.values())

    async def restart(self, service: ServiceProcess, first: signal.Signals) -> None:
        """Replace one service's process, and touch no other."""
        await service.stop(first)
        await service.start()

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
        arguments: dict[str, object] = {
            "--state": settings.state / "mail",
            "--host": settings.host,
            "--imaps-port": ports.imaps,
            "--imap-port": ports.imap,
            "--submissions-port": ports.submissions,
            "--submission-port": ports.submission,
            "--https-port": ports.https,
            "--domain": settings.domain,
            "--dialect": settings.dialect,
            "--password-hash-cost": settings.hash_cost,
        }
        if settings.iroh_relay_url is not None:
            arguments["--iroh-relay-url"] = settings.iroh_relay_url
        arguments["--tls-cert"], arguments["--tls-key"] = self._certificate
        if settings.certificate is None:
            arguments["--tls-ca"] = self._own_certificate.ca_file
        if (offer := settings.turn_offer) is not None:
            arguments |= {
                "--turn-address": offer.turn,
                "--turn-secret-file": self._turn_secret_file(),
                "--turn-ttl": offer.ttl,
            }
            if offer.turns is not None:
                arguments["--turns-address"] = offer.turns
        if settings.messages_per_minute is not None:
            arguments["--messages-per-minute"] = settings.messages_per_minute
        words = [str(word) for pair in arguments.items() for word in pair]
        return [*words, "--compress"] if settings.compress else words

    def _relay_arguments(self, stun: Sequence[int]) -> list[str]:
        file = self._runtime / "iroh-relay.toml"
        file.write_text(f"# written by the supervisor at each start\n{self.settings.relay_config}")
        fds = [word for number in stun for word in ("--stun-fd", str(number))]
        return ["--config-path", str(file), *fds]

    def _turn_arguments(self, turn: TurnServer, stun: Sequence[int]) -> list[str]:
        certificate, key = turn.certificate or self._certificate
        arguments: dict[str, object] = {
            "--realm": turn.realm,
            "--secret-file": self._turn_secret_file(),
            "--cert": certificate,
            "--key": key,
        }
        if turn.relay_ip is not None:
            arguments["--relay-ip"] = turn.relay_ip
        words = [str(word) for pair in arguments.items() for word in pair]
        words += [f"--udp-fd={number}" for number in stun]
        return [*words, *turn.options, *(f"--listen={listener}" for listener in turn.listeners)]

    @property
    def _own_certificate(self) -> DevelopmentCertificate:
        return DevelopmentCertificate.of(self.settings.state / "tls")

    @property
    def _certificate(self) -> tuple[Path, Path]:
        """One for mail and TURN, so that one CA is enough for clients."""
        own = self._own_certificate
        return self.settings.certificate or (own.certificate_file, own.key_file)

    async def _issue_certificate(self) -> None:
        """In a thread: loading cryptography takes longer than starting a process."""
        settings = self.settings
        if settings.certificate is None:
            names = [settings.host, settings.domain]
            await asyncio.to_thread(_issue, self._own_certificate.ca_file.parent, names)

    def _turn_secret_file(self) -> Path:
        """What mail and TURN share, in a file that only its owner can read."""
        file = self._runtime / "turn-secret"
        if not file.exists():
            file.touch(mode=0o600)
            secret = self.settings.turn_secret or secrets.token_urlsafe(32)
            file.write_bytes(secret.encode() + b"\n")
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
        try:
            await self.restart(service, signal.Signals[f"SIG{name}"])
        except ConfigurationError as error:
            raise ControlError(str(error)) from error
        return {"pid": service.pid}

    async def _pause(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        self._named(fields).send_signal(signal.SIGSTOP if fields.get("paused") else signal.SIGCONT)
        return {}

    async def _stop(self, _fields: Mapping[str, Any]) -> dict[str, Any]:
        self.ask_to_stop()
        return {}
