"""The numbered tests as lists of checks; the verdict of a test is their worst."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...checks import (
    accounts,
    administration,
    chats,
    discovery,
    federation,
    mail,
    operation,
    privacy,
    programs,
    realtime,
    realtime_paths,
    relay,
)
from ...hosts import MissingCapability
from ...network.lab import require_lab
from ...stage.check import entry_of
from ...stage.outcome import Outcome
from ...stage.session import Session
from .console import Result

__all__ = ["TESTS", "Part", "run_test"]

progress = logging.getLogger("harness.progress")

MIB = 1024 * 1024
BIG_FILE = "BIGFILE_E2E_MB"
"""Environment variable with the size of test 23's file in MiB, as madmail's suite has it."""


@dataclass(frozen=True)
class Part:
    """A check of a numbered test, with what it is given."""

    check: Callable[..., Outcome]
    parameters: Mapping[str, Any] = field(default_factory=dict)


Parts = Sequence[Part]


def parts(*checks: Callable[..., Outcome]) -> Callable[[Session], Parts]:
    """A test that consists of these checks, on every server."""
    return lambda _session: [Part(each) for each in checks]


def webxdc_realtime(session: Session) -> Parts:
    """Test 16: two real Delta Chat cores exchange realtime messages of an app.

    In a lab, if this machine and the target can have one: in networks that allow a direct path, and at the same time in
    such that allow none. Else on one host, where nobody can tell which way the messages go.
    """
    if _has_lab(session):
        return [Part(realtime_paths.two_pairs_take_both_ways_at_once)]
    return [Part(realtime.two_devices_exchange_messages)]


def ways_to_an_account(session: Session) -> Parts:
    """Test 11: `/new` gives accounts; where we may switch creation at first log-in off, it can be switched off."""
    given = Part(accounts.the_web_gives_accounts)
    switched = Part(administration.first_logins_can_be_switched_off)
    if "admin" not in session.target.capabilities:
        progress.info("%s", session.stage("").explain_missing("admin"))
        return [given]
    return [given, switched]


def administration_at_work(session: Session) -> Parts:
    """Test 17: what every admin API has, and then what this one has."""
    checks = [administration.the_admin_api_needs_its_token, administration.deleted_accounts_are_gone]
    if "admin" in session.target.capabilities:
        checks += [
            administration.accounts_made_by_an_operator_work,
            operation.switches_tell_how_they_are,
            operation.quotas_are_told_and_kept,
            operation.blocked_accounts_stay_out,
            operation.services_that_are_switched_off_are_not_offered,
            operation.settings_are_kept_until_they_are_reset,
            operation.listeners_move_with_a_reload,
        ]
    return [Part(each) for each in checks]


def big_file(_session: Session) -> Parts:
    """Test 23: a file of 5 MiB, or as large as the environment says, is the same at the other end."""
    try:
        megabytes = int(os.environ.get(BIG_FILE, "5"))
    except ValueError:
        megabytes = 5
    return [Part(chats.files_arrive_unchanged, {"size": min(max(megabytes, 1), 80) * MIB})]


def mail_of_strangers(session: Session) -> Parts:
    """Test 22: what comes by `/mxdeliv`, and at port 25 if this machine and the target can have a lab."""
    by_smtp = "federation" in session.capabilities and _has_lab(session)
    return [
        Part(federation.posted_mail_reaches_known_people_only),
        *([Part(federation.strangers_bring_mail_for_people_here_only)] if by_smtp else []),
    ]


def by_an_exchanger(scheme: str) -> Callable[[Session], Parts]:
    """Tests 20 and 21: an exchanger with TLS, as madexchanger is, and one without, as its PHP version is set up."""
    return lambda _session: [Part(federation.mail_goes_by_an_exchanger, {"schemes": (scheme,)})]


def _has_lab(session: Session) -> bool:
    if "lab" not in session.capabilities:
        return False
    try:
        require_lab()
    except MissingCapability as missing:
        progress.info("no lab on this machine, so one host must do: %s", missing)
        return False
    return True


TESTS: dict[int, Callable[[Session], Parts]] = {
    1: parts(accounts.new_accounts_come_online),
    2: parts(mail.unencrypted_mail_is_refused),
    3: parts(chats.people_become_contacts_by_secure_join),
    4: parts(chats.texts_arrive_encrypted_and_once),
    5: parts(chats.group_messages_reach_every_member),
    6: parts(chats.files_arrive_unchanged),
    7: parts(
        federation.mail_goes_both_ways_once,
        federation.groups_and_files_cross_a_slow_link,
        federation.mail_survives_a_kill_and_a_server_that_is_down,
    ),
    8: parts(privacy.files_tell_nothing_of_users),
    9: parts(chats.files_arrive_up_to_the_limit),
    10: parts(programs.upgrades_need_the_right_signature),
    11: ways_to_an_account,
    12: parts(mail.each_recipient_is_woken_and_can_fetch, mail.idle_reports_new_mail),
    13: parts(accounts.many_accounts_at_once),
    14: parts(administration.purged_mail_is_gone),
    15: parts(
        discovery.metadata_offers_a_relay,
        discovery.metadata_needs_login,
        relay.relay_answers_http,
        relay.relay_forwards_each_frame_once,
        relay.relay_refuses_bad_signatures,
    ),
    16: webxdc_realtime,
    17: administration_at_work,
    18: parts(programs.renamed_programs_hide_their_name),
    19: parts(accounts.log_ins_are_for_this_server_only),
    20: by_an_exchanger("https"),
    21: by_an_exchanger("http"),
    22: mail_of_strangers,
    23: big_file,
}


def run_test(number: int, session: Session) -> Result:
    """Run the checks of one test; those behind a failed one would only repeat its reason."""
    started = time.monotonic()
    found = Outcome()
    for part in TESTS[number](session):
        outcome = part.check(session.stage(entry_of(part.check).name), **part.parameters)
        found.include(outcome)
        if not outcome:
            break
    return Result(
        number, found.verdict, found.reason, tuple(dict.fromkeys(found.notes)), time.monotonic() - started
    )
