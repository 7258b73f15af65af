"""A program of somebody else as a process of ours: started, watched until it is ready, disturbed, and ended."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from .. import keeper
from ..closing import Closing
from ..hosts import Host, end_process, output_of
from ..text import clean
from ..waiting import WaitTimeout, wait_until
from .executables import why_not_executed
from .listening import listeners
from .server import Program, ServerError

__all__ = ["Process", "accepts", "free_port", "refuse_taken", "version_of"]

KEEPER = (sys.executable, "-I", "-S", keeper.__file__)
GIVEN_TO_NOBODY = range(10_000, 32_768)
"""Ports below those that the kernel gives to whoever asks for any: one that was free a moment ago is free still."""
STOP_PATIENCE = 10.0
"""Seconds from SIGTERM until it is killed with all that it has started."""
KILL_PATIENCE = 10.0
"""Seconds that the kernel gets to end what was killed."""
TAIL_BYTES = 1 << 16
TAIL_LINES = 20
LINE = 300
"""Characters of a line that are shown."""
VERSION_WITHIN = 20.0
VERSION = re.compile(r"[\w.+~-]{1,60}")


class Process(Program, Closing):
    """One program with all that it starts: none of it outlives its end, nor ours (see `keeper`)."""

    def __init__(
        self,
        name: str,
        host: Host,
        command: Sequence[str | Path],
        *,
        log: Path,
        ready: Callable[[], object],
        ready_when: str | Callable[[], str],
        within: float,
        version: str = "",
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        patience: float = STOP_PATIENCE,
        before_start: Callable[[], object] | None = None,
    ) -> None:
        """`ready`: whether it is; `ready_when` completes "did not ...", such as "answer STUN at 127.0.0.1:3478", and
        may be asked for when it is not. `directory`: where it runs. `patience`: seconds from `stop_signal` until it is
        killed. `before_start`: done before each.

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
        self._directory = directory
        self._stop_signal = stop_signal
        self._patience = patience
        self._before_start = before_start or (lambda: None)
        self._keeper: subprocess.Popen[bytes] | None = None
        self._pid = 0
        self._began = 0
        """Size of the log at the last start."""

    @property
    def log(self) -> Path:
        return self._log

    @property
    def pid(self) -> int:
        """Of the process that runs now. Raises `ServerError` when there is none."""
        self._alive()
        return self._pid

    def start(self) -> None:
        if self._keeper is not None and self._keeper.poll() is None:
            raise ServerError(f"{self.name} runs already")
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._before_start()
        self._execute()
        try:
            wait_until(self._is_ready, f"{self.name} to be ready", within=self._within)
        except WaitTimeout:
            elsewhere = listeners(self._family())
            self.close()
            lacking = self._ready_when if isinstance(self._ready_when, str) else self._ready_when()
            what = f"runs, and did not {lacking} within {self._within:g} s"
            what += f"; it listens at {', '.join(elsewhere)}" if elsewhere else "; it listens nowhere"
            raise ServerError(self._explain(what)) from None
        except BaseException:
            self.close()
            raise

    def stop(self) -> None:
        self._alive()
        self.close()

    def kill(self) -> None:
        running = self._alive()
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        running.wait(KILL_PATIENCE)

    def pause(self) -> None:
        self._alive()
        paused: set[int] = set()
        while more := set(self._family()) - paused:  # until none has started another one meanwhile
            _signal(more, signal.SIGSTOP)
            paused |= more

    def resume(self) -> None:
        self._alive()
        _signal(self._family(), signal.SIGCONT)

    def close(self) -> None:
        """End it and whatever it has started. A second call does nothing."""
        running = self._keeper
        if running is None:
            return
        if running.poll() is None:
            _signal(self._family(), self._stop_signal, signal.SIGCONT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(self._patience)
        end_process(running, patience=KILL_PATIENCE)
        self._keeper = None

    def ends_within(self, seconds: float) -> bool:
        """Wait for the end that it comes to by itself, so long at most; True: it has ended."""
        if self._keeper is None:
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._keeper.wait(seconds)
        return self._keeper.poll() is not None

    def output(self) -> str:
        """All that it has written since it was started."""
        with self._log.open("rb") as file:
            file.seek(self._began)
            return file.read().decode(errors="replace")

    def _execute(self) -> None:
        status, answer = os.pipe()
        with os.fdopen(status, "rb") as told:
            try:
                with self._log.open("ab") as output:
                    self._began = output.tell()
                    self._keeper = self._host.start_program(
                        [*KEEPER, str(os.getpid()), str(answer), *self._command],
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=output,
                        env=self._environment,
                        cwd=self._directory,
                        process_group=0,
                        pass_fds=[answer],
                    )
            except OSError as error:
                raise ServerError(f"{self.name} does not start: {error}") from error
            finally:
                os.close(answer)
            number = int(told.read() or -errno.ECHILD)
        if number < 0:
            self.close()
            raise ServerError(f"{self.name} does not start: {why_not_executed(self._command[0], -number)}")
        self._pid = number

    def _alive(self) -> subprocess.Popen[bytes]:
        if self._keeper is None or self._keeper.poll() is not None:
            raise ServerError(self._explain("is not running"))
        return self._keeper

    def _is_ready(self) -> bool:
        assert self._keeper is not None
        code = self._keeper.poll()
        if code is not None:
            hint = " (a program that goes into the background is not watched)" if code == 0 else ""
            raise ServerError(self._explain(f"ended with {_ending(code)} before it was ready{hint}"))
        return bool(self._ready())

    def _family(self) -> list[int]:
        """Process IDs of the program and of all that it has started."""
        found = [] if self._keeper is None else keeper.children_of(self._keeper.pid)
        for each in found:  # grows
            found += keeper.children_of(each)
        return found

    def _explain(self, what: str) -> str:
        tail = [clean(line, LINE) for line in _last_lines(self._log, self._began)]
        said = "\n  ".join(tail) if tail else "(nothing)"
        return f"{self.name} {what}. The end of {self._log}:\n  {said}"


def accepts(host: Host, address: str, port: int) -> bool:
    """Something accepts TCP connections there."""
    try:
        host.connect(address, port, within=1.0).close()
    except OSError:
        return False
    return True


def free_port(host: Host, address: str, *, rather: int | None = None) -> int:
    """A port that was free for both TCP and UDP a moment ago; `rather`: this one, if it was."""
    if rather is not None:
        with contextlib.suppress(ServerError):
            refuse_taken(host, "", address, {"tcp": [rather], "udp": [rather]})
            return rather
    for _attempt in range(50):
        port = secrets.choice(GIVEN_TO_NOBODY)
        with contextlib.suppress(ServerError):
            refuse_taken(host, "", address, {"tcp": [port], "udp": [port]})
            return port
    raise ServerError(f"found no free port of {address} in 50 tries")


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
                        f"{name} needs {protocol.upper()} port {number} of {address}: "
                        f"{os.strerror(error.errno or 0)}"
                    ) from error


def version_of(host: Host, program: str | Path, *arguments: str) -> str:
    """The last word that can be a version in what a program says of its own; empty where there is none.

    Raises `ServerError` when it cannot be executed.
    """
    try:
        code, said = output_of(host, [program, *(arguments or ("--version",))], within=VERSION_WITHIN)
    except TimeoutError:
        return ""
    except OSError as error:
        raise ServerError(
            f"{Path(program).name} does not start: {why_not_executed(program, error.errno or 0)}"
        ) from error
    if code != 0:
        return ""
    words = reversed(said.split())
    return next(filter(VERSION.fullmatch, words), "")


def _signal(processes: Iterable[int], *numbers: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            for number in numbers:
                os.kill(process, number)


def _last_lines(file: Path, begin: int) -> list[str]:
    """The last ones behind that offset."""
    if not file.exists():
        return []
    with file.open("rb") as opened:
        opened.seek(max(begin, file.stat().st_size - TAIL_BYTES))
        return opened.read().decode(errors="replace").splitlines()[-TAIL_LINES:]


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name
