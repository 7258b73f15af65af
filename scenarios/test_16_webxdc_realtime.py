"""Test 16: two real Delta Chat cores exchange realtime messages of a WebXDC app.

In a lab it is known which way the messages go: once with a direct path, once without. On one host it is not.
"""

from harness.checks import realtime, realtime_paths
from harness.doors.scenario import scenario

test_two_devices_exchange_messages = scenario(realtime.two_devices_exchange_messages)
test_two_devices_go_direct = scenario(realtime_paths.two_devices_go_direct)
test_two_devices_are_relayed = scenario(realtime_paths.two_devices_are_relayed)
test_devices_survive_a_relay_restart = scenario(realtime.devices_survive_a_relay_restart)
test_a_device_rejoins = scenario(realtime.a_device_rejoins)
test_two_devices_of_one_account = scenario(realtime.two_devices_of_one_account)
