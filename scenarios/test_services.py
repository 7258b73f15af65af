"""Services of a server stand on their own."""

from harness.checks import services
from harness.doors.scenario import scenario

test_relay_restarts_without_touching_mail = scenario(services.relay_restarts_without_touching_mail)
