"""A server that somebody else runs, with moods: between a client and its IMAP stands a program that answers at will."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.hosts import Host, LocalHost
from harness.servers.endpoints import read_endpoints
from harness.servers.reference import Reference
from harness.servers.server import Wants
from harness.stage.options import Choice
from harness.stage.session import loopback_place
from harness.target import Target

from .outside import NAME, world

__all__ = ["Mood", "moody_domain", "moody_server"]

BEHIND = 10_993
LED = """\
table ip moody {{
    chain arriving {{
        type nat hook prerouting priority dstnat
        iifname "{interface}" tcp dport {imaps} redirect to :{behind}
    }}
}}
"""
"""Whoever comes to the port of IMAP from outside meets the one in between."""
Mood = Callable[[bytes, bytes, int], bytes | None]
"""Gets tag and command of a client, and the number of the command among all. Gives what is said in place of what the
server would answer; empty: nothing, and the connection is closed; None: the server may answer by itself."""


@dataclass(frozen=True)
class _Between:
    """Takes the lines of clients, and hands them on. One thread for all: TLS sockets are no good in two."""

    host: Host
    """Where it lives."""
    server: tuple[str, int]
    name: str
    """That the server's certificate is for."""
    own: ssl.SSLContext
    theirs: ssl.SSLContext
    mood: Mood
    numbers: Iterator[int]

    async def serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            connection = self.host.socket(socket.AF_INET, socket.SOCK_STREAM)
            connection.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(connection, self.server)
            except BaseException:
                connection.close()
                raise
            server, to_server = await asyncio.open_connection(
                sock=connection, ssl=self.theirs, server_hostname=self.name
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
def _listening(between: _Between, port: int) -> Iterator[int]:
    """The port at which it listens, in a thread of its own, until the block ends. `port`: 0 for any."""
    listener = between.host.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((between.server[0], port))
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(asyncio.start_server(between.serve, sock=listener, ssl=between.own))
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
    """How a run is asked for it, by its ready line."""
    place = loopback_place(directory / "state", directory / "logs")
    with Reference().start(LocalHost(), place, Wants()) as server:
        between = _between(LocalHost(), server.target, server.target.host, place.state / "tls", mood)
        endpoints = dict(read_endpoints(place.logs / "reference.stdout.log"))
        del endpoints["control"]
        with _listening(between, 0) as port:
            yield Choice(endpoints={**endpoints, "imaps": port})


@contextmanager
def moody_domain(directory: Path, mood: Mood) -> Iterator[Choice]:
    """As `--domain` asks for it: by its name, on the standard ports, in a network of its own."""
    with world(directory) as outside:
        remote, target = outside.remote, outside.server.target
        between = _between(remote, target, NAME, directory / "state" / "tls", mood)
        remote.namespace.nft(LED.format(interface=remote.link.inner, imaps=target.imaps, behind=BEHIND))
        with _listening(between, BEHIND):
            yield outside.choice


def _between(host: Host, target: Target, name: str, tls: Path, mood: Mood) -> _Between:
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    own.load_cert_chain(tls / "cert.pem", tls / "key.pem")
    server = (target.host, target.imaps)
    return _Between(host, server, name, own, target.ssl_context(), mood, iter(range(1, 1 << 30)))
