"""A server's program replaces itself by what is signed alone, and keeps its name to itself."""

from harness.checks import programs
from harness.doors.scenario import scenario

test_upgrades_need_the_right_signature = scenario(programs.upgrades_need_the_right_signature)
test_renamed_programs_hide_their_name = scenario(programs.renamed_programs_hide_their_name)
