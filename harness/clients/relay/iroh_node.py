"""Real iroh nodes (package `iroh`, generation 1.x), each caged so that the relay is its only way out.

A node lives in a process and a network namespace of its own (iroh_node_process.py). What it sends to the relay's
address is carried to the real relay here, byte for byte. Two nodes have no other way to each other: what arrives came
through the relay, and nothing of them reaches a real network.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...closing import Closing
from ...hosts import Host, MissingCapability, end_process, how_to_allow_namespaces
from ...urls import RelayUrl
from ...waiting import Deadline, WaitTimeout

__all__ = ["Exchange", "IrohNode", "IrohNodeError", "require_nodes"]

CAGE = ("unshare", "--user", "--map-root-user", "--net")
PATIENCE = 5.0
READ_SIZE = 64 * 1024


class IrohNodeError(Exception):
    """The node could not do what it was asked: it says why."""


@dataclass(frozen=True)
class Exchange:
    """Number of messages that came back unchanged, and the paths of the connection as the node itself names them."""

    echoed: int
    paths: tuple[tuple[str, bool], ...]
    """Remote address, and whether it is a relay."""


def require_nodes(host: Host) -> None:
    """Raises `MissingCapability` where no node can run: `iroh_node`."""
    if importlib.util.find_spec("iroh") is None:
        raise MissingCapability(
            "iroh_node", "the package iroh is not installed", heal="pip install iroh==1.2.0"
        )
    try:
        tried = host.popen([*CAGE, "true"], stderr=subprocess.DEVNULL)
    except OSError:
        raise MissingCapability(
            "iroh_node", "unshare is not installed", heal="apt-get install util-linux"
        ) from None
    if tried.wait(PATIENCE) != 0:
        raise MissingCapability(
            "iroh_node", "this user may not make network namespaces", heal=how_to_allow_namespaces()
        )


class IrohNode(Closing):
    """A node that is online at one relay, and echoes to everybody. Waits raise `WaitTimeout`."""

    def __init__(
        self, host: Host, relay: RelayUrl, log: Path, *, token: str | None = None, within: float = 30.0
    ) -> None:
        """`relay`: plain HTTP at an IP address. `log`: what its process writes. `token`: a secret for the relay."""
        ours, theirs = socket.socketpair()
        with log.open("wb") as output, theirs:
            self._process = host.start_program(
                [
                    *CAGE,
                    sys.executable,
                    "-m",
                    "harness.clients.relay.iroh_node_process",
                    str(theirs.fileno()),
                ],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=[theirs.fileno()],
            )
        self._control = ours
        self._stream = ours.makefile("rb")
        self._bridge: Bridge | None = None
        self._log = log
        deadline = Deadline(within)
        try:
            self._send({"relay": str(relay), "token": token})
            self._bridge = Bridge(host, relay, self._listener(deadline))
            self.node_id = str(self._answer("a node to be online at the relay", deadline)["node_id"])
        except BaseException:
            self.close()
            raise

    def exchange(self, peer: str, *, messages: int, size: int, within: float) -> Exchange:
        """Send messages of `size` random bytes to another node, which sends them back, one after the other."""
        self._send({"peer": peer, "messages": messages, "size": size})
        answer = self._answer("a node's messages to come back", Deadline(within))
        return Exchange(
            int(answer["echoed"]), tuple((str(each[0]), bool(each[1])) for each in answer["paths"])
        )

    def close(self) -> None:
        self._stream.close()
        self._control.close()
        end_process(self._process, patience=PATIENCE)
        if self._bridge is not None:
            self._bridge.close()

    def _send(self, request: dict[str, Any]) -> None:
        self._control.sendall(json.dumps(request).encode() + b"\n")

    def _listener(self, deadline: Deadline) -> socket.socket:
        """The socket on which the caged node expects its relay."""
        self._control.settimeout(deadline.remaining())
        try:
            _, descriptors, _, _ = socket.recv_fds(self._control, 1, 1)
        except TimeoutError:
            raise WaitTimeout("a node's process to start", deadline.within) from None
        if not descriptors:
            raise IrohNodeError(f"a node's process ended at its start: {self._said()}")
        return socket.socket(fileno=descriptors[0])

    def _answer(self, what: str, deadline: Deadline) -> dict[str, Any]:
        self._control.settimeout(max(deadline.remaining(), 0.001))
        try:
            line = self._stream.readline()
        except TimeoutError:
            raise WaitTimeout(what, deadline.within) from None
        if not line:
            raise IrohNodeError(f"a node's process ended: {self._said()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise IrohNodeError(str(answer["error"]))
        return answer

    def _said(self) -> str:
        lines: Sequence[str] = self._log.read_text(errors="replace").splitlines()
        return lines[-1] if lines else "it said nothing"


class Bridge:
    """Carries connections from a cage to the relay, in a thread of its own."""

    def __init__(self, host: Host, relay: RelayUrl, listener: socket.socket) -> None:
        self._host = host
        self._relay = relay
        self._listener = listener
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(),))
        self._thread.start()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()

    async def _serve(self) -> None:
        carried: set[asyncio.Task[None]] = set()

        def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._carry(reader, writer))
            carried.add(task)
            task.add_done_callback(carried.discard)

        server = await asyncio.start_server(accepted, sock=self._listener)
        await self._stop.wait()
        server.close()
        for task in carried:
            task.cancel()
        await asyncio.gather(*carried, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        relay, ends = self._relay, [writer]
        try:
            connection = await asyncio.to_thread(self._host.connect, relay.host, relay.port, within=PATIENCE)
            back, forth = await asyncio.open_connection(sock=connection)
            ends.append(forth)
            async with asyncio.TaskGroup() as both:
                both.create_task(_copy(reader, forth))
                both.create_task(_copy(back, writer))
        except* OSError:
            pass  # like a node's own connection: it breaks, and the node sees that
        finally:
            for end in ends:
                end.transport.abort()
            for end in ends:
                with suppress(OSError):
                    await end.wait_closed()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Returns when the kernel has taken everything."""
    writer.transport.set_write_buffer_limits(high=0)
    while data := await reader.read(READ_SIZE):
        writer.write(data)
        await writer.drain()
    writer.write_eof()
