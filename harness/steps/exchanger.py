"""An exchanger between servers: it takes mail by `POST /mxdeliv` and posts it to the server of each recipient.

madmail's world has such programs (madexchanger, in Go and in PHP) for servers that do not reach each other. This one
stands at a public address of a lab, listens with a certificate of its own and without TLS, and counts what it carries.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ..clients.mail.web import HttpsConnection
from ..closing import Closing
from ..hosts import Host
from ..servers.certificates import issue

__all__ = ["Carried", "Exchanger"]

HTTPS, HTTP = 443, 80
PATH = "/mxdeliv"
SENDER, RECIPIENT = "X-Mail-From", "X-Mail-To"
LARGEST = 64 << 20
WITHIN = 30.0
LOOK_EVERY = 0.05


@dataclass(frozen=True)
class Carried:
    """A mail that came by, and what the recipient's server said to it; of several recipients one each."""

    scheme: str
    """By which the sender's server brought it: `https` or `http`."""
    sender: str
    recipient: str
    status: int
    """Of HTTP; 0: there was no answer."""


class Exchanger(Closing):
    """Runs in threads of ours, with the sockets of `host`, which is a machine of its own."""

    def __init__(self, host: Host, directory: Path) -> None:
        """`directory`: for its certificate."""
        self._host = host
        self._lock = threading.Lock()
        self._carried: list[Carried] = []
        certificate = issue(directory, [host.address])
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate.chain, certificate.key)
        # madexchanger verifies nobody, and has `skip_tls_verify` for it.
        self._forwards = ssl.create_default_context()
        self._forwards.check_hostname = False
        self._forwards.verify_mode = ssl.CERT_NONE
        self._servers = [_Server(self, "https", HTTPS, tls), _Server(self, "http", HTTP, None)]
        self._threads = [
            threading.Thread(target=each.serve_forever, kwargs={"poll_interval": LOOK_EVERY}, daemon=True)
            for each in self._servers
        ]
        for thread in self._threads:
            thread.start()

    @property
    def host(self) -> Host:
        return self._host

    def url(self, scheme: str) -> str:
        """URL that an operator names: `https` or `http`."""
        return f"{scheme}://{self._host.address}"

    @property
    def carried(self) -> Sequence[Carried]:
        """Everything so far, in order."""
        with self._lock:
            return tuple(self._carried)

    def forward(self, scheme: str, sender: str, recipient: str, message: bytes) -> int:
        """Post a mail to the recipient's server; the status of its answer."""
        domain = recipient.rpartition("@")[2].strip("[]")
        connection = HttpsConnection(self._host, domain, HTTPS, self._forwards, WITHIN)
        try:
            connection.request("POST", PATH, message, {SENDER: sender, RECIPIENT: recipient})
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            status = 0
        finally:
            connection.close()
        with self._lock:
            self._carried.append(Carried(scheme, sender, recipient, status))
        return status

    def close(self) -> None:
        for server, thread in zip(self._servers, self._threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()


class _Server(ThreadingHTTPServer):
    """One listener."""

    daemon_threads = True

    def __init__(self, exchanger: Exchanger, scheme: str, port: int, tls: ssl.SSLContext | None) -> None:
        self.exchanger = exchanger
        self.scheme = scheme
        self._tls = tls
        super().__init__((exchanger.host.address, port), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = exchanger.host.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self.server_bind()
            self.server_activate()
        except OSError:
            self.server_close()
            raise

    def finish_request(self, request: Any, client_address: Any) -> None:
        """In the thread of the connection: a client that is slow with TLS keeps nobody waiting."""
        request.settimeout(WITHIN)
        if self._tls is not None:
            request = self._tls.wrap_socket(request, server_side=True)
        with request:
            super().finish_request(request, client_address)

    def server_bind(self) -> None:
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke is told of by who sent the mail."""


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    server: _Server

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        recipients = self.headers.get_all(RECIPIENT, [])
        if self.path != PATH or not recipients or not length.isdecimal() or int(length) > LARGEST:
            self.send_error(http.client.BAD_REQUEST)
            return
        message, sender = self.rfile.read(int(length)), self.headers.get(SENDER, "")
        carried = [
            self.server.exchanger.forward(self.server.scheme, sender, each, message) for each in recipients
        ]
        self.send_response(max(carried) if min(carried) else http.client.BAD_GATEWAY)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *arguments: Any) -> None:
        """Senders and recipients are nobody's business."""
