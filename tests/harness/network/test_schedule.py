from __future__ import annotations

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.network import nfqueue
from harness.network.schedule import Conditions, Schedule


def accepted(schedule: Schedule, now: float) -> list[int]:
    return [each.packet for each in schedule.due(now)]


def test_a_packet_waits_for_its_delay():
    schedule = Schedule(Conditions(delay_ms=50))
    assert schedule.arrived(1, now=100.0) is None
    assert schedule.next_at() == pytest.approx(100.05)
    assert accepted(schedule, 100.04) == []
    assert accepted(schedule, 100.06) == [1]
    assert schedule.next_at() is None


def test_jitter_keeps_the_order():
    schedule = Schedule(Conditions(delay_ms=20, jitter_ms=20, seed=1))
    for number in range(200):
        schedule.arrived(number, now=number * 0.001)
    assert accepted(schedule, 1.0) == list(range(200))


def test_reordered_packets_overtake_those_that_wait():
    schedule = Schedule(Conditions(delay_ms=20, reorder=0.1, seed=1))
    order = []
    for number in range(1000):
        schedule.arrived(number, now=number * 0.002)
        order += accepted(schedule, number * 0.002)
    order += accepted(schedule, 3.0)
    assert sorted(order) == list(range(1000))
    overtaking = sum(later < earlier for earlier, later in itertools.pairwise(order))
    assert 60 <= overtaking <= 140


def test_a_seed_loses_the_same_packets_whenever_they_come():
    def lost(pace: float, seed: int) -> set[int]:
        schedule = Schedule(Conditions(delay_ms=5, jitter_ms=5, loss=0.1, seed=seed))
        return {number for number in range(1000) if schedule.arrived(number, now=number * pace)}

    assert lost(0.001, seed=7) == lost(0.5, seed=7)
    assert lost(0.001, seed=7) != lost(0.001, seed=8)
    assert 60 <= len(lost(0.001, seed=7)) <= 140


@given(
    st.lists(st.tuples(st.integers(1, 50), st.floats(0, 0.1)), max_size=60),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(),
)
def test_every_packet_gets_one_verdict(bursts, loss, reorder, seed):
    schedule = Schedule(Conditions(delay_ms=30, jitter_ms=10, loss=loss, reorder=reorder, seed=seed))
    now, packet, verdicts = 0.0, 0, []
    for burst, pause in bursts:
        for _ in range(burst):
            if dropped := schedule.arrived(packet, now):
                verdicts.append(dropped)
            packet += 1
        now += pause
        verdicts += schedule.due(now)
    verdicts += schedule.rest()
    assert sorted(each.packet for each in verdicts) == list(range(packet))
    assert schedule.lost == sum(not each.accept for each in verdicts)


@pytest.mark.parametrize(
    "wrong",
    [
        {"loss": 5},
        {"reorder": -0.1, "delay_ms": 10},
        {"reorder": 0.1},
        {"jitter_ms": 20, "delay_ms": 10},
        {"rate_kbit": 0},
    ],
)
def test_conditions_that_cannot_be_are_refused(wrong):
    with pytest.raises(ValueError, match="Conditions"):
        Conditions(**wrong)


def test_packets_and_refusals_of_the_kernel_are_told_apart():
    """Two messages in one datagram, as the kernel sends them: attributes that nobody asked about are passed over."""
    attributes = (
        struct.pack("=HH", 11, 1)  # NFQA_PACKET_HDR: packet 9, IPv4, hook FORWARD
        + struct.pack(">IHBx", 9, 0x0800, 2)
        + struct.pack("=HHI", 8, 3, 0)
        + struct.pack("=HH", 8, 5)
        + struct.pack(">I", 4)
    )
    packet = struct.pack("=IHHII", 20 + len(attributes), 0x300, 0, 0, 0) + bytes(4) + attributes
    refusal = struct.pack("=IHHIIi", 36, 2, 0, 0, 0, -1) + bytes(16)
    assert list(nfqueue.parse(packet + refusal)) == [nfqueue.QueuedPacket(9, 4), nfqueue.Acknowledgement(1)]


@pytest.mark.parametrize(("accept", "decision"), [(True, 1), (False, 0)])
def test_a_verdict_names_queue_packet_and_decision(accept, decision):
    request = nfqueue.verdict_request(7, 9, accept=accept)
    assert struct.unpack_from("=IHH", request) == (len(request), 0x301, 1)
    assert struct.unpack_from(">BBH", request, 16) == (0, 0, 7)
    assert struct.unpack_from("=HH", request, 20) == (12, 2)
    assert struct.unpack_from(">II", request, 24) == (decision, 9)
