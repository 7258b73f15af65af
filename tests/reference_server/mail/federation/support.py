"""Another server, played by a test: it speaks SMTP with the one under test, or listens for it."""

from __future__ import annotations

import contextlib
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable, Sequence

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from reference_server.mail.federation.signatures import Signer
from tests.reference_server.mail.federation.zone import Zone
from tests.reference_server.mail.pgp import encrypted_message
from tests.reference_server.mail.running import DEADLINE, RunningMail

PEER = "peer.test"
EVE = f"eve@{PEER}"
_KEY = rsa.generate_private_key(public_exponent=65537, key_size=1024)
_PEM = _KEY.private_bytes(
    serialization.Encoding.PEM,
    serialization.PrivateFormat.TraditionalOpenSSL,
    serialization.NoEncryption(),
)


def publish_key(zone: Zone, domain: str = PEER) -> None:
    public = _KEY.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    zone.txt(*Signer(domain, _PEM, public).record)


def signed(content: bytes, domain: str = PEER) -> bytes:
    signature: bytes = dkim.sign(content, b"opendkim", domain.encode(), _PEM)
    return signature + content


def from_peer(marker: str = "message", sender: str = EVE) -> bytes:
    """Encrypted, and signed by the sender's domain."""
    return signed(encrypted_message(sender, marker=marker), sender.partition("@")[2])


def connect(mail: RunningMail, *, tls: bool = True) -> smtplib.SMTP:
    client = smtplib.SMTP(mail.host, mail.ports["smtp"], timeout=DEADLINE)
    if tls:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client.starttls(context=context)
    return client


def deliver(mail: RunningMail, content: bytes, *recipients: str, sender: str = EVE) -> str:
    """The reply to the mail, or to the first command that was refused."""
    with connect(mail) as client:
        for code, text in (
            client.ehlo(PEER),
            client.mail(sender),
            *(client.rcpt(each) for each in recipients),
        ):
            if code >= 400:
                return f"{code} {text.decode()}"
        code, text = client.data(content)
        return f"{code} {text.decode()}"


class FakeServer:
    """Listens at one address and gives each connection to a function in a thread."""

    def __init__(self, host: str, port: int, serve: Callable[[socket.socket, int], None]) -> None:
        self.connections = 0
        self._serve = serve
        self._listening = socket.create_server((host, port))
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._one, args=(connection, self.connections), daemon=True).start()

    def _one(self, connection: socket.socket, number: int) -> None:
        with connection:
            connection.settimeout(DEADLINE)
            with contextlib.suppress(OSError):
                self._serve(connection, number)


def speaks(*replies: str) -> Callable[[socket.socket, int], None]:
    """A server that says these lines, one to each command, and then nothing more until the client goes."""

    def serve(connection: socket.socket, _number: int) -> None:
        commands = connection.makefile("rb")
        for reply in replies:
            connection.sendall(reply.replace("\n", "\r\n").encode() + b"\r\n")
            if not commands.readline():
                return
        while connection.recv(65536):
            pass

    return serve


def reads_mail(
    taken: list[bytes], end: str = "250 2.0.0 stored", cut: Sequence[int] = ()
) -> Callable[[socket.socket, int], None]:
    """A server that takes every mail; the connections with these numbers it cuts when the mail is there."""

    def serve(connection: socket.socket, number: int) -> None:
        commands = connection.makefile("rb")
        connection.sendall(b"220 fake\r\n")
        while line := commands.readline():
            if line.upper().startswith(b"DATA"):
                connection.sendall(b"354 go on\r\n")
                content = b"".join(iter(commands.readline, b".\r\n"))
                taken.append(content)
                if number in cut:
                    return
                connection.sendall(f"{end}\r\n".encode())
            elif line.upper().startswith(b"QUIT"):
                connection.sendall(b"221 bye\r\n")
                return
            else:
                connection.sendall(b"250 ok\r\n")

    return serve
