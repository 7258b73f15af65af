"""What METADATA offers beyond the relay."""

from harness.checks import discovery
from harness.doors.scenario import scenario

test_turns_is_offered = scenario(discovery.turns_is_offered)
