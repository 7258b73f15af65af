"""Costs of the network lab and its evidence: `python -m benchmarks.lab [--runs N] [--seconds S] [--json FILE]`.

Set-up and end of labs with 2, 10 and 50 devices, each behind a NAT of its own: wall time, which other work on the
machine makes longer, so the quickest of some runs stands beside the median. Then packets at the rate of a call between
two devices, bare and watched: what was lost, and CPU time of the sender (in whose time the kernel counts) and of the
harness. Then how long counters take to be installed, read, and installed anew.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.evidence import flows
from harness.evidence.edges import Edges
from harness.hosts import MissingCapability
from harness.network import profiles
from harness.network.lab import Lab, LabHost
from harness.network.preflight import preflight

PROTOTYPE = {2: 0.06, 10: 0.4, 50: 2.2}
"""Devices -> seconds, on a quiet machine (issue 5)."""
PACKETS_PER_SECOND = 1562
"""2 Mbit/s of 160 bytes."""
SIZES = (160, 1200)
WATCHED_EDGES = 10
PATIENCE = 1.0
"""Seconds without any packet after which those in flight are lost."""
BARE, COUNTED, CAPTURED = "bare", "counted", "captured"


@dataclass(frozen=True)
class SetUp:
    devices: int
    seconds: list[float]
    """To the last device, of each run."""
    close_seconds: list[float]
    load: float
    """Of the machine, over the minute before."""

    def __str__(self) -> str:
        best, median = min(self.seconds), statistics.median(self.seconds)
        return (
            f"set-up    {self.devices:3} devices  {best:6.3f} s at best, median {median:6.3f} s"
            f"  {best / PROTOTYPE[self.devices]:5.2f} x the prototype's  end {min(self.close_seconds):.3f} s"
            f"  (load {self.load:.1f})"
        )


@dataclass(frozen=True)
class Watched:
    mode: str
    size: int
    """Bytes of payload of each packet."""
    sent: int
    received: int
    sender_microseconds: float
    """Of CPU for each packet, with receiving it."""
    harness_microseconds: float

    def __str__(self) -> str:
        share = self.harness_microseconds * PACKETS_PER_SECOND / 1e6
        return (
            f"evidence  {self.mode:9} {self.size:5} B  lost {self.sent - self.received}/{self.sent}"
            f"  sender {self.sender_microseconds:6.1f} us per packet"
            f"  harness {self.harness_microseconds:6.1f} us, {share:.1%} of a processor"
        )


@dataclass(frozen=True)
class Counters:
    what: str
    milliseconds: list[float]
    """For one edge, of each time."""

    def __str__(self) -> str:
        best, median = min(self.milliseconds), statistics.median(self.milliseconds)
        return f"counters  {self.what:22} {best:6.1f} ms at best, median {median:6.1f} ms for one edge"


Result = SetUp | Watched | Counters


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    if options.generate is not None:
        generate(*options.generate)
        return 0
    try:
        preflight().require("netns", "nft", "conntrack", "capture")
    except MissingCapability as missing:
        print(missing)
        return 1
    results: list[Result] = []
    steps: list[Iterator[Result]] = [
        *(set_up(devices, options.runs) for devices in PROTOTYPE),
        *(watched(size, options.seconds) for size in SIZES),
        counters(options.runs),
    ]
    for result in itertools.chain.from_iterable(steps):
        print(result, flush=True)
        results.append(result)
    if options.json is not None:
        found = [{"kind": type(result).__name__, **asdict(result)} for result in results]
        options.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0


def set_up(devices: int, runs: int) -> Iterator[SetUp]:
    """Labs in which every device has a home router."""
    taken, closing = [], []
    for _ in range(runs):
        began = time.monotonic()
        with Lab() as lab:
            for number in range(devices):
                lab.device(f"device{number}", profiles.HOME)
            ready = time.monotonic()
        taken.append(round(ready - began, 4))
        closing.append(round(time.monotonic() - ready, 4))
    yield SetUp(devices, taken, closing, os.getloadavg()[0])


def watched(size: int, seconds: float) -> Iterator[Watched]:
    """The same packets three times: unseen, counted at both edges, and captured into a file as well."""
    bare = None
    for mode in (BARE, COUNTED, CAPTURED):
        with Lab() as lab, tempfile.TemporaryDirectory() as directory:
            pair = lab.device("alice"), lab.device("bob")
            with _watching(pair, mode, Path(directory)):
                result = _measured(pair, mode, size, seconds)
        yield result
        bare = bare or result
        if result is not bare:
            ratio = result.sender_microseconds / bare.sender_microseconds
            print(f"ratio     {mode:9} {size:5} B  {ratio:.2f} x the CPU of the sender without evidence")


@contextmanager
def _watching(pair: Sequence[LabHost], mode: str, directory: Path) -> Iterator[None]:
    if mode == BARE:
        yield
        return
    with Edges(pair, directory / "capture.pcapng" if mode == CAPTURED else None) as edges:
        edges.begin("media")
        yield
        dropped = sum(edges.dropped.values())
        if problems := [each for counted in edges.now().values() for each in counted.problems] or dropped:
            raise RuntimeError(f"the evidence is worth nothing: {problems}, {dropped} frames missed")


def _measured(pair: tuple[LabHost, LabHost], mode: str, size: int, seconds: float) -> Watched:
    packets = round(seconds * PACKETS_PER_SECOND)
    with _bound(pair[0]) as sender, _bound(pair[1]) as receiver:
        sender.connect(receiver.getsockname())
        ends = sender.fileno(), receiver.fileno()
        command = [sys.executable, "-m", "benchmarks.lab", "--generate", *map(str, (*ends, size, packets))]
        cpu = time.process_time()
        done = subprocess.run(
            command, pass_fds=ends, capture_output=True, check=True, timeout=10 * seconds + 60
        )
        cpu = time.process_time() - cpu
    received, spent = json.loads(done.stdout)
    return Watched(mode, size, packets, received, 1e6 * spent / packets, 1e6 * cpu / packets)


def _bound(host: LabHost) -> socket.socket:
    made = host.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((host.address, 0))
    return made


def generate(sending: int, receiving: int, size: int, packets: int) -> None:
    """Send at the rate of a call from one socket to another, both inherited; prints what arrived, and CPU seconds."""
    payload = b"\x80" + bytes(size - 1)
    received = 0
    with socket.socket(fileno=sending) as sender, socket.socket(fileno=receiving) as receiver:
        receiver.setblocking(False)
        cpu, began = time.process_time(), time.monotonic()
        for number in range(packets):
            due = began + number / PACKETS_PER_SECOND - time.monotonic()
            if select.select([receiver], [], [], max(due, 0))[0]:
                received += _drain(receiver)
                time.sleep(max(began + number / PACKETS_PER_SECOND - time.monotonic(), 0))
            sender.send(payload)
        while received < packets and select.select([receiver], [], [], PATIENCE)[0]:
            received += _drain(receiver)
        print(json.dumps([received, time.process_time() - cpu]))


def _drain(receiver: socket.socket) -> int:
    count = 0
    try:
        while receiver.recv(2048):
            count += 1
    except BlockingIOError:
        pass
    return count


def counters(runs: int) -> Iterator[Counters]:
    """At the edges of ten devices of one internet."""
    with Lab() as lab:
        links = [lab.device(f"device{number}").link for number in range(WATCHED_EDGES)]
        for what, do in (
            ("installed", flows.install),
            ("read", flows.read),
            ("installed anew", flows.install),
        ):
            times = 1 if what == "installed" else runs
            yield Counters(what, [_milliseconds(functools.partial(do, link)) for link in links * times])


def _milliseconds(do: Callable[[], object]) -> float:
    began = time.monotonic()
    do()
    return round((time.monotonic() - began) * 1000, 2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lab", description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="of each set-up (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="of packets (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure there")
    parser.add_argument("--generate", type=int, nargs=4, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
