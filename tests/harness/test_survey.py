"""What stands at the head of a run about a server that was looked up."""

from __future__ import annotations

from dataclasses import replace

from harness.hosts import LocalHost
from harness.report.run import Run
from harness.servers.reference import Reference
from harness.servers.server import Wants
from harness.stage.session import open_session
from harness.stage.survey import look_up, server_seen


def test_the_head_has_what_was_seen_and_not_what_is_stated(tmp_path):
    with open_session(Run(tmp_path / "run"), kind=Reference()) as session:
        target, look = look_up(replace(session.target, capabilities=frozenset(), turn=()), LocalHost())
        seen = server_seen(target, look)
    assert seen.addresses == (target.host,)
    assert {each.service for each in seen.listeners if each.answers} == {
        *("imaps", "submissions", "submission", "https", "relay", "turn/udp", "turn/tcp")
    }
    assert {each.service for each in seen.certificates if each.trusted} == {
        *("imaps", "submissions", "https", "turns")
    }
    assert "METADATA" in seen.imap_capabilities
    assert seen.metadata == ("irohrelay", "turn", "turns")
    assert seen.relay_generations == ("0.35", "0.91 and later")
    assert seen.turn_transports == ("udp", "tcp", "tls")


def test_a_look_up_is_brief_and_leaves_one_account(tmp_path):
    with open_session(Run(tmp_path / "run"), kind=Reference()) as session:
        before = session.target.accounts.left_behind
        target, look = look_up(session.target, LocalHost())
    assert target.accounts.left_behind == before + 1
    assert look.mail is not None and look.mail.submission == ""
    assert look.turn is not None and look.turn.first is None
    assert look.relay is not None and look.relay.arrived == ()


def test_a_turn_server_that_does_not_answer_is_told_as_such(tmp_path):
    wants = Wants(advertised_turn="127.0.0.1:9")
    with open_session(Run(tmp_path / "run"), kind=Reference(), wants=wants) as session:
        asked = replace(
            session.target, capabilities=frozenset(), other_addresses=frozenset({"127.0.0.1"}), turn=()
        )
        target, look = look_up(asked, LocalHost())
    assert "turn" in target.capabilities
    assert "udp" not in server_seen(target, look).turn_transports
