"""Mail between servers."""

from harness.checks import federation
from harness.doors.scenario import scenario

test_mail_goes_both_ways_once = scenario(federation.mail_goes_both_ways_once)
test_groups_and_files_cross_a_slow_link = scenario(federation.groups_and_files_cross_a_slow_link)
test_mail_survives_a_kill_and_a_server_that_is_down = scenario(
    federation.mail_survives_a_kill_and_a_server_that_is_down
)
test_mail_goes_by_an_exchanger = scenario(federation.mail_goes_by_an_exchanger)
test_strangers_bring_mail_for_people_here_only = scenario(
    federation.strangers_bring_mail_for_people_here_only
)
test_unsigned_mail_is_refused = scenario(federation.unsigned_mail_is_refused)
test_posted_mail_reaches_known_people_only = scenario(federation.posted_mail_reaches_known_people_only)
