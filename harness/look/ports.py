"""Ports: each at each address, with the certificate that it shows and the first words that it says."""

from __future__ import annotations

import errno
import socket
import ssl
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from time import time

from ..hosts import Host, Socket
from ..report.looks import CertificateLook, PortLook, Reached
from ..target import Target
from ..text import clean
from ..waiting import Deadline
from .certificates import shake_hands

__all__ = ["CONNECT_WITHIN", "MAIL_PORTS", "PortSeen", "look_at_mail_port", "reach", "reached_of"]

CONNECT_WITHIN = 2.5
"""Seconds: with one packet lost, a connection takes 1 s and a round trip."""
WORDS_WITHIN = 3.0
"""Seconds for a handshake, and again for the first line."""
MAX_WORDS = 1024
SHOWN = 160
MAIL_PORTS = ("imaps", "submissions", "submission", "https")
TURNED_AWAY = {"imaps": (b"* BYE",), "submissions": (b"554", b"421"), "submission": (b"554", b"421")}
GREETINGS = {"imaps": (b"* OK",), "submissions": (b"220",), "submission": (b"220",)}


@dataclass(frozen=True)
class PortSeen:
    """What was found at one port; `clock_ahead_s`: the server's clock minus ours, if it told the time."""

    port: PortLook
    certificate: CertificateLook | None = None
    clock_ahead_s: float | None = None


def reach(
    host: Host, address: str, port: int, within: float = CONNECT_WITHIN
) -> tuple[Reached, Socket | None]:
    """Connect to one address. Without a connection the second is None."""
    try:
        return "open", host.connect(address, port, within=within)
    except OSError as error:
        return reached_of(error), None


def reached_of(error: OSError) -> Reached:
    """In what way a connection did not come about."""
    match error.errno:
        case errno.ECONNREFUSED | errno.ECONNRESET:
            return "refused"
        case errno.ENETUNREACH | errno.EADDRNOTAVAIL | errno.EAFNOSUPPORT:
            return "no route"
    return "silent"


def look_at_mail_port(host: Host, target: Target, service: str, address: str) -> PortSeen:
    """Connect, shake hands where the port begins with TLS, and read the first line. Nothing is logged in to."""
    port = getattr(target, service)
    reached, connection = reach(host, address, port)
    look = PortLook(service, address, port, reached)
    if connection is None:
        return PortSeen(look)
    if service == "submission":
        with connection:
            return PortSeen(_greeted(look, connection))
    session, certificate, trouble = shake_hands(
        host,
        connection,
        CertificateLook(service, address, port, target.host),
        target.ssl_context(),
        within=WORDS_WITHIN,
    )
    if session is None:
        turned_away = service in TURNED_AWAY and certificate is None
        return PortSeen(replace(look, trouble=trouble, turned_away=turned_away), certificate)
    with session:
        if service == "https":
            return PortSeen(look, certificate, _clock(session, target.host))
        return PortSeen(_greeted(look, session), certificate)


def _greeted(look: PortLook, connection: socket.socket) -> PortLook:
    line, ended = _first_line(connection)
    said = line.upper()
    trouble = ""
    if line and not ended:
        trouble = "the greeting has no end"
    elif not line:
        trouble = f"no greeting within {WORDS_WITHIN:g} s"
    elif said.startswith(b"* PREAUTH"):
        trouble = "it takes every client for one that is logged in already, so that none can log in"
    elif not said.startswith((*GREETINGS[look.service], *TURNED_AWAY[look.service])):
        trouble = "the greeting is not that of a mail server"
    return replace(
        look,
        trouble=trouble,
        greeting=clean(line.decode("utf-8", "replace").strip(), SHOWN),
        turned_away=bool(trouble) or said.startswith(TURNED_AWAY[look.service]),
    )


def _first_line(connection: socket.socket) -> tuple[bytes, bool]:
    """The first line, or what came of it; True if its end came."""
    deadline, line = Deadline(WORDS_WITHIN), b""
    try:
        while b"\n" not in line and len(line) < MAX_WORDS and not deadline.over:
            connection.settimeout(max(deadline.remaining(), 0.001))
            if not (data := connection.recv(MAX_WORDS)):
                break
            line += data
    except OSError:
        pass  # what came until then is what there is
    line, end, _ = line.partition(b"\n")
    return line, bool(end)


def _clock(session: ssl.SSLSocket, host: str) -> float | None:
    """By the `Date:` of an answer, which has full seconds."""
    name = f"[{host}]" if ":" in host else host
    deadline, head = Deadline(WORDS_WITHIN), b""
    try:
        session.sendall(f"HEAD / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        while b"\r\n\r\n" not in head and len(head) < 16 * MAX_WORDS and not deadline.over:
            session.settimeout(max(deadline.remaining(), 0.001))
            if not (data := session.recv(4 * MAX_WORDS)):
                break
            head += data
    except OSError:
        return None
    return ahead(head)


def ahead(head: bytes) -> float | None:
    """Seconds that the clock of whoever sent this head of an HTTP answer is ahead of ours."""
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"date":
            try:
                told = parsedate_to_datetime(value.strip().decode("latin-1")).timestamp()
            except (ValueError, OverflowError):
                return None
            return round(told + 0.5 - time(), 1)
    return None
