"""Profiles with accounts on two servers."""

from harness.checks import transports
from harness.doors.scenario import scenario

test_two_servers_serve_one_profile = scenario(transports.two_servers_serve_one_profile)
test_realtime_needs_the_relay_of_the_first_server = scenario(
    transports.realtime_needs_the_relay_of_the_first_server
)
test_first_server_without_a_relay_leads_to_strangers = scenario(
    transports.first_server_without_a_relay_leads_to_strangers
)
test_mail_leaves_by_the_first_server = scenario(transports.mail_leaves_by_the_first_server)
test_calls_use_turn_of_either_server = scenario(transports.calls_use_turn_of_either_server)
