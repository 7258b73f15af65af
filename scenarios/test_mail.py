"""What a chatmail server promises about mail."""

from __future__ import annotations

import pytest

from harness.checks import durability, mail
from harness.hosts import Host
from harness.target import Target


@pytest.mark.requirement("MAIL-1")
def test_unencrypted_mail_is_refused(target: Target, host: Host) -> None:
    assert mail.unencrypted_mail_is_refused(target, host)


@pytest.mark.requirement("MAIL-2")
def test_accepted_mail_survives_a_kill(target: Target, host: Host) -> None:
    assert durability.accepted_mail_survives_a_kill(target, host)


@pytest.mark.requirement("MAIL-3")
def test_idle_reports_new_mail(target: Target, host: Host) -> None:
    assert mail.idle_reports_new_mail(target, host)


@pytest.mark.requirement("MAIL-4")
def test_mailboxes_are_private(target: Target, host: Host) -> None:
    assert mail.mailboxes_are_private(target, host)


@pytest.mark.requirement("MAIL-2")
def test_uids_never_go_back(target: Target, host: Host) -> None:
    assert mail.uids_never_go_back(target, host)
