"""Test 15: METADATA offers a relay of this server, and the relay behind it works."""

from harness.checks import discovery, relay
from harness.doors.scenario import scenario

test_metadata_offers_a_relay = scenario(discovery.metadata_offers_a_relay)
test_metadata_needs_login = scenario(discovery.metadata_needs_login)
test_relay_answers_http = scenario(relay.relay_answers_http)
test_relay_forwards_each_frame_once = scenario(relay.relay_forwards_each_frame_once)
test_relay_refuses_bad_signatures = scenario(relay.relay_refuses_bad_signatures)
