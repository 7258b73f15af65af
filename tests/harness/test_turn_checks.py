"""The checks of TURN against coturn, which none of us wrote: what is right passes, and what is open is found."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.calls.servers import TurnOffer
from harness.checks import turn
from harness.report.records import Verdict
from harness.report.run import Run
from harness.servers.compose import compose
from harness.servers.coturn import Coturn
from harness.servers.reference import Reference
from harness.stage.session import open_session
from harness.stage.stage import Stage
from harness.steps import clocks
from harness.steps.clocks import Clocks

from .coturn import BINARY, needs_coturn

pytestmark = needs_coturn


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    kind = compose([Reference(), Coturn()])
    with open_session(Run(tmp_path_factory.mktemp("run") / "run"), kind=kind) as session:
        yield session


@pytest.fixture
def stage(session):
    return session.stage("turn")


def test_coturn_relays(stage):
    outcome = turn.turn_allocates_with_offered_credentials(stage)
    assert outcome, outcome
    assert outcome.notes == ["TURN of the target keeps no ledger: only our own two clients were counted"]
    udp_alone = replace(stage, target=replace(stage.target, turn=stage.target.turn[:1]))
    outcome = turn.turn_allocates_with_offered_credentials(udp_alone)
    assert outcome, outcome
    assert "TURN over TLS was not tried: the target names no such listener" in outcome.notes


def test_coturn_refuses_wrong_credentials(stage):
    outcome = turn.turn_refuses_wrong_credentials(stage)
    assert outcome, outcome
    assert not any("no expired user name" in note for note in outcome.notes)


def test_without_the_secret_nothing_is_said_about_the_expiry(stage):
    server = replace(stage.server, turn_secret=None)
    outcome = turn.turn_refuses_wrong_credentials(replace(stage, server=server))
    assert outcome, outcome
    assert any("no expired user name with a right password was tried" in note for note in outcome.notes)


DAYS = 86_400


@pytest.mark.parametrize(
    ("of_server", "words"),
    [
        (0, r"expired 86\d{3} s ago by the server's clock and by that of this machine"),
        (
            -2 * DAYS,
            r"expired 86\d{3} s ago by one clock of two: the server's is 172\d{3} s behind this machine's",
        ),
        (None, r"expired 86\d{3} s ago by the clock of this machine \(the server told no time\)"),
    ],
)
def test_credentials_that_have_expired_have_done_so_by_a_clock(stage, monkeypatch, of_server, words):
    """Two days later by our clock: the server's own, as it tells it, is a witness, and may be the one that is wrong."""
    later = time.time() + 2 * DAYS
    monkeypatch.setattr(turn, "time", SimpleNamespace(time=lambda: later))
    monkeypatch.setattr(Clocks, "of", lambda *_: Clocks(of_server))
    monkeypatch.setattr(clocks, "is_synchronized", lambda: True)
    outcome = turn.turn_is_offered(stage)
    assert outcome.verdict is Verdict.FAILED
    assert re.search(words, outcome.reason), outcome.reason


def test_our_own_clock_is_no_fault_of_the_server(stage, monkeypatch):
    """TURN takes what has expired by ours alone, and nothing keeps ours right."""
    later = time.time() + 2 * DAYS
    monkeypatch.setattr(turn, "time", SimpleNamespace(time=lambda: later))
    monkeypatch.setattr(Clocks, "of", lambda *_: Clocks(-2 * DAYS))
    monkeypatch.setattr(clocks, "is_synchronized", lambda: False)
    outcome = turn.turn_is_offered(stage)
    assert outcome.verdict is Verdict.UNDECIDED
    assert "it is ours, which nobody keeps" in outcome.reason


def test_the_clock_of_the_server_is_that_of_its_answers(stage):
    ahead = Clocks.of(stage.host, stage.target).ahead
    assert ahead is not None
    assert abs(ahead) < 60


def test_allocations_of_coturn_outlive_their_credentials(stage):
    outcome = turn.turn_credentials_expire(stage)
    assert outcome, outcome


def test_nobody_waits_a_day_for_an_expiry(session):
    elsewhere = replace(session, kind=None)  # as a server of somebody else, which takes no wish
    outcome = turn.turn_credentials_expire(elsewhere.stage("turn"))
    assert outcome.verdict is Verdict.SKIPPED
    assert "capability short_turn_ttl" in outcome.reason


def test_that_coturn_knows_no_ports_is_noted_and_no_failure(stage):
    outcome = turn.turn_enforces_permissions(stage)
    assert outcome, outcome
    [noted] = [note for note in outcome.notes if "at the server's own address" in note]
    assert noted.startswith("clients reach TURN itself (port 3478) and other programs at")


def test_a_coturn_that_is_open_to_loopback_is_found(tmp_path):
    with coturn_without("denied-peer-ip", tmp_path) as session:
        outcome = turn.turn_enforces_permissions(session.stage("turn"))
    assert outcome.verdict is Verdict.FAILED
    for what in ("permissions for", "channels to"):
        assert f"TURN grants {what} 10.0.0.1, 100.64.0.1, 127.0.0.1" in outcome.reason
    assert outcome.cause == "turn.reaches_private_peers"
    assert "a datagram was relayed to a program on 127.0.0.1" in outcome.reason


def test_udp_3478_is_turns(stage):
    outcome = turn.turn_has_udp_3478(stage)
    assert outcome, outcome


def test_there_is_nothing_to_share_where_turn_is_on_another_port(stage, monkeypatch):
    offer = stage.own_turn()
    elsewhere = TurnOffer(offer.host, 3479, offer.username, offer.password)
    monkeypatch.setattr(Stage, "own_turn", lambda *_arguments: elsewhere)
    outcome = turn.turn_has_udp_3478(stage)
    assert outcome.verdict is Verdict.UNSUPPORTED
    assert "they have no UDP port 3478 to share" in outcome.reason


def coturn_without(word: str, directory: Path):
    """A session with a coturn whose configuration lacks every line with this word."""
    script = directory / "turnserver"
    script.write_text(f'#!/bin/sh\n[ "$1" = -c ] && sed -i /{word}/d "$2"\nexec {BINARY} "$@"\n')
    script.chmod(0o755)
    return open_session(Run(directory / "run"), kind=compose([Reference(), Coturn(script)]))
