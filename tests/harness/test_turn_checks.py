"""The checks of TURN against coturn, which none of us wrote: what is right passes, and what is open is found."""

from __future__ import annotations

import pytest

from harness.calls.servers import TurnOffer
from harness.checks import turn
from harness.hosts import LocalHost
from harness.report.records import Verdict
from harness.target import Target
from harness.urls import TurnUrl

from .coturn import coturn, needs_coturn


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with coturn(tmp_path_factory.mktemp("coturn")) as running:
        yield running


@pytest.fixture
def target(server, monkeypatch):
    """A target with this TURN server; it has no mail, so what METADATA would say is told to the checks."""
    credentials = server.credentials()
    offer = TurnOffer(server.url.host, server.url.port, credentials.username, credentials.password)
    monkeypatch.setattr(turn, "offered_turn", lambda _target, _host: offer)
    return Target(
        name="coturn",
        host=server.url.host,
        domain="chatmail.test",
        imaps=1,
        imap=1,
        submissions=1,
        submission=1,
        https=1,
        ca_file=None,
        dialect="unknown",
        capabilities=frozenset({"turn"}),
        turn=(server.url, TurnUrl("tcp", server.url.host, server.url.port)),
    )


@needs_coturn
def test_coturn_relays(target):
    outcome = turn.turn_allocates_with_offered_credentials(target, LocalHost())
    assert outcome, outcome
    assert "the target keeps no ledger: only our own two clients were counted" in outcome.notes
    assert "TURN over TLS was not tried: the target names no such listener" in outcome.notes


@needs_coturn
def test_coturn_refuses_wrong_credentials(target):
    outcome = turn.turn_refuses_wrong_credentials(target, LocalHost())
    assert outcome, outcome


@needs_coturn
def test_allocations_of_coturn_outlive_their_credentials(server, target, monkeypatch):
    credentials = server.credentials(valid_for=3)
    offer = TurnOffer(server.url.host, server.url.port, credentials.username, credentials.password)
    monkeypatch.setattr(turn, "offered_turn", lambda _target, _host: offer)
    outcome = turn.turn_credentials_expire(target, LocalHost())
    assert outcome, outcome


@needs_coturn
def test_nobody_waits_a_day_for_an_expiry(target):
    outcome = turn.turn_credentials_expire(target, LocalHost())
    assert outcome.verdict is Verdict.SKIPPED
    assert "capability short_turn_ttl" in outcome.reason


@needs_coturn
def test_a_coturn_that_is_open_to_loopback_is_found(target):
    outcome = turn.turn_enforces_permissions(target, LocalHost())
    assert outcome.verdict is Verdict.FAILED
    assert "a datagram was relayed to a program on 127.0.0.1" in outcome.reason
