"""Calls whose network changes while people talk."""

from harness.checks import calls_changes
from harness.doors.scenario import scenario

test_calls_survive_outages = scenario(calls_changes.calls_survive_outages)
test_calls_survive_longer_outages = scenario(
    calls_changes.calls_survive_outages, outages=(5.0, 20.0), callees=("bob", "carol"), nightly=True
)
test_calls_on_bad_links_stay_up = scenario(calls_changes.calls_on_bad_links_stay_up)
test_calls_on_links_of_every_kind_stay_up = scenario(
    calls_changes.calls_on_bad_links_stay_up, links=tuple(calls_changes.BAD_LINKS), nightly=True
)
test_dead_calls_are_noticed_and_the_next_one_works = scenario(
    calls_changes.dead_calls_are_noticed_and_the_next_one_works, nightly=True
)
