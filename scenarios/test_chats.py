"""Chats of real Delta Chat cores."""

from harness.checks import chats
from harness.doors.scenario import scenario

test_people_become_contacts_by_secure_join = scenario(chats.people_become_contacts_by_secure_join)
test_texts_arrive_encrypted_and_once = scenario(chats.texts_arrive_encrypted_and_once)
test_group_messages_reach_every_member = scenario(chats.group_messages_reach_every_member)
test_files_arrive_unchanged = scenario(chats.files_arrive_unchanged)
test_files_arrive_up_to_the_limit = scenario(chats.files_arrive_up_to_the_limit, nightly=True)
