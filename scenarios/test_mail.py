"""Promises of a chatmail server about mail."""

from harness.checks import durability, mail
from harness.doors.scenario import scenario

test_unencrypted_mail_is_refused = scenario(mail.unencrypted_mail_is_refused)
test_accepted_mail_survives_a_kill = scenario(durability.accepted_mail_survives_a_kill)
test_each_recipient_is_woken_and_can_fetch = scenario(mail.each_recipient_is_woken_and_can_fetch)
test_idle_reports_new_mail = scenario(mail.idle_reports_new_mail)
test_mailboxes_are_private = scenario(mail.mailboxes_are_private)
test_uids_never_go_back = scenario(mail.uids_never_go_back)
