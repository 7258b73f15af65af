"""Servers that are wrong on purpose, from outside: each that shows in one look has its cause, no other has one."""

from __future__ import annotations

import pytest

from harness.causes.cause import Weight
from harness.diagnosis.diagnosis import Diagnosis, diagnose
from harness.hosts import LocalHost
from harness.look.look import look_at
from harness.report.run import Run
from harness.servers.registry import server_of
from harness.stage.session import open_session

SICK = {
    "certificate_of_another_name": "mail.certificate_wrong_name",
    "idle_never_wakes": "mail.idle_is_silent",
    "idle_reports_late": "mail.idle_is_silent",
    "irohrelay_dead_port": "relay.port_closed",
    "irohrelay_foreign": "relay.address_foreign",
    "irohrelay_unusable": "metadata.relay_unusable",
    "metadata_capability_missing": "metadata.not_advertised",
    "relay_answers_200_without_upgrade": "relay.proxy_drops_upgrade",
    "relay_delivers_twice": "relay.does_not_forward",
    "relay_drops_frames_to_second_client": "relay.does_not_forward",
    "relay_drops_large_frames": "relay.limits_size",
    "relay_https_bad_certificate": "relay.certificate_untrusted",
    "relay_wrong_source_key": "relay.does_not_forward",
    "turn_advertised_port_closed": "turn.not_answering",
    "turn_at_localhost": "turn.address_foreign",
    "turn_foreign": "turn.address_foreign",
    "turn_leaves_its_port_to_stun": "turn.not_answering",
    "turn_milliseconds": "turn.expiry_in_milliseconds",
    "turn_one_direction_dead": "turn.does_not_relay",
    "turn_other_secret": "turn.secret_differs",
    "turn_wrong_relay_ip": "turn.relayed_address_foreign",
    "unencrypted_mail_accepted": "mail.accepts_unencrypted",
}
NOTES = {
    "irohrelay_missing": "metadata.relay_missing",
    "relay_ping_missing": "relay.paths_missing",
    "turn_key_missing": "metadata.turn_missing",
    "turns_without_tls": "turn.turns_without_tls",
}
NOTHING_TO_SEE = (
    "mail_lost_after_250",
    "relay_forgets_clients",
    "relay_forwards_first_frames",
    "turn_expired_accepted",
    "turn_few_places",
)
"""Wrong in a way that one look cannot show: it says nothing, and guesses nothing."""
CANNOT_TELL = ("relay_never_frees_places",)


def diagnosis_of(server: str, tmp_path) -> Diagnosis:
    with open_session(Run(tmp_path / "run"), kind=server_of(server)) as session:
        return diagnose(look_at(session.target, LocalHost()))


@pytest.mark.parametrize("mutant", SICK)
def test_the_cause_is_named(mutant, tmp_path):
    found = diagnosis_of(f"mutant={mutant}", tmp_path)
    assert [each.cause.name for each in found.causes] == [SICK[mutant]], found.steps
    assert found.is_sick


@pytest.mark.parametrize("mutant", NOTES)
def test_what_the_server_can_do_without_is_a_note(mutant, tmp_path):
    found = diagnosis_of(f"mutant={mutant}", tmp_path)
    assert [(each.cause.name, each.weight) for each in found.causes] == [(NOTES[mutant], Weight.NOTE)]
    assert found.is_healthy


@pytest.mark.parametrize("server", ["reference", *(f"mutant={each}" for each in NOTHING_TO_SEE)])
def test_what_does_not_show_is_not_guessed(server, tmp_path):
    found = diagnosis_of(server, tmp_path)
    assert found.causes == (), found.steps
    assert found.is_healthy, found.unknown


@pytest.mark.parametrize("mutant", CANNOT_TELL)
def test_what_has_two_explanations_is_not_decided(mutant, tmp_path):
    found = diagnosis_of(f"mutant={mutant}", tmp_path)
    assert found.causes == ()
    assert found.unknown
