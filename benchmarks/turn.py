"""Cost of relaying: server CPU time per relayed 1000-byte packet, ours and coturn's, one after the other.

`python -m benchmarks.turn [--vs coturn]`. Each server is pinned to one core and the generator to another. The
generator keeps a window of packets on their way in both directions (closed loop), so it need not saturate anything:
the figure is CPU time, not speed. Allocations are set up over UDP, or TCP and TLS where that is measured; peers are
plain UDP sockets behind a channel. Nothing leaves 127.0.0.0/8. Counts and times are bounded.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from harness.waiting import wait_until
from reference_server.tls import issue_development_certificate
from reference_server.turn.credentials import long_term_key
from reference_server.turn.sockets.mmsg import HEADER, STRIDE, Batch
from reference_server.turn.stun import (
    Address,
    Attribute,
    Class,
    Message,
    Method,
    attribute,
    build,
    parse,
    xor_address,
    xor_decode,
)
from reference_server.turn_secret import make_password

from .processor import cpu_seconds

REALM = b"bench.test"
SECRET = "benchmark"
PAYLOAD = 1000
SERVER_CORE, GENERATOR_CORE = 0, 1
UDP_SEGMENT = 103
SOL_UDP = 17
SEGMENTS = 32
DEADLINE = 120.0
PATIENCE = 5.0
"""Seconds without any packet after which those in flight are lost."""
PER_SOURCE = 100
"""Allocations from one loopback address: quotas are per source."""


@dataclass(frozen=True)
class Load:
    """`transport` of the clients, how many, and packets in flight per client and direction: 1 as audio, 8 as video.

    `segments`: clients and peers send 32 packets at a time with UDP_SEGMENT, and receive without UDP_GRO.
    `between`: the peer of each client is another client's relay.
    """

    name: str
    transport: str
    allocations: int
    burst: int
    segments: bool = False
    between: bool = False


LOADS = (
    Load("2, bursts of 8", "udp", 2, 8),
    Load("100, bursts of 8", "udp", 100, 8),
    Load("100, bursts of 4", "udp", 100, 4),
    Load("2, single", "udp", 2, 1),
    Load("100, single", "udp", 100, 1),
    Load("1000, single", "udp", 1000, 1),
    Load("2, sender with GSO", "udp", 2, 2 * SEGMENTS, segments=True),
    Load("2 with each other, bursts of 8", "udp", 2, 8, between=True),
    Load("2 with each other, single", "udp", 2, 1, between=True),
    Load("2 over TCP", "tcp", 2, 8),
    Load("2 over TLS", "tls", 2, 8),
)


@dataclass(frozen=True)
class Measurement:
    server: str
    load: str
    packets: int
    lost: int
    microseconds: float
    """Of CPU, user and system, per relayed packet."""
    packets_per_second: float
    megabytes: float
    """Resident memory of the server after the run."""

    def __str__(self) -> str:
        return (
            f"{self.server:10} {self.load:30} {self.microseconds:6.2f} us per packet  "
            f"{self.packets_per_second / 1000:6.0f} k/s  lost {self.lost}/{self.packets}  {self.megabytes:4.0f} MB"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.generate is not None:
        load = next(load for load in LOADS if load.name == options.load)
        print(json.dumps(generate(load, options.generate, options.packets, options.server)))
        return 0
    chosen = [load for load in LOADS if not options.only or load.name in options.only]
    if options.vs is not None and shutil.which("turnserver") is None:
        raise SystemExit("coturn's turnserver is not installed here")
    results = []
    for load in chosen:
        pair = [
            measure(name, load, options.packets) for name in ("reference", options.vs) if name is not None
        ]
        for result in pair:
            print(result, flush=True)
        if len(pair) == 2:
            print(
                f"{'ratio':10} {load.name:30} {pair[1].microseconds / pair[0].microseconds:6.2f} x coturn's speed"
            )
        results += pair
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")
    return 0


def measure(name: str, load: Load, packets: int) -> Measurement:
    """Start a server, let the generator relay `packets` in each direction and read what that cost."""
    with running_server(name) as (process, ports):
        command = [sys.executable, "-m", "benchmarks.turn", "--generate", str(ports[load.transport])]
        command += ["--load", load.name, "--packets", str(packets), "--server", str(process.pid)]
        done = subprocess.run(
            pinned(command, GENERATOR_CORE), check=True, timeout=DEADLINE + 20, stdout=subprocess.PIPE
        )
        seen = json.loads(done.stdout)
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return Measurement(
        name,
        load.name,
        seen["sent"],
        seen["sent"] - seen["received"],
        seen["cpu"] / seen["received"] * 1e6,
        seen["received"] / seen["wall"],
        pages * os.sysconf("SC_PAGE_SIZE") / 1e6,
    )


def pinned(command: Sequence[str], core: int) -> list[str]:
    """The command as it runs on one core only (taskset is of util-linux)."""
    return ["taskset", "--cpu-list", str(core % (os.cpu_count() or 1)), *command]


@contextmanager
def running_server(name: str) -> Iterator[tuple[subprocess.Popen[bytes], dict[str, int]]]:
    with tempfile.TemporaryDirectory() as directory:
        issued = issue_development_certificate(Path(directory), ["127.0.0.1"])
        ports = {"udp": _free_port(), "tls": _free_port()}
        ports["tcp"] = ports["udp"]
        files = (str(issued.certificate_file), str(issued.key_file))
        command = (_ours if name == "reference" else _coturn)(ports, files, directory)
        process = subprocess.Popen(
            pinned(command, SERVER_CORE),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=directory if name != "reference" else None,
        )
        try:
            _wait_until_it_answers(process, ports["udp"])
            yield process, ports
        finally:
            process.terminate()
            process.wait()


def _ours(ports: dict[str, int], files: tuple[str, str], _directory: str) -> list[str]:
    listeners = [f"--listen={name}://127.0.0.1:{ports[name]}" for name in ("udp", "tcp", "tls")]
    return [
        *(sys.executable, "-m", "reference_server.turn", *listeners, "--realm", REALM.decode()),
        *("--secret", SECRET, "--cert", files[0], "--key", files[1], "--allow-peers", "127.0.0.0/8"),
    ]


def _coturn(ports: dict[str, int], files: tuple[str, str], directory: str) -> list[str]:
    gso = ["--udp-gso"] if "udp-gso" in _help_of_coturn() else []
    return [
        *("turnserver", *gso, "-n", "--listening-ip=127.0.0.1", "--relay-ip=127.0.0.1", "--use-auth-secret"),
        *(
            f"--static-auth-secret={SECRET}",
            f"--realm={REALM.decode()}",
            "--allow-loopback-peers",
            "--no-cli",
        ),
        *(f"--listening-port={ports['udp']}", f"--tls-listening-port={ports['tls']}", "--no-dtls"),
        *(f"--cert={files[0]}", f"--pkey={files[1]}", "--min-port=49152", "--max-port=65535"),
        *(f"--pidfile={directory}/pid", "--log-file=stdout", "--simple-log", "--no-stdout-log"),
    ]


@cache
def _help_of_coturn() -> str:
    done = subprocess.run(["turnserver", "--help"], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


# The generator


class Leg:
    """A client with one allocation and one channel, and its peer."""

    def __init__(self, load: Load, port: int, number: int) -> None:
        source = f"127.0.{number // PER_SOURCE}.2"
        self._stream = load.transport != "udp"
        kind = socket.SOCK_STREAM if self._stream else socket.SOCK_DGRAM
        plain = socket.socket(socket.AF_INET, kind)
        plain.settimeout(10)
        plain.bind((source, 0))
        plain.connect(("127.0.0.1", port))
        if self._stream:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.client = _tls(plain) if load.transport == "tls" else plain
        self.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.peer.bind(("127.0.0.1", 0))
        for each in (self.client, self.peer):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self.relayed = self._allocate(number)
        if not load.between:
            self.bind(Address(*self.peer.getsockname()))
            self.peer.connect(self.relayed)
        self.peer.setblocking(False)

    def _allocate(self, number: int) -> Address:
        username = str(int(time.time()) + 3600).encode()
        key = long_term_key(username, REALM, make_password(SECRET, username.decode()).encode())
        udp = attribute(Attribute.REQUESTED_TRANSPORT, b"\x11\0\0\0")
        transaction = b"leg" + number.to_bytes(9, "big")
        nonce = self._ask(build(Method.ALLOCATE, Class.REQUEST, transaction, [udp])).get(Attribute.NONCE)
        assert nonce is not None
        self._credentials = [
            attribute(Attribute.USERNAME, username),
            attribute(Attribute.REALM, REALM),
            attribute(Attribute.NONCE, nonce),
        ]
        self._key = key
        transaction = b"LEG" + transaction[3:]
        reply = self._ask(build(Method.ALLOCATE, Class.REQUEST, transaction, [udp, *self._credentials], key))
        value = reply.get(Attribute.XOR_RELAYED_ADDRESS)
        relayed = None if value is None else xor_decode(value, transaction)
        if relayed is None:
            raise SystemExit(f"allocation {number} was refused: {reply}")
        return relayed

    def bind(self, peer: Address) -> None:
        """Open the channel to the peer; from now on the client's socket does not wait."""
        transaction = os.urandom(12)
        bind = [
            attribute(Attribute.CHANNEL_NUMBER, b"\x40\0\0\0"),
            xor_address(Attribute.XOR_PEER_ADDRESS, peer, transaction),
            *self._credentials,
        ]
        reply = self._ask(build(Method.CHANNEL_BIND, Class.REQUEST, transaction, bind, self._key))
        if reply.kind is not Class.SUCCESS:
            raise SystemExit(f"the channel to {peer} was refused: {reply}")
        self.client.setblocking(False)

    def _ask(self, request: bytes) -> Message:
        self.client.send(request)
        data = self.client.recv(2000)
        message = parse(data)
        if message is None:
            raise SystemExit(f"{data!r} is no answer")
        return message


def _tls(plain: socket.socket) -> ssl.SSLSocket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # a benchmark of our own loopback server
    return context.wrap_socket(plain)


def generate(load: Load, port: int, packets: int, server: int) -> dict[str, float]:
    """Relay `packets` in each direction. Returns sent, received, and seconds: wall, and CPU of process `server`."""
    legs = [Leg(load, port, number) for number in range(load.allocations)]
    if load.between:
        for one, other in zip(legs[::2], legs[1::2], strict=True):
            one.bind(other.relayed)
            other.bind(one.relayed)
    run = _Streams(legs, load) if load.transport != "udp" else _Datagrams(legs, load)
    before, began = cpu_seconds(server), time.monotonic()
    run.until(packets * 2, began + DEADLINE)
    return {
        "sent": run.sent,
        "received": run.received,
        "wall": time.monotonic() - began,
        "cpu": cpu_seconds(server) - before,
    }


class _Datagrams:
    """Each socket that has received k packets sends k back: the number in flight stays what it was."""

    def __init__(self, legs: Sequence[Leg], load: Load) -> None:
        self.sent = self.received = 0
        self._load = load
        self._batch = batch = Batch()
        self._ends: dict[int, tuple[socket.socket, bool]] = {}
        self._owed: Counter[int] = Counter()
        self._poll = select.epoll()
        for leg in legs:
            for end, is_client in ((leg.client, True), (leg.peer, False))[: 1 if load.between else 2]:
                self._ends[end.fileno()] = (end, is_client)
                self._poll.register(end, select.EPOLLIN)
        head = struct.pack(">HH", 0x4000, PAYLOAD)
        for slot in range(64):
            batch.buffer[slot * STRIDE : slot * STRIDE + HEADER + 1] = head + b"\x80"
            batch.from_start.sizes[2 * slot + 1] = HEADER + PAYLOAD
            batch.from_payload.sizes[2 * slot + 1] = PAYLOAD

    def until(self, total: int, deadline: float) -> None:
        for descriptor in self._ends:
            self._send(descriptor, self._load.burst)
        while self.received < self.sent:
            ready = self._poll.poll(PATIENCE)
            if not ready or time.monotonic() > deadline:
                return  # what has not come by now is lost
            for descriptor, _ in ready:
                is_client = self._ends[descriptor][1]
                # received where it will be sent from: the header of the client's side is there already
                into = self._batch.into_start if is_client else self._batch.into_payload
                count = len(self._batch.receive(descriptor, into))
                self.received += count
                if self.sent < total:
                    self._send(descriptor, count)

    def _send(self, descriptor: int, count: int) -> None:
        end, is_client = self._ends[descriptor]
        if self._load.segments:
            self._owed[descriptor] += count
            one = struct.pack(">HH", 0x4000, PAYLOAD) + bytes(PAYLOAD) if is_client else bytes(PAYLOAD)
            control = [(SOL_UDP, UDP_SEGMENT, struct.pack("H", len(one)))]
            while self._owed[descriptor] >= SEGMENTS:
                end.sendmsg([one * SEGMENTS], control)
                self._owed[descriptor] -= SEGMENTS
                self.sent += SEGMENTS
            return
        vector = self._batch.from_start if is_client else self._batch.from_payload
        self.sent += count - self._batch.send(descriptor, vector, 0, count)


class _Streams:
    """Clients over TCP or TLS; the same window, counted in frames."""

    def __init__(self, legs: Sequence[Leg], load: Load) -> None:
        self.sent = self.received = 0
        self._legs = legs
        self._load = load
        self._frame = struct.pack(">HH", 0x4000, PAYLOAD) + b"\x80" + bytes(PAYLOAD - 1)
        self._partial = dict.fromkeys(legs, 0)

    def until(self, total: int, deadline: float) -> None:
        for leg in self._legs:
            self._from_client(leg, self._load.burst)
            self._from_peer(leg, self._load.burst)
        clients = {leg.client: leg for leg in self._legs}
        peers = {leg.peer: leg for leg in self._legs}
        while self.received < self.sent and time.monotonic() < deadline:
            ready, _, _ = select.select([*clients, *peers], [], [], PATIENCE)
            if not ready:
                return
            for each in ready:
                count = self._read_client(clients[each]) if each in clients else self._read_peer(peers[each])
                self.received += count
                if self.sent < total:
                    leg = clients.get(each) or peers[each]
                    (self._from_client if each in clients else self._from_peer)(leg, count)

    def _read_client(self, leg: Leg) -> int:
        size = self._partial[leg]
        try:
            while data := leg.client.recv(65536):
                size += len(data)
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        self._partial[leg] = size % len(self._frame)
        return size // len(self._frame)

    @staticmethod
    def _read_peer(leg: Leg) -> int:
        count = 0
        try:
            while leg.peer.recv(2000):
                count += 1
        except BlockingIOError:
            pass
        return count

    def _from_client(self, leg: Leg, count: int) -> None:
        if count:
            leg.client.setblocking(True)
            leg.client.sendall(self._frame * count)
            leg.client.setblocking(False)
            self.sent += count

    def _from_peer(self, leg: Leg, count: int) -> None:
        for _ in range(count):
            leg.peer.send(self._frame[HEADER:])
            self.sent += 1


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int) -> None:
    request = build(Method.BINDING, Class.REQUEST, b"benchmarking")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(0.1)
        probe.connect(("127.0.0.1", port))

        def answers() -> bool:
            if process.poll() is not None:
                raise RuntimeError(f"the server ended with exit code {process.returncode}")
            try:
                probe.send(request)
                probe.recv(2000)
            except (ConnectionRefusedError, TimeoutError):
                return False
            return True

        wait_until(answers, "the server to answer", within=20)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.turn", description=__doc__)
    parser.add_argument("--vs", choices=("coturn",), help="compare with Debian's turnserver")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument(
        "--only", action="append", choices=[load.name for load in LOADS], help="repeat it for more"
    )
    parser.add_argument("--packets", type=int, default=200_000, help="per direction and figure")
    parser.add_argument("--generate", type=int, metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("--load", help=argparse.SUPPRESS)
    parser.add_argument("--server", type=int, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
