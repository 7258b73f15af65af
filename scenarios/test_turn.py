"""A TURN server relays, for those who may use it and to those who want it."""

from harness.checks import turn, turn_from_outside
from harness.doors.scenario import scenario

test_turn_is_offered = scenario(turn.turn_is_offered)
test_turn_allocates_with_offered_credentials = scenario(turn.turn_allocates_with_offered_credentials)
test_relayed_address_answers_a_plain_peer = scenario(turn_from_outside.relayed_address_answers_a_plain_peer)
test_turn_refuses_wrong_credentials = scenario(turn.turn_refuses_wrong_credentials)
test_turn_credentials_expire = scenario(turn.turn_credentials_expire)
test_turn_enforces_permissions = scenario(turn.turn_enforces_permissions)
