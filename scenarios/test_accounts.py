"""Promises of a chatmail server about accounts."""

from harness.checks import accounts
from harness.doors.scenario import scenario

test_new_accounts_come_online = scenario(accounts.new_accounts_come_online)
test_the_web_gives_accounts = scenario(accounts.the_web_gives_accounts)
test_log_ins_are_for_this_server_only = scenario(accounts.log_ins_are_for_this_server_only)
test_many_accounts_at_once = scenario(accounts.many_accounts_at_once)
