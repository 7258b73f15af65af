"""A TURN server as a process, as `python -m reference_server.turn` runs it."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import socket
import subprocess
import sys
import time
from pathlib import Path

from reference_server import control
from reference_server.turn.allocations import FiveTuple
from reference_server.turn.ledger import TurnLedger
from reference_server.turn.service import TurnService
from reference_server.turn.settings import Limits, Listen, Transport, TurnSettings
from reference_server.turn.stun import Address, Class, Method, build
from reference_server.turn_secret import make_password
from tests.reference_server.turn.support import Client, Reply, read

DEADLINE = 20.0
REALM = "chatmail.test"
SECRET = "north"
BASE = ["--realm", REALM, "--secret", SECRET, "--ledger"]
BINDING = build(Method.BINDING, Class.REQUEST, b"abcdefghijkl")


class Running:
    def __init__(self, process, endpoints, control_path):
        self.process = process
        self.endpoints = endpoints
        self._control = control_path

    def address(self, transport):
        url = next(url for url in self.endpoints["turn"] if url.startswith(transport + "://"))
        return ("127.0.0.1", int(url.rpartition(":")[2]))

    def ledger(self):
        return asyncio.run(control.request(self._control, "ledger"))

    def memory(self):
        """Resident bytes."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * 4096

    def descriptors(self):
        return len(list(Path(f"/proc/{self.process.pid}/fd").iterdir()))

    def answers(self):
        """Whether it still answers STUN over UDP."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(DEADLINE)
            client.connect(self.address("udp"))
            client.send(BINDING)
            return read(client.recv(2000)).kind is Class.SUCCESS


@contextlib.contextmanager
def running(directory, *options, listen=("udp", "tcp")):
    """A server on free ports of 127.0.0.1; it must end cleanly."""
    listeners = [f"--listen={transport}://127.0.0.1:0" for transport in listen]
    path = directory / "control.sock"
    process = subprocess.Popen(
        [sys.executable, "-m", "reference_server.turn", *BASE, *listeners, "--control", path, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None and process.stderr is not None
    with process:
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read().decode()
            yield Running(process, json.loads(line)["endpoints"], path)
            process.terminate()
            assert process.wait(DEADLINE) == 0
            assert b"Traceback" not in process.stderr.read()
        finally:
            process.kill()


class Embedded:
    """A server in this process: with limits that a test can reach, and a thread that a test can keep busy."""

    def __init__(self, endpoints, service, ledger):
        self.endpoints = endpoints
        self.service = service
        self._ledger = ledger

    def address(self, transport):
        url = next(url for url in self.endpoints["turn"] if url.startswith(transport + "://"))
        return ("127.0.0.1", int(url.rpartition(":")[2]))

    def while_busy(self, work):
        """Do `work` while the server does nothing."""
        return self.service._shell.loop.call(work)

    def ledger(self):
        return self._ledger.snapshot()


@contextlib.contextmanager
def embedded(*, listen=("udp",), certificate=None, allow=(), limits=None):
    ledger = TurnLedger(enabled=True)
    cert, key = certificate or (None, None)
    settings = TurnSettings(
        listeners=tuple(Listen.parse(f"{transport}://127.0.0.1:0") for transport in listen),
        realm=REALM,
        secrets=(SECRET,),
        allow_peers=tuple(ipaddress.ip_network(text) for text in allow),
        cert=cert,
        key=key,
        limits=limits or Limits(),
    )
    service = TurnService(settings, ledger=ledger)
    endpoints = asyncio.run(service.start())
    try:
        yield Embedded(endpoints, service, ledger)
    finally:
        asyncio.run(service.close())


class Inbox(asyncio.DatagramProtocol):
    """What arrives at an endpoint of aioice, and whether it is closed."""

    def __init__(self):
        self.received: asyncio.Queue[tuple[bytes, object]] = asyncio.Queue()
        self.closed = asyncio.Event()

    def connection_lost(self, exc):
        self.closed.set()

    def datagram_received(self, data, addr):
        self.received.put_nowait((data, addr))


def have_ipv6():
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


def credentials(lifetime=3600):
    username = str(int(time.time()) + lifetime)
    return username, make_password(SECRET, username)


class Wire(Client):
    """The scripted client of the core's tests, over a real socket."""

    def __init__(self, server, *, transport="udp", source="127.0.0.1"):
        kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
        self.socket = socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET, kind)
        self.socket.settimeout(DEADLINE)
        self.socket.bind((source, 0))
        self.socket.connect(server)
        address = Address(*self.socket.getsockname()[:2])
        five_tuple = FiveTuple(Transport(transport), address, Address(*server))
        super().__init__(None, five_tuple, username=credentials()[0])

    def exchange(self, data):
        self.socket.sendall(data)
        answer = self.receive()
        message = read(answer)
        return Reply(answer, message, message.is_signed_with(self.key))

    def receive(self):
        """One message; on a stream, one frame without its padding."""
        if self.socket.type == socket.SOCK_DGRAM:
            return self.socket.recv(65536)
        head = self._exactly(4)
        length = int.from_bytes(head[2:], "big")
        if head[0] < 0x40:
            return head + self._exactly(length + 16)
        return head + self._exactly((length + 3) // 4 * 4)[:length]

    def _exactly(self, size):
        data = b""
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            assert piece, "the server closed the connection"
            data += piece
        return data

    def raw(self, data):
        self.socket.sendall(data)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
