"""Devices without an IPv4 address."""

from harness.checks import ipv6
from harness.doors.scenario import scenario
from harness.network import profiles

test_devices_without_ipv4_are_served = scenario(ipv6.devices_without_ipv4_are_served)
test_with_a_friend_whose_udp_is_blocked = scenario(
    ipv6.devices_without_ipv4_are_served, other=ipv6.IPV6_WITHOUT_UDP, nightly=True
)
test_with_a_friend_behind_an_open_router = scenario(
    ipv6.devices_without_ipv4_are_served, other=profiles.IPV6_ROUTED, nightly=True
)
test_with_a_friend_of_both_families = scenario(
    ipv6.devices_without_ipv4_are_served, other=profiles.DUAL_STACK, nightly=True
)
