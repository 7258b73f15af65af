"""Calls between two real Delta Chat cores, carried by the target's own TURN server."""

from __future__ import annotations

import pytest

from harness.checks import calls, calls_interrupted, calls_lifetimes, calls_many
from harness.hosts import Host
from harness.stage.session import DeviceFactory
from harness.target import Target


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


@pytest.mark.requirement("TURN-4")
@pytest.mark.server(*calls_lifetimes.SHORT_TTL)
def test_relayed_call_outlives_credentials(target: Target, host: Host, devices: DeviceFactory) -> None:
    assert calls_lifetimes.relayed_call_outlives_credentials(target, host, devices)


@pytest.mark.requirement("TURN-10")
@pytest.mark.server(*calls_lifetimes.SHORT_LIVES)
def test_relayed_call_outlives_lifetimes(target: Target, host: Host, devices: DeviceFactory) -> None:
    assert calls_lifetimes.relayed_call_outlives_lifetimes(target, host, devices)


@pytest.mark.nightly
@pytest.mark.requirement("TURN-10")
@pytest.mark.server(*calls_lifetimes.SHORT_LIVES)
def test_a_minute_outlives_every_lifetime_seven_times(
    target: Target, host: Host, devices: DeviceFactory
) -> None:
    assert calls_lifetimes.relayed_call_outlives_lifetimes(target, host, devices, seconds=60)


@pytest.mark.nightly
@pytest.mark.requirement("TURN-10")
def test_eleven_minutes_outlive_the_real_lifetimes(
    target: Target, host: Host, devices: DeviceFactory
) -> None:
    assert calls_lifetimes.relayed_call_outlives_lifetimes(target, host, devices, seconds=660)


@pytest.mark.requirement("TURN-5", "TURN-10")
def test_relayed_call_over_tcp_and_tls(target: Target, host: Host, devices: DeviceFactory) -> None:
    assert calls.relayed_call_over_tcp_and_tls(target, host, devices)


@pytest.mark.requirement("TURN-10", "E2E-path")
@pytest.mark.parametrize("number", [3, pytest.param(6, marks=pytest.mark.nightly)])
def test_calls_at_once(target: Target, host: Host, devices: DeviceFactory, number: int) -> None:
    assert calls_many.calls_at_once(target, host, devices, number)


@pytest.mark.requirement("TURN-10")
def test_call_survives_a_pause_of_turn(target: Target, host: Host, devices: DeviceFactory) -> None:
    assert calls_interrupted.call_survives_a_pause_of_turn(target, host, devices)


@pytest.mark.nightly  # it takes half a minute until an agent notices that its media has died
@pytest.mark.requirement("TURN-2", "TURN-10")
def test_calling_survives_a_restart_of_turn(target: Target, host: Host, devices: DeviceFactory) -> None:
    assert calls_interrupted.calling_survives_a_restart_of_turn(target, host, devices)
