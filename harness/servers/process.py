"""A program of somebody else as a process of ours: started, watched until it is ready, disturbed, and ended."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..closing import Closing
from ..hosts import Host, MissingCapability, end_process
from ..waiting import WaitTimeout, wait_until
from .server import Program, ServerError

__all__ = ["Process", "accepts", "free_port", "refuse_taken", "version_of"]

STOP_PATIENCE = 10.0
"""Seconds from SIGTERM until the whole process group is killed."""
TAIL_LINES = 20
LINE = 300
"""Characters of a line that are shown."""
VERSION_WITHIN = 20.0


class Process(Program, Closing):
    """One process with its children: a process group of its own, which ends with us even when we are killed."""

    def __init__(
        self,
        name: str,
        host: Host,
        command: Sequence[str | Path],
        *,
        log: Path,
        ready: Callable[[], object],
        ready_when: str,
        within: float,
        version: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`ready`: whether it is; `ready_when` completes "did not ...", such as "answer STUN at 127.0.0.1:3478".

        Nothing runs before `start`.
        """
        self.name = name
        self.version = version
        self._host = host
        self._command = [str(word) for word in command]
        self._log = log
        self._ready = ready
        self._ready_when = ready_when
        self._within = within
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self._log

    @property
    def pid(self) -> int:
        """Of the process that runs now. Raises `ServerError` when there is none."""
        return self._alive().pid

    def start(self) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._log.open("ab") as output:
                self._process = self._host.start_program(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env=self._environment,
                    process_group=0,
                )
        except OSError as error:
            raise ServerError(f"{self.name} does not start: {error.strerror} ({self._command[0]})") from error
        try:
            wait_until(self._is_ready, f"{self.name} to {self._ready_when}", within=self._within)
        except WaitTimeout:
            self.close()
            raise ServerError(
                self._explain(f"runs, and did not {self._ready_when} within {self._within:g} s")
            ) from None
        except BaseException:
            self.close()
            raise

    def stop(self) -> None:
        process = self._alive()
        os.kill(process.pid, signal.SIGCONT)
        end_process(process, patience=STOP_PATIENCE)
        self._kill_group(process)

    def kill(self) -> None:
        process = self._alive()
        process.kill()
        process.wait()

    def pause(self) -> None:
        os.kill(self._alive().pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self._alive().pid, signal.SIGCONT)

    def close(self) -> None:
        """End it and whatever it has started. A second call does nothing."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGCONT)
            end_process(process, patience=STOP_PATIENCE)
        self._kill_group(process)

    def _alive(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            raise ServerError(self._explain("is not running"))
        return self._process

    def _is_ready(self) -> bool:
        assert self._process is not None
        code = self._process.poll()
        if code is not None:
            raise ServerError(self._explain(f"ended with {_ending(code)} before it was ready"))
        return bool(self._ready())

    def _kill_group(self, process: subprocess.Popen[bytes]) -> None:
        """Children that outlived the program; the group's number is not given away while one of them lives."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)

    def _explain(self, what: str) -> str:
        lines = self._log.read_text(errors="replace").splitlines() if self._log.exists() else []
        tail = [line[:LINE] for line in lines[-TAIL_LINES:]]
        said = "\n  ".join(tail) if tail else "(nothing)"
        return f"{self.name} {what}. The end of {self._log}:\n  {said}"


def accepts(host: Host, address: str, port: int) -> bool:
    """Something accepts TCP connections there."""
    try:
        host.connect(address, port, within=1.0).close()
    except OSError:
        return False
    return True


def free_port(host: Host, address: str) -> int:
    """A TCP port that was free for both TCP and UDP a moment ago."""
    while True:
        with (
            host.socket(socket.AF_INET, socket.SOCK_STREAM) as stream,
            host.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram,
        ):
            stream.bind((address, 0))
            port = int(stream.getsockname()[1])
            with contextlib.suppress(OSError):
                datagram.bind((address, port))
                return port


def refuse_taken(host: Host, name: str, address: str, ports: Mapping[str, Sequence[int]]) -> None:
    """Raise `ServerError` if a port that a program needs is taken. `ports`: by `tcp` and `udp`."""
    kinds = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
    for protocol, numbers in ports.items():
        for number in numbers:
            with host.socket(socket.AF_INET, kinds[protocol]) as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(protocol == "tcp"))
                try:
                    trial.bind((address, number))
                except OSError as error:
                    raise ServerError(
                        f"{name} needs {protocol.upper()} port {number} of {address}: {error.strerror}"
                    ) from error


def version_of(host: Host, program: str | Path, *arguments: str) -> str:
    """The last word of what a program says of its version. Raises `MissingCapability` when it cannot be run."""
    try:
        process = host.popen(
            [program, *(arguments or ("--version",))],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        output, _ = process.communicate(timeout=VERSION_WITHIN)
    except OSError as error:
        raise MissingCapability(
            Path(program).name,
            f"{program} cannot be run on this machine ({error.strerror})",
            heal="install it, or give the path of another one",
        ) from error
    except subprocess.TimeoutExpired:
        end_process(process, patience=0)
        return ""
    words = output.decode(errors="replace").split()
    return words[-1] if words and process.returncode == 0 else ""


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
