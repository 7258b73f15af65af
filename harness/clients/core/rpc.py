"""deltachat-rpc-client's `Rpc` with what a test harness needs: a host, deadlines, timed events, and a certain end.

The base class starts its process itself, waits for ever for an answer, lets an unread stderr pipe fill up, and waits
for ever at close. Its reader and writer loops, and the wire format, are used as they are.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from queue import Empty, Queue
from typing import Any

from deltachat_rpc_client import AttrDict
from deltachat_rpc_client.rpc import Rpc, RpcMethod

from ...errors import plain
from ...hosts import Host, end_process
from ...waiting import WaitTimeout, now
from .eras import Era, era_of
from .errors import CoreDied, CoreError, CoreUnusable

__all__ = ["CoreRpc"]

LONG_POLLS = frozenset({"get_next_event", "get_next_event_batch"})
PROCESS_ENDED = -32000
"""The error code that the base class gives to requests whose answer cannot come any more."""
CLOSE_PATIENCE = 3.0
"""Seconds for each step of ending a process."""
TAIL_LINES = 20

EventSink = Callable[[Sequence[Mapping[str, Any]], float], None]


class CoreRpc(Rpc):
    """One core process. Every request has a deadline; `sink` gets each batch of events, and [] when they end."""

    def __init__(
        self,
        host: Host,
        binary: Path,
        *,
        accounts: Path,
        stderr: Path,
        sink: EventSink,
        within: float,
        environment: Mapping[str, str],
    ) -> None:
        super().__init__(rpc_server_path=str(binary))
        self._host = host
        self._environment = {**os.environ, **environment, "DC_ACCOUNTS_PATH": str(accounts)}
        self._stderr = stderr
        self._sink = sink
        self.within = within

    @staticmethod
    def attributes(fields: Mapping[str, Any]) -> AttrDict:
        """Fields of an event as the library gives them: msgId as `msg_id`."""
        return AttrDict(fields)

    def start(self) -> None:
        """Start the process and wait until it answers. Raises `CoreUnusable`, or `CoreDied`, if it does not."""
        try:
            with self._stderr.open("wb") as stderr:
                self.process = self._host.start_program(
                    [self.rpc_server_path],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    env=self._environment,
                    process_group=0,  # Ctrl-C in the terminal is for the harness, which then closes its cores
                )
        except OSError as error:
            raise CoreUnusable(f"{self.rpc_server_path} does not start: {plain(error)}") from error
        self.id_iterator = itertools.count(start=1)
        self.event_queues = {}
        self.request_results = {}
        self.request_queue = Queue()
        self.request_queue_closed = False
        self.closing = False
        self._threads: list[threading.Thread] = []
        self._run(self.reader_loop)
        self._run(self.writer_loop)
        self.version = self._ask_version()
        try:
            self.era: Era = era_of(self.version)
        except ValueError as error:
            raise CoreUnusable(str(error)) from error
        self._run(self.events_loop)

    def _ask_version(self) -> str:
        try:
            info = self.get_system_info()
        except (CoreError, WaitTimeout) as error:
            raise CoreUnusable(f"{self.rpc_server_path} does not answer as a core: {error}") from error
        version = info.get("deltachat_core_version") if isinstance(info, dict) else None
        if not isinstance(version, str):
            raise CoreUnusable(f"{self.rpc_server_path} does not answer as a core: it has no version")
        return version

    def _run(self, loop: Callable[[], None]) -> None:
        self._threads.append(threading.Thread(target=loop, daemon=True))
        self._threads[-1].start()

    def events_loop(self) -> None:
        """Hand over events as they come, until the process ends."""
        try:
            with contextlib.suppress(CoreDied):
                while batch := self.era.next_events(self):
                    self._sink(batch, now())
        finally:
            self._sink([], now())

    def close(self) -> None:
        """End the process and reap it, within a few times `CLOSE_PATIENCE` whatever state it is in.

        Core leaves by itself when its stdin ends. What it does not do in time is done by SIGTERM, then SIGKILL.
        """
        self.closing = True
        assert self.process.stdin is not None and self.process.stdout is not None
        _reader, writer, *_ = self._threads
        self.request_queue.put(None)  # ends the writer loop
        writer.join(CLOSE_PATIENCE)
        if not writer.is_alive():  # else it hangs in a write, and closing its pipe would hang as well
            with contextlib.suppress(OSError):
                self.process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(CLOSE_PATIENCE)
        end_process(self.process, patience=CLOSE_PATIENCE)
        for thread in self._threads:
            thread.join()  # each of them sees the end of its pipe
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        self.process.stdout.close()

    def died(self) -> CoreDied:
        """The error to raise when the process is gone."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(CLOSE_PATIENCE)  # its pipes end a moment before the process does
        tail = self._stderr.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        said = "\n  ".join(tail) if tail else "(nothing)"
        code = self.process.returncode
        what = "reports no more events" if code is None else f"ended with exit code {code}"
        return CoreDied(f"the core process {self.process.pid} {what}. The end of {self._stderr}:\n  {said}")

    def __getattr__(self, attr: str) -> Any:
        return _Method(self, attr)


class _Method(RpcMethod):
    """A request whose answer does not come for ever."""

    rpc: CoreRpc

    def future(self, *args: Any) -> Callable[[], Any]:
        """Send the request; the returned function waits for the answer."""
        rpc = self.rpc
        answers: Queue[dict[str, Any]] = Queue()
        request_id = next(rpc.id_iterator)
        rpc.request_results[request_id] = answers  # before the test below: see the base class
        if rpc.request_queue_closed:
            rpc._fail_request(request_id)
        else:
            rpc.request_queue.put({"jsonrpc": "2.0", "method": self.name, "params": args, "id": request_id})

        def result() -> Any:
            try:
                answer = answers.get(timeout=None if self.name in LONG_POLLS else rpc.within)
            except Empty:
                raise WaitTimeout(f"core's answer to {self.name}", rpc.within) from None
            if "error" in answer:
                if answer["error"].get("code") == PROCESS_ENDED:
                    raise rpc.died()
                raise CoreError(f"{self.name}: {answer['error'].get('message')}")
            return answer.get("result")

        return result
