"""Forwarded frames per CPU second of a relay: `python -m benchmarks.relay [--vs PATH] [--json FILE]`.

A generator process (relay_load.py) logs nodes in, keeps a bounded amount of frames on its way between them, and counts
what arrives. The CPU time is the relay process's own, from /proc, without the log-ins. With `--vs` a real `iroh-relay`
0.35 gets the same, in turn with ours, so that both see the machine alike; with `--rounds` the median of that many
ratios is told, each of one round of both.
"""

from __future__ import annotations

import argparse
import json
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from harness.waiting import wait_until
from reference_server.tls import issue_development_certificate

from .processor import cpu_seconds
from .relay_load import CASES, DEADLINE, Case

MEGABYTES = 300
"""Payload per case and relay."""


@dataclass(frozen=True)
class Measurement:
    relay: str
    case: str
    payload: int
    frames: int
    wall_seconds: float
    cpu_seconds: float
    """Of the relay process, while frames were forwarded."""
    frames_per_cpu_second: float

    def __str__(self) -> str:
        volume = self.frames_per_cpu_second * self.payload / 1e6
        return (
            f"{self.relay:10}  {self.case:28} {self.frames_per_cpu_second:9,.0f} frames per CPU second"
            f"  {volume:6,.0f} MB per CPU second  {self.frames / self.wall_seconds:9,.0f} frames per second"
        )


@dataclass(frozen=True)
class Running:
    """A relay, its port for clients, and the CA where that port speaks TLS."""

    process: subprocess.Popen[bytes]
    port: int
    authority: Path | None


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    relays = {"reference": [sys.executable, "-m", "reference_server.iroh_relay", "--config-path"]}
    if options.vs is not None:
        relays["iroh-relay"] = [str(options.vs), "--config-path"]
    results = []
    for case in CASES:
        if options.only is not None and options.only not in case.name:
            continue
        ratios = []
        for _ in range(options.rounds):
            measured = [
                measure(name, command, case, options.megabytes * 1_000_000)
                for name, command in relays.items()
            ]
            results += measured
            ratios.append(measured[0].frames_per_cpu_second / measured[-1].frames_per_cpu_second)
        if options.vs is not None:
            print(f"ratio       {case.name:28} {median(ratios):9.2f} x the frames per CPU second", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps([asdict(result) for result in results], indent=2) + "\n")
    return 0


def measure(name: str, command: Sequence[str], case: Case, size: int) -> Measurement:
    """Start a relay and forward `size` bytes of payload through it."""
    nodes = case.senders * case.peers
    frames = max(1, size // case.payload // nodes) * nodes
    with running_relay(command, tls=case.tls) as relay:
        idle, _ = forward(name, relay, case, nodes)
        busy, wall = forward(name, relay, case, frames)
    result = Measurement(name, case.name, case.payload, frames, wall, busy - idle, frames / (busy - idle))
    print(result, flush=True)
    return result


def forward(name: str, relay: Running, case: Case, frames: int) -> tuple[float, float]:
    """Returns CPU seconds of the relay and seconds that passed; ends with a sentence if frames did not arrive."""
    before, began = cpu_seconds(relay.process.pid), time.monotonic()
    command = [sys.executable, "-m", "benchmarks.relay_load", str(relay.port), case.name, str(frames)]
    command += [] if relay.authority is None else [str(relay.authority)]
    load = subprocess.run(command, timeout=2 * DEADLINE, stderr=subprocess.PIPE, text=True, check=False)
    if load.returncode:
        raise SystemExit(f"{name}, {case.name}: {load.stderr.strip()}")
    return cpu_seconds(relay.process.pid) - before, time.monotonic() - began


@contextmanager
def running_relay(command: Sequence[str], *, tls: bool) -> Iterator[Running]:
    with tempfile.TemporaryDirectory() as directory:
        plain, secure = _free_port(), _free_port()
        text = f'http_bind_addr = "127.0.0.1:{plain}"\n'
        text += 'enable_stun = false\nenable_metrics = false\naccess = "everyone"\n'
        if tls:
            files = issue_development_certificate(Path(directory), ["127.0.0.1"])
            text += f'[tls]\ncert_mode = "Manual"\nhttps_bind_addr = "127.0.0.1:{secure}"\n'
            text += f'manual_cert_path = "{files.certificate_file}"\nmanual_key_path = "{files.key_file}"\n'
        config = Path(directory) / "iroh-relay.toml"
        config.write_text(text)
        dev = [] if tls else ["--dev"]
        process = subprocess.Popen([*command, str(config), *dev], stdout=subprocess.DEVNULL)
        try:
            port = secure if tls else plain
            _wait_until_it_listens(process, port)
            yield Running(process, port, files.ca_file if tls else None)
        finally:
            process.terminate()
            process.wait()


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    def listens() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"the relay ended with exit code {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except OSError:
            return False
        return True

    wait_until(listens, "the relay to listen", within=20)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.relay", description=__doc__)
    parser.add_argument("--vs", type=Path, metavar="PATH", help="a real iroh-relay 0.35 to compare with")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    parser.add_argument("--megabytes", type=int, default=MEGABYTES, help="payload per figure")
    parser.add_argument(
        "--rounds", type=int, default=1, help="measurements of each case (default %(default)s)"
    )
    parser.add_argument("--only", metavar="WORD", help="the cases whose name contains this")
    return parser


if __name__ == "__main__":
    sys.exit(main())
