"""A server that somebody else runs, with moods: between a client and its IMAP stands a program that answers at will."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.hosts import LocalHost
from harness.servers.endpoints import read_endpoints
from harness.servers.reference import Reference
from harness.servers.server import Wants
from harness.stage.options import Choice
from harness.stage.session import loopback_place

__all__ = ["Mood", "moody_server"]

Mood = Callable[[bytes, bytes, int], bytes | None]
"""Gets tag and command of a client, and the number of the command among all. Gives what is said in place of what the
server would answer; empty: nothing, and the connection is closed; None: the server may answer by itself."""


@dataclass(frozen=True)
class _Between:
    """Takes the lines of clients, and hands them on. One thread for all: TLS sockets are no good in two."""

    server: tuple[str, int]
    own: ssl.SSLContext
    theirs: ssl.SSLContext
    mood: Mood
    numbers: Iterator[int]

    async def serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            server, to_server = await asyncio.open_connection(
                *self.server, ssl=self.theirs, server_hostname=self.server[0]
            )
            pouring = asyncio.create_task(_pour(server, to_client))
            try:
                await self._listen(client, to_client, to_server)
            finally:
                pouring.cancel()
                to_server.transport.abort()
                to_client.transport.abort()

    async def _listen(
        self,
        client: asyncio.StreamReader,
        to_client: asyncio.StreamWriter,
        to_server: asyncio.StreamWriter,
    ) -> None:
        while line := await client.readline():
            tag, _, command = line.strip().partition(b" ")
            said = self.mood(tag, command.upper(), next(self.numbers))
            if said == b"":
                return
            (to_server if said is None else to_client).write(line if said is None else said)


async def _pour(source: asyncio.StreamReader, into: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(65536):
            into.write(data)
        into.close()


@contextmanager
def _listening(between: _Between, host: str) -> Iterator[int]:
    """The port at which it listens, in a thread of its own, until the block ends."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(between.serve, host, 0, ssl=between.own))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.run_until_complete(_end_the_others())
        loop.close()


async def _end_the_others() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)  # what was aborted is closed in the next round


@contextmanager
def moody_server(directory: Path, mood: Mood) -> Iterator[Choice]:
    """How a run is asked for it."""
    place = loopback_place(directory / "state", directory / "logs")
    with Reference().start(LocalHost(), place, Wants()) as server:
        target = server.target
        own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls = place.state / "tls"
        own.load_cert_chain(tls / "cert.pem", tls / "key.pem")
        numbers = iter(range(1, 1 << 30))
        between = _Between((target.host, target.imaps), own, target.ssl_context(), mood, numbers)
        endpoints = dict(read_endpoints(place.logs / "reference.stdout.log"))
        del endpoints["control"]
        with _listening(between, target.host) as port:
            yield Choice(endpoints={**endpoints, "imaps": port})
