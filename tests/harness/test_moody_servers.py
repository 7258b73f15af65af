"""Servers of others that behave badly on purpose: a verdict with a sentence for each check, and no crash of ours."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.checks import discovery, mail, turn
from harness.report.records import Verdict
from harness.report.run import Run
from harness.stage.outcome import Outcome
from harness.stage.session import Session, open_session

from .moody import Mood, moody_domain, moody_server

CHECKS = (
    discovery.metadata_offers_a_relay,
    discovery.metadata_needs_login,
    turn.turn_is_offered,
    mail.unencrypted_mail_is_refused,
    mail.idle_reports_new_mail,
)
CRASHED = "a program of ours failed"
Asked = Callable[[Path, Mood], tuple[Session, list[Outcome]]]


@pytest.fixture(params=[moody_server, moody_domain], ids=["endpoints", "domain"])
def outcomes(request: pytest.FixtureRequest) -> Asked:
    """What checks find, of a server that is asked for by its ready line, and of one by its name."""
    return functools.partial(found_by, request.param)


def found_by(server, directory: Path, mood: Mood) -> tuple[Session, list[Outcome]]:
    with (
        server(directory, mood) as choice,
        open_session(Run(directory / "run"), choice) as session,
    ):
        found = [check(session.stage(str(number))) for number, check in enumerate(CHECKS)]
    for each in found:
        assert CRASHED not in each.reason
        assert "\n" not in each.reason
        assert each or each.reason
    return session, found


def test_one_in_a_good_mood_passes(outcomes, tmp_path):
    _session, found = outcomes(tmp_path, lambda _tag, _command, _number: None)
    assert [each.reason for each in found] == [""] * len(CHECKS)


def test_metadata_that_is_another_at_each_look(outcomes, tmp_path):
    asked = 0

    def mood(tag: bytes, command: bytes, _number: int) -> bytes | None:
        nonlocal asked
        if not command.startswith(b"GETMETADATA"):
            return None
        asked += 1
        return None if asked % 2 else tag + b" OK nothing here now\r\n"

    _session, (relay, _login, *_rest) = outcomes(tmp_path, mood)
    assert relay.verdict is Verdict.FAILED
    assert "METADATA has no value for" in relay.reason or "to the single form and" in relay.reason


def test_connections_that_end_at_any_time(outcomes, tmp_path):
    _session, found = outcomes(tmp_path, lambda _tag, _command, number: b"" if number % 5 == 0 else None)
    failed = [each for each in found if each.verdict is Verdict.FAILED]
    assert failed
    assert any("closed" in each.reason or "broke" in each.reason for each in failed), failed


@pytest.mark.parametrize(
    "words",
    [b"NO [LIMIT] try later", b"NO [UNAVAILABLE] Temporary failure", b"NO Too many connections from you"],
)
def test_log_ins_that_are_limited_are_no_finding(outcomes, tmp_path, words):
    """The server has said that it is not about these credentials: what it promises is not known."""

    def mood(tag: bytes, command: bytes, _number: int) -> bytes | None:
        return tag + b" " + words + b"\r\n" if command.startswith(b"LOGIN") else None

    _session, (relay, *_rest) = outcomes(tmp_path, mood)
    assert relay.verdict is Verdict.UNDECIDED
    assert relay.reason == f"the server limits us, try it again later: LOGIN was refused: {words.decode()}"


def test_an_address_that_is_shut_out_after_three(outcomes, tmp_path):
    seen = 0

    def mood(_tag: bytes, command: bytes, _number: int) -> bytes | None:
        nonlocal seen
        seen += command.startswith(b"LOGIN")
        return b"" if seen > 3 else None

    _session, found = outcomes(tmp_path, mood)
    assert found[-1].verdict is Verdict.FAILED
    assert "IMAP" in found[-1].reason or "connection" in found[-1].reason
