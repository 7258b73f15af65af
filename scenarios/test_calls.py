"""Calls between two real Delta Chat cores, carried by the target's own TURN server."""

from harness.checks import calls, calls_interrupted, calls_lifetimes, calls_many
from harness.doors.scenario import scenario

test_core_lists_the_offered_servers = scenario(calls.core_lists_the_offered_servers)
test_relayed_call_is_heard_and_seen = scenario(calls.relayed_call_is_heard_and_seen)
test_direct_call_leaves_the_relay_alone = scenario(calls.direct_call_leaves_the_relay_alone)
test_calls_ring_and_end = scenario(calls.calls_ring_and_end)
test_second_device_is_told_of_the_answer = scenario(calls.second_device_is_told_of_the_answer)
test_second_device_closes_its_window = scenario(calls.second_device_closes_its_window)
test_relayed_call_over_tcp_and_tls = scenario(calls.relayed_call_over_tcp_and_tls)

test_relayed_call_outlives_credentials = scenario(calls_lifetimes.relayed_call_outlives_credentials)
test_relayed_call_outlives_lifetimes = scenario(calls_lifetimes.relayed_call_outlives_lifetimes)
test_a_minute_outlives_every_lifetime_seven_times = scenario(
    calls_lifetimes.relayed_call_outlives_lifetimes, seconds=60, nightly=True
)
test_eleven_minutes_outlive_the_real_lifetimes = scenario(
    calls_lifetimes.relayed_call_outlives_lifetimes, seconds=660, as_it_is=True, nightly=True
)

test_three_calls_at_once = scenario(calls_many.calls_at_once, calls=3)
test_six_calls_at_once = scenario(calls_many.calls_at_once, nightly=True)

test_call_survives_a_pause_of_turn = scenario(calls_interrupted.call_survives_a_pause_of_turn)
# It takes half a minute until an agent notices that its media has died.
test_calling_survives_a_restart_of_turn = scenario(
    calls_interrupted.calling_survives_a_restart_of_turn, nightly=True
)
