"""What an operator switches and sets takes effect, and is given back."""

from harness.checks import operation
from harness.doors.scenario import scenario

test_blocked_accounts_stay_out = scenario(operation.blocked_accounts_stay_out)
test_services_that_are_switched_off_are_not_offered = scenario(
    operation.services_that_are_switched_off_are_not_offered
)
test_settings_are_kept_until_they_are_reset = scenario(operation.settings_are_kept_until_they_are_reset)
test_switches_tell_how_they_are = scenario(operation.switches_tell_how_they_are)
test_quotas_are_told_and_kept = scenario(operation.quotas_are_told_and_kept)
test_listeners_move_with_a_reload = scenario(operation.listeners_move_with_a_reload)
