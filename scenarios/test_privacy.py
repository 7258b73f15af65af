"""What a server keeps of its users."""

from harness.checks import privacy
from harness.doors.scenario import scenario

test_files_tell_nothing_of_users = scenario(privacy.files_tell_nothing_of_users)
