"""The way of realtime data between networks of all kinds."""

from harness.checks import realtime_paths
from harness.doors.scenario import scenario

test_data_takes_the_way_that_networks_allow = scenario(realtime_paths.data_takes_the_way_that_networks_allow)
test_between_all_networks = scenario(
    realtime_paths.data_takes_the_way_that_networks_allow, pairs=realtime_paths.EVERY, nightly=True
)
