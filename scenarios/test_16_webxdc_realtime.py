"""Test 16: two real Delta Chat cores exchange realtime messages of a WebXDC app.

In a lab it is known which way the messages go: once with a direct path, once without. On one host it is not.
"""

from __future__ import annotations

import pytest

from harness.checks import realtime, realtime_paths
from harness.hosts import Host
from harness.stage.lab import LabFactory
from harness.stage.session import DeviceFactory
from harness.target import Target


@pytest.mark.requirement("E2E-16", "DISC-5", "IROH-2", "IROH-4")
def test_two_devices_exchange_messages(target: Target, host: Host, devices: DeviceFactory) -> None:
    assert realtime.two_devices_exchange_messages(target, host, devices)


@pytest.mark.requirement("E2E-16", "IROH-5", "E2E-path")
def test_two_devices_go_direct(target: Target, labs: LabFactory) -> None:
    assert realtime_paths.two_devices_go_direct(target, labs)


@pytest.mark.requirement("E2E-16", "IROH-5", "E2E-path")
def test_two_devices_are_relayed(target: Target, labs: LabFactory) -> None:
    assert realtime_paths.two_devices_are_relayed(target, labs)


@pytest.mark.requirement("IROH-3")
def test_devices_survive_a_relay_restart(target: Target, host: Host, devices: DeviceFactory) -> None:
    assert realtime.devices_survive_a_relay_restart(target, host, devices)


@pytest.mark.requirement("IROH-4")
def test_a_device_rejoins(target: Target, host: Host, devices: DeviceFactory) -> None:
    assert realtime.a_device_rejoins(target, host, devices)


@pytest.mark.requirement("IROH-4", "IROH-9")
def test_two_devices_of_one_account(target: Target, host: Host, devices: DeviceFactory) -> None:
    assert realtime.two_devices_of_one_account(target, host, devices)
