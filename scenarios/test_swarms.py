"""Swarms of several devices, cut off, cut apart, and in networks that change."""

from harness.checks import swarms
from harness.doors.scenario import scenario
from harness.steps.changes import NEW_NAT_MAPPING, RELAY_RESTART, WIFI_TO_MOBILE

test_every_device_receives_every_message = scenario(swarms.every_device_receives_every_message)
test_two_receive_each_message_in_order = scenario(
    swarms.every_device_receives_every_message, networks=swarms.TWO
)
test_ten_receive_every_message = scenario(
    swarms.every_device_receives_every_message, networks=swarms.TEN, nightly=True
)
test_isolating_one_device_affects_no_other = scenario(swarms.isolating_one_device_affects_no_other)
test_blocking_a_direct_path_loses_no_message = scenario(swarms.blocking_a_direct_path_loses_no_message)
test_swarm_recovers_from_a_short_outage = scenario(swarms.swarm_recovers_from_a_change)
test_swarm_recovers_from_an_outage = scenario(
    swarms.swarm_recovers_from_a_change, change="outage of 5 s", nightly=True
)
test_swarm_recovers_from_a_long_outage = scenario(
    swarms.swarm_recovers_from_a_change, change="outage of 20 s", nightly=True
)
test_swarm_recovers_from_a_new_nat_mapping = scenario(
    swarms.swarm_recovers_from_a_change, change=NEW_NAT_MAPPING, nightly=True
)
test_swarm_recovers_from_wifi_to_mobile = scenario(
    swarms.swarm_recovers_from_a_change, change=WIFI_TO_MOBILE, nightly=True
)
test_swarm_recovers_from_a_relay_restart = scenario(
    swarms.swarm_recovers_from_a_change, change=RELAY_RESTART, nightly=True
)
