"""Servers on loopback that are slow, endless, or say things that no server says."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from harness.target import Target

from ..scripted import Tls

HOSTILE = b"\x1b[31m\x00\xe2\x80\xaetxt"
RELAY, TURN = "/shared/vendor/deltachat/irohrelay", "/shared/vendor/deltachat/turn"
Answer = Callable[[socket.socket], None]


@contextlib.contextmanager
def serving(tls: Tls, handlers: Mapping[str, Answer]) -> Iterator[Target]:
    """A server on loopback, each connection in a thread of its own. Ports without a handler refuse."""
    ports = {}
    listeners = []
    for service in ("imaps", "imap", "submissions", "submission", "https"):
        listener = socket.create_server(("127.0.0.1", 0))
        ports[service] = listener.getsockname()[1]
        if service not in handlers:
            listener.close()
            continue
        listeners.append(listener)
        threading.Thread(target=_accept, args=(listener, handlers[service]), daemon=True).start()
    yield Target(
        name="hostile",
        host="127.0.0.1",
        domain="[127.0.0.1]",
        ca_file=tls.ca_file,
        dialect="unknown",
        **ports,
    )
    for listener in listeners:
        listener.close()


def _accept(listener: socket.socket, handler: Answer) -> None:
    with contextlib.suppress(OSError):
        while True:
            connection = listener.accept()[0]
            connection.settimeout(30)
            threading.Thread(target=_serve, args=(connection, handler), daemon=True).start()


def _serve(connection: socket.socket, handler: Answer) -> None:
    with contextlib.suppress(OSError), connection:
        handler(connection)


def over_tls(tls: Tls, handler: Answer) -> Answer:
    def serve(connection: socket.socket) -> None:
        with tls.context.wrap_socket(connection, server_side=True) as session:
            handler(session)

    return serve


def saying(*parts: bytes, pause: float = 0.0) -> Answer:
    """Say all of it, then wait until the client has gone."""

    def serve(session: socket.socket) -> None:
        for part in parts:
            time.sleep(pause)  # the fault itself: a server that takes its time
            session.sendall(part)
        while session.recv(4096):
            pass

    return serve


def endless(part: bytes) -> Answer:
    def serve(session: socket.socket) -> None:
        while True:
            session.sendall(part)

    return serve


def imap(answers: Mapping[bytes, bytes], pause: float = 0.0) -> Answer:
    """Answers to commands, before the tagged OK; LOGIN and everything else are just accepted."""

    def serve(session: socket.socket) -> None:
        session.sendall(b"* OK ready\r\n")
        lines = session.makefile("rb")
        while line := lines.readline():
            tag, command, *_ = line.split()
            time.sleep(pause)  # the fault itself
            session.sendall(answers.get(command.upper(), b"") + tag + b" OK done\r\n")

    return serve


CAPABLE = {b"CAPABILITY": b"* CAPABILITY IMAP4rev1 METADATA\r\n"}


def metadata(key: str, value: bytes) -> Mapping[bytes, bytes]:
    literal = b"{%d}\r\n%b" % (len(value), value)
    return CAPABLE | {b"GETMETADATA": b'* METADATA "" (%b %b)\r\n' % (key.encode(), literal)}


def with_imap(tls: Tls, handler: Answer) -> Mapping[str, Answer]:
    smtp = saying(b"220 ready\r\n")
    return {
        "imaps": over_tls(tls, handler),
        "submissions": over_tls(tls, smtp),
        "submission": smtp,
        "https": over_tls(tls, saying(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")),
    }
