"""What an operator says is done, and only an operator may say it."""

from harness.checks import administration
from harness.doors.scenario import scenario

test_the_admin_api_needs_its_token = scenario(administration.the_admin_api_needs_its_token)
test_first_logins_can_be_switched_off = scenario(administration.first_logins_can_be_switched_off)
test_purged_mail_is_gone = scenario(administration.purged_mail_is_gone)
test_deleted_accounts_are_gone = scenario(administration.deleted_accounts_are_gone)
test_accounts_made_by_an_operator_work = scenario(administration.accounts_made_by_an_operator_work)
