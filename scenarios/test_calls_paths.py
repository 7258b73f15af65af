"""Calls from network to network: which way each takes, proven by counters outside the devices."""

from harness.checks import calls_paths
from harness.doors.scenario import scenario

test_calls_take_the_expected_path = scenario(calls_paths.calls_take_the_expected_path)
test_one_leg_call_is_relayed = scenario(calls_paths.one_leg_call_is_relayed)
test_calls_take_the_expected_path_between_all_networks = scenario(
    calls_paths.calls_take_the_expected_path, pairs=calls_paths.EVERY, nightly=True
)
