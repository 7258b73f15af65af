"""Calls between two real Delta Chat cores, carried by the target's own TURN server."""

from __future__ import annotations

import pytest

from harness.checks import calls
from harness.hosts import Host
from harness.session import DeviceFactory
from harness.targets import Target


@pytest.mark.requirement("DISC-5", "TURN-8")
def test_core_lists_the_offered_servers(target: Target, host: Host, devices: DeviceFactory) -> None:
    assert calls.core_lists_the_offered_servers(target, host, devices)


@pytest.mark.requirement("TURN-10", "E2E-path")
def test_relayed_call_is_heard_and_seen(target: Target, host: Host, devices: DeviceFactory) -> None:
    assert calls.relayed_call_is_heard_and_seen(target, host, devices)


@pytest.mark.requirement("E2E-path")
def test_direct_call_leaves_the_relay_alone(target: Target, host: Host, devices: DeviceFactory) -> None:
    assert calls.direct_call_leaves_the_relay_alone(target, host, devices)


@pytest.mark.requirement("TURN-10")
def test_calls_ring_and_end(target: Target, host: Host, devices: DeviceFactory) -> None:
    assert calls.calls_ring_and_end(target, host, devices)
