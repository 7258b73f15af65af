"""The TURN server by its name: whether devices find it, and what they do when they do not."""

from harness.checks import names
from harness.doors.scenario import scenario

test_turn_host_leads_to_the_target = scenario(names.turn_host_leads_to_the_target)
test_core_finds_turn_by_its_name = scenario(names.core_finds_turn_by_its_name)
test_the_name_of_turn_fails_in_every_way = scenario(
    names.core_finds_turn_by_its_name, ways=tuple(names.EVERY_WAY), nightly=True
)
