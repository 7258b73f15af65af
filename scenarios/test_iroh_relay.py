"""Promises of an iroh relay beyond test 15: long-lived connections, and the protocols of nodes since 0.91."""

from harness.checks import relay, relay_v1
from harness.doors.scenario import scenario

test_relay_connection_survives_idle = scenario(relay.relay_connection_survives_idle)
test_relay_v1_forwards_each_datagram_once = scenario(relay_v1.relay_v1_forwards_each_datagram_once)
test_relay_v1_refuses_bad_signatures = scenario(relay_v1.relay_v1_refuses_bad_signatures)
test_relay_v1_same_key_rules = scenario(relay_v1.relay_v1_same_key_rules)
test_relay_v1_carries_real_nodes = scenario(relay_v1.relay_v1_carries_real_nodes)
