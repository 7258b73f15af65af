"""A TCP server with one script for each connection, for tests of clients."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Peer", "Tls", "scripted_server"]


@dataclass(frozen=True)
class Tls:
    """A certificate for 127.0.0.1: what clients trust, and what a server shows."""

    ca_file: Path
    context: ssl.SSLContext


class Peer:
    """The script's end of a connection."""

    def __init__(self, connection: socket.socket) -> None:
        connection.settimeout(20)
        self.connection = connection
        self._stream = connection.makefile("rb")

    def read(self, size: int) -> bytes:
        return self._stream.read(size)

    def line(self) -> bytes:
        return self._stream.readline()

    def head(self) -> list[bytes]:
        """The lines of an HTTP request, without the empty one."""
        lines = []
        while line := self.line().strip():
            lines.append(line)
        return lines

    def send(self, *parts: bytes) -> None:
        self.connection.sendall(b"".join(parts))

    def wait_until_closed(self) -> None:
        self._stream.read()

    def close(self) -> None:
        self._stream.close()
        self.connection.close()


@contextmanager
def scripted_server(*scripts: Callable[[Peer], None], tls: Tls | None = None) -> Iterator[int]:
    """Accepts one connection for each script, in order; gives the port. A script's failure fails the test."""
    failures: list[BaseException] = []
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(20)

    def serve() -> None:
        for script in scripts:
            try:
                connection = listener.accept()[0]
                peer = Peer(tls.context.wrap_socket(connection, server_side=True) if tls else connection)
            except OSError as error:
                failures.append(error)
                return
            try:
                script(peer)
            except BaseException as error:
                failures.append(error)
            finally:
                peer.close()

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        thread.join()
        listener.close()
    if failures:
        raise failures[0]
