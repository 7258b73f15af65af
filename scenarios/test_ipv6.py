"""Devices without an IPv4 address."""

from __future__ import annotations

import pytest

from harness.checks import ipv6
from harness.network import profiles
from harness.network.profiles import Profile
from harness.stage.lab import LabFactory
from harness.target import Target


@pytest.mark.requirement("DISC-5", "IROH-5", "TURN-8", "E2E-path")
def test_devices_without_ipv4_are_served(target: Target, labs: LabFactory) -> None:
    assert ipv6.devices_without_ipv4_are_served(target, labs)


@pytest.mark.nightly
@pytest.mark.requirement("DISC-5", "IROH-5", "TURN-8", "E2E-path")
@pytest.mark.parametrize(
    "other", [ipv6.IPV6_WITHOUT_UDP, profiles.IPV6_ROUTED, profiles.DUAL_STACK], ids=lambda each: each.name
)
def test_with_friends_in_other_networks(target: Target, labs: LabFactory, other: Profile) -> None:
    assert ipv6.devices_without_ipv4_are_served(target, labs, other=other)
