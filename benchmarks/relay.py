"""Forwarded frames per CPU second of a relay: `python -m benchmarks.relay [--vs PATH] [--json FILE]`.

A generator process logs two nodes in, keeps a bounded amount of frames on its way from one to the other, and counts
what arrives. The CPU time is the relay process's own, from /proc. With `--vs` a real `iroh-relay` 0.35 gets the same.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness.waiting import wait_until

PAYLOADS = (1200, 14_000)
BYTES_PER_RUN = 1_000_000_000
WINDOW_FRAMES = 400
"""Frames on their way at most: a relay's queue has 512 places, and a full one drops."""
DEADLINE = 120.0
HEADER = 37


@dataclass(frozen=True)
class Measurement:
    relay: str
    payload: int
    frames: int
    wall_seconds: float
    cpu_seconds: float
    frames_per_cpu_second: float

    def __str__(self) -> str:
        volume = self.frames_per_cpu_second * self.payload / 1e6
        return (
            f"{self.relay:10} {self.payload:6} B  {self.frames_per_cpu_second:9,.0f} frames per CPU second"
            f"  {volume:6,.0f} MB per CPU second  {self.frames / self.wall_seconds:9,.0f} frames per second"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.generate is not None:
        generate(options.generate, options.payload, options.frames)
        return 0
    ours = [sys.executable, "-m", "reference_server.iroh_relay", "--config-path"]
    results = measure("reference", ours, options.megabytes * 1_000_000)
    if options.vs is not None:
        theirs = measure(
            "iroh-relay", [str(options.vs), "--dev", "--config-path"], options.megabytes * 1_000_000
        )
        for mine, other in zip(results, theirs, strict=True):
            ratio = mine.frames_per_cpu_second / other.frames_per_cpu_second
            print(
                f"ratio      {mine.payload:6} B  {ratio:.2f} x the frames per CPU second of {options.vs.name}"
            )
        results += theirs
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")
    return 0


def measure(name: str, command: Sequence[str], size: int) -> list[Measurement]:
    """Start a relay and forward `size` bytes of payload through it with each payload length."""
    results = []
    with running_relay(command) as (process, port):
        for payload in PAYLOADS:
            frames = size // payload
            before, began = cpu_seconds(process.pid), time.monotonic()
            generator = [sys.executable, "-m", "benchmarks.relay", "--generate", str(port)]
            subprocess.run(
                [*generator, "--payload", str(payload), "--frames", str(frames)], check=True, timeout=DEADLINE
            )
            wall, cpu = time.monotonic() - began, cpu_seconds(process.pid) - before
            results.append(Measurement(name, payload, frames, wall, cpu, frames / cpu))
            print(results[-1])
    return results


@contextmanager
def running_relay(command: Sequence[str]) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    with tempfile.TemporaryDirectory() as directory:
        port = _free_port()
        config = Path(directory) / "iroh-relay.toml"
        config.write_text(
            f'http_bind_addr = "127.0.0.1:{port}"\nenable_stun = false\nenable_metrics = false\naccess = "everyone"\n'
        )
        process = subprocess.Popen([*command, str(config)], stdout=subprocess.DEVNULL)
        try:
            _wait_until_it_answers(process, port)
            yield process, port
        finally:
            process.terminate()
            process.wait()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far (proc(5), fields 14 and 15 of stat)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def generate(port: int, payload: int, frames: int) -> None:
    """Send `frames` packets from one node to another and return when all have arrived."""
    source, _ = _log_in(port)
    destination, key = _log_in(port)
    chunk = max(1, min(WINDOW_FRAMES // 4, 262_144 // payload))
    block = memoryview((struct.pack(">BI", 4, 32 + payload) + key + bytes(payload)) * chunk)
    size, total = HEADER + payload, frames * (HEADER + payload)
    sent = received = 0
    buffer = bytearray(1 << 20)
    for connection in (source, destination):
        connection.setblocking(False)
    deadline = time.monotonic() + DEADLINE
    while received < total:
        room = min(total, received + WINDOW_FRAMES * size) - sent
        readable, writable, _ = select.select([destination], [source] if room > 0 else [], [], 5)
        if not readable and (not writable or time.monotonic() > deadline):
            raise SystemExit(f"{received // size} of {frames} frames arrived, then nothing")
        if readable:
            received += destination.recv_into(buffer)
        if writable:
            start = sent % len(block)
            sent += source.send(block[start : start + min(room, len(block) - start)])
    if received != total:
        raise SystemExit(f"{received} bytes arrived where {total} were sent")


def _log_in(port: int) -> tuple[socket.socket, bytes]:
    secret = Ed25519PrivateKey.generate()
    key = secret.public_key().public_bytes_raw()
    body = "RELAY🔑".encode() + key + secret.sign(b"\x03") + b"\x03"
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(b"GET /relay HTTP/1.1\r\nhost: 127.0.0.1\r\nupgrade: iroh derp http\r\n\r\n")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += connection.recv(1)
    connection.sendall(struct.pack(">BI", 2, len(body)) + body + struct.pack(">BI", 12, 8) + b"whatever")
    pong = b""
    while len(pong) < 13:
        pong += connection.recv(13 - len(pong))
    return connection, key


def _wait_until_it_answers(process: subprocess.Popen[bytes], port: int) -> None:
    def answers() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"the relay ended with exit code {process.returncode}")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).close()
        except urllib.error.URLError:
            return False
        return True

    wait_until(answers, "the relay to answer", within=20)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relay", description=__doc__)
    parser.add_argument("--vs", type=Path, metavar="PATH", help="a real iroh-relay 0.35 to compare with")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument(
        "--megabytes", type=int, default=BYTES_PER_RUN // 1_000_000, help="payload per figure"
    )
    parser.add_argument("--generate", type=int, metavar="PORT", help=argparse.SUPPRESS)
    parser.add_argument("--payload", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--frames", type=int, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
