"""A server that somebody else runs, with moods: between a client and its IMAP stands a program that answers at will."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness.hosts import LocalHost
from harness.servers.endpoints import read_endpoints
from harness.servers.reference import Reference
from harness.servers.server import Wants
from harness.stage.options import Choice
from harness.stage.session import loopback_place

__all__ = ["Mood", "moody_server"]

PATIENCE = 20.0

Mood = Callable[[bytes, bytes, int], bytes | None]
"""Gets tag and command of a client, and the number of the command among all. Gives what is said in place of what the
server would answer; empty: nothing, and the connection is closed; None: the server may answer by itself."""


@dataclass(frozen=True)
class _Between:
    """Takes the lines of clients, and hands them on."""

    listener: socket.socket
    server: tuple[str, int]
    own: ssl.SSLContext
    theirs: ssl.SSLContext
    mood: Mood
    numbers: Iterator[int]

    def run(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with ExitStack() as stack, suppress(OSError):
            stack.enter_context(plain)
            plain.settimeout(PATIENCE)
            client = stack.enter_context(self.own.wrap_socket(plain, server_side=True))
            server = stack.enter_context(
                self.theirs.wrap_socket(
                    socket.create_connection(self.server, timeout=PATIENCE), server_hostname=self.server[0]
                )
            )
            threading.Thread(target=_pour, args=(server, client), daemon=True).start()
            for line in client.makefile("rb"):
                tag, _, command = line.strip().partition(b" ")
                said = self.mood(tag, command.upper(), next(self.numbers))
                if said == b"":
                    return
                (server if said is None else client).sendall(line if said is None else said)


def _pour(source: socket.socket, into: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            into.sendall(data)
    with suppress(OSError):
        into.shutdown(socket.SHUT_RDWR)


@contextmanager
def moody_server(directory: Path, mood: Mood) -> Iterator[Choice]:
    """How a run is asked for it."""
    place = loopback_place(directory / "state", directory / "logs")
    with Reference().start(LocalHost(), place, Wants()) as server, ExitStack() as stack:
        target = server.target
        listener = stack.enter_context(socket.create_server((target.host, 0)))
        stack.callback(listener.shutdown, socket.SHUT_RDWR)
        own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls = place.state / "tls"
        own.load_cert_chain(tls / "cert.pem", tls / "key.pem")
        numbers = iter(range(1, 1 << 30))
        between = _Between(listener, (target.host, target.imaps), own, target.ssl_context(), mood, numbers)
        threading.Thread(target=between.run, daemon=True).start()
        endpoints = dict(read_endpoints(place.logs / "reference.stdout.log"))
        del endpoints["control"]
        yield Choice(endpoints={**endpoints, "imaps": listener.getsockname()[1]})
