"""Test 16: two real Delta Chat cores exchange realtime messages of a WebXDC app.

In a lab it is known which way the messages go: of two pairs at the same time, and of each kind by itself. On one host
it is not.
"""

from harness.checks import realtime, realtime_paths
from harness.doors.scenario import scenario

test_two_devices_exchange_messages = scenario(realtime.two_devices_exchange_messages)
test_two_pairs_take_both_ways_at_once = scenario(realtime_paths.two_pairs_take_both_ways_at_once)
test_two_devices_go_direct = scenario(realtime_paths.two_devices_go_direct)
test_two_devices_are_relayed = scenario(realtime_paths.two_devices_are_relayed)
test_devices_survive_a_relay_restart = scenario(realtime.devices_survive_a_relay_restart)
test_a_device_rejoins = scenario(realtime.a_device_rejoins)
test_both_devices_of_an_account_receive_messages = scenario(
    realtime.both_devices_of_an_account_receive_messages
)
