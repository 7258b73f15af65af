"""The figures of a link's conditions, on real packets between two hosts of a lab."""

from __future__ import annotations

import itertools
import os
import select
import signal
import socket
import statistics
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from harness.hosts import MissingCapability
from harness.network.conditions import Applied, Conditions, EmulatorFailed, apply
from harness.network.lab import Lab, LabHost
from harness.waiting import wait_until

STAMP = struct.Struct("!Id")


@pytest.fixture
def hosts(lab: Lab) -> tuple[LabHost, LabHost]:
    return lab.server("alice"), lab.server("bob")


def applied(host: LabHost, **conditions: Conditions) -> Applied:
    try:
        return apply(host.link, **conditions)
    except MissingCapability as error:
        pytest.skip(str(error))


@dataclass
class Stream:
    """Datagrams from one host to another; each carries its number and when it was sent."""

    sender: socket.socket
    receiver: socket.socket
    sent: int
    numbers: list[int]
    delays_ms: list[float]
    arrivals: list[float]

    def take(self) -> None:
        while select.select([self.receiver], [], [], 0)[0]:
            number, sent_at = STAMP.unpack_from(self.receiver.recv(2048))
            now = time.monotonic()
            self.numbers.append(number)
            self.delays_ms.append((now - sent_at) * 1000)
            self.arrivals.append(now)

    def send(self, count: int, *, size: int = 160, every: float = 0.002) -> None:
        """Who was kept from sending catches up: as many in all that time, however busy the machine is."""
        next_at = time.monotonic()
        for _ in range(count):
            self.sender.send(STAMP.pack(self.sent, time.monotonic()).ljust(size, b"\0"))
            self.sent += 1
            next_at += every
            while (left := next_at - time.monotonic()) > 0:
                select.select([self.receiver], [], [], left)
                self.take()

    def settle(self, conditions: Applied, *, way: str = "up") -> int:
        """Until every packet arrived or was lost by the lab; how many were lost."""

        def complete() -> bool:
            self.take()
            return len(self.numbers) + lost() == self.sent

        def lost() -> int:
            return next(each for name, each in conditions.lost().items() if name == way).packets

        wait_until(complete, "every packet to arrive or to be counted as lost", within=20)
        return lost()

    def await_arrival_of(self, number: int) -> None:
        """Of the last that was sent, where nobody knows how many were lost before."""

        def arrived() -> bool:
            self.take()
            return number in self.numbers

        wait_until(arrived, f"packet {number}", within=20)

    @property
    def inversions(self) -> int:
        return sum(later < earlier for earlier, later in itertools.pairwise(self.numbers))


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["IPv4", "IPv6"])
def stream(hosts: tuple[LabHost, LabHost], request: pytest.FixtureRequest) -> Iterator[Stream]:
    yield from streaming(*hosts, request.param)


@pytest.fixture
def stream4(hosts: tuple[LabHost, LabHost]) -> Iterator[Stream]:
    yield from streaming(*hosts, socket.AF_INET)


def streaming(alice: LabHost, bob: LabHost, family: socket.AddressFamily) -> Iterator[Stream]:
    address = next(each for each in bob.addresses if (":" in each) == (family == socket.AF_INET6))
    with (
        bob.socket(family, socket.SOCK_DGRAM) as receiver,
        alice.socket(family, socket.SOCK_DGRAM) as sender,
    ):
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        receiver.bind((address, 5000))
        sender.connect((address, 5000))
        yield Stream(sender, receiver, 0, [], [], [])


def test_a_delay_comes_on_top_and_goes_again(hosts, stream):
    with applied(hosts[0], up=Conditions(delay_ms=50)) as conditions:
        stream.send(100)
        assert stream.settle(conditions) == 0
    assert min(stream.delays_ms) >= 50
    assert statistics.median(stream.delays_ms) < 500
    assert stream.inversions == 0
    stream.delays_ms.clear()
    stream.send(20)
    stream.settle(conditions)
    assert min(stream.delays_ms) < 50


def test_the_other_direction_is_its_own(hosts, stream4):
    with applied(hosts[1], down=Conditions(delay_ms=50), up=Conditions(loss=1)) as conditions:
        stream4.send(50)
        assert stream4.settle(conditions, way="down") == 0
    assert min(stream4.delays_ms) >= 50


def test_jitter_spreads_and_keeps_the_order(hosts, stream4):
    with applied(hosts[0], up=Conditions(delay_ms=20, jitter_ms=10, seed=1)) as conditions:
        stream4.send(400)
        stream4.settle(conditions)
    assert min(stream4.delays_ms) >= 10
    assert max(stream4.delays_ms) - min(stream4.delays_ms) > 5
    assert stream4.inversions == 0


def test_reordering_loses_nothing(hosts, stream4):
    with applied(hosts[0], up=Conditions(delay_ms=20, reorder=0.1, seed=1)) as conditions:
        stream4.send(400)
        assert stream4.settle(conditions) == 0
    assert 15 <= stream4.inversions <= 80


def test_a_seed_loses_the_same_packets_in_two_runs(hosts, stream):
    runs = []
    for _ in range(2):
        with applied(hosts[0], up=Conditions(loss=0.1, seed=7)) as conditions:
            stream.send(400, every=0.0005)
            lost = stream.settle(conditions)
            assert conditions.lost()["up"].between == lost
            assert conditions.lost()["down"].packets == 0
        runs.append([number % 400 for number in stream.numbers])
        stream.sent = 0
        stream.numbers.clear()
    assert runs[0] == runs[1]
    assert 0.05 <= 1 - len(runs[0]) / 400 <= 0.15


@pytest.mark.parametrize(("sides", "way"), [(0, "up"), (1, "down")])
def test_a_rate_lets_through_as_much_and_drops_the_rest(hosts, stream4, sides, way):
    """2 Mbit/s are 250 packets of 1000 bytes in a second: the clock is the receiver's, from first to last packet."""
    with applied(hosts[sides], **{way: Conditions(rate_kbit=2000)}) as conditions:
        stream4.send(1000, size=972, every=0.001)
        lost = stream4.settle(conditions, way=way)
        assert conditions.lost()[way].outside == lost
    rate = len(stream4.numbers) / (stream4.arrivals[-1] - stream4.arrivals[0])
    assert rate < 250 * 1.2
    assert lost >= 400
    assert stream4.inversions == 0


def test_what_is_on_its_way_arrives_when_conditions_are_removed(hosts, stream4):
    conditions = applied(hosts[0], up=Conditions(delay_ms=60_000))
    stream4.send(20)
    assert stream4.numbers == []
    conditions.remove()
    assert stream4.settle(conditions) == 0
    conditions.remove()


def test_rate_and_delay_together(hosts, stream4):
    with applied(hosts[0], up=Conditions(rate_kbit=1000, delay_ms=30, loss=0.05, seed=3)) as conditions:
        stream4.send(300, size=972, every=0.002)
        stream4.settle(conditions)
        lost = conditions.lost()["up"]
    assert lost.between > 0
    assert lost.outside > 0
    assert min(stream4.delays_ms) >= 30


def test_a_dead_emulator_passes_nothing_and_is_reported(hosts, stream4):
    conditions = applied(hosts[0], up=Conditions(delay_ms=1, seed=1))
    assert conditions.emulator_pid is not None
    os.kill(conditions.emulator_pid, signal.SIGKILL)
    os.waitid(os.P_PID, conditions.emulator_pid, os.WEXITED | os.WNOWAIT)
    stream4.send(20)
    assert stream4.numbers == []
    with pytest.raises(EmulatorFailed, match="-9"):
        conditions.lost()
    with pytest.raises(EmulatorFailed, match="-9"):
        conditions.remove()
    stream4.send(20)
    stream4.await_arrival_of(39)
    assert stream4.numbers == list(range(20, 40))


@pytest.mark.parametrize("second", [Conditions(loss=0.5, seed=1), Conditions(rate_kbit=64)])
def test_a_link_has_one_set_of_conditions(hosts, second):
    first = Conditions(delay_ms=1, rate_kbit=1000, seed=1)
    with applied(hosts[0], up=first, down=first) as conditions:
        with pytest.raises(ValueError, match="conditions already"):
            apply(hosts[0].link, up=second)
        conditions.lost()
    with applied(hosts[0], up=second):
        pass


def test_netem_does_what_it_is_used_for(hosts, stream4):
    with applied(hosts[0], up=Conditions(delay_ms=50, loss=0.2)) as conditions:
        if conditions.emulator_pid is not None:
            pytest.skip("capability netem: this kernel has none, the emulator does it: modprobe sch_netem")
        stream4.send(200)
        lost = stream4.settle(conditions)
        assert conditions.lost()["up"].outside == lost
    assert min(stream4.delays_ms) >= 50
    assert 10 <= lost <= 80
