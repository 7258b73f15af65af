"""Servers that somebody else runs: by ready line, with pinned certificates, with accounts from POST /new."""

from __future__ import annotations

import ssl
from dataclasses import replace

import pytest

from harness.checks import discovery, mail, tls
from harness.clients.mail.imap import ImapClient, ImapError
from harness.clients.mail.web import WebAccounts, WebError, request_account
from harness.hosts import LocalHost
from harness.report.observations import AccountsLeft
from harness.report.run import Run
from harness.servers.endpoints import read_endpoints
from harness.servers.reference import Reference
from harness.servers.remote import pin_certificates, running_server
from harness.servers.server import RunningServer, ServerError, Wants
from harness.stage.options import Choice
from harness.stage.session import loopback_place, open_session
from harness.target import Service

HOST = LocalHost()


def started(directory) -> RunningServer:
    return Reference().start(HOST, loopback_place(directory / "state", directory / "logs"), Wants())


@pytest.fixture(scope="module")
def ready_line(tmp_path_factory):
    """A file with what a server that somebody else started has printed, while it runs."""
    directory = tmp_path_factory.mktemp("server")
    with started(directory):
        yield directory / "logs" / "reference.stdout.log"


@pytest.fixture
def endpoints(ready_line):
    return dict(read_endpoints(ready_line))


@pytest.fixture
def server(endpoints):
    return running_server(endpoints, HOST)


def test_a_running_server_is_tested_by_its_ready_line(ready_line, tmp_path):
    with open_session(Run(tmp_path / "run"), Choice(endpoints=read_endpoints(ready_line))) as session:
        assert session.capabilities == frozenset()
        assert session.target.capabilities == {"iroh_relay", "relay_v035", "relay_v1", "turn", "turns"}
        assert set(session.server.programs) == set(Service)
        assert session.server.ledger(Service.TURN) is not None
        assert not session.target.is_ours
        assert discovery.metadata_offers_a_relay(session.stage("discovery"))


def test_every_account_that_a_run_leaves_is_told(ready_line, server, tmp_path):
    """That of the look at the server too, which comes before any check."""
    before = created(server)
    with open_session(Run(tmp_path / "run"), Choice(endpoints=read_endpoints(ready_line))) as session:
        outcomes = [
            discovery.metadata_offers_a_relay(session.stage("discovery")),
            mail.idle_reports_new_mail(session.stage("mail")),
        ]
    told = [
        each.count for outcome in outcomes for each in outcome.observations if isinstance(each, AccountsLeft)
    ]
    assert sum(told) == created(server) - before > len(outcomes)


def created(server: RunningServer) -> int:
    ledger = server.ledger(Service.MAIL)
    assert ledger is not None
    return len(ledger.events_of("account_created"))


def test_a_control_socket_that_is_not_here_is_no_ledger(endpoints):
    server = running_server({**endpoints, "control": "/nowhere/control.sock"}, HOST)
    assert server.ledger(Service.MAIL) is None
    assert not server.programs
    assert {"turn", "turns"} <= server.target.capabilities


def test_endpoints_that_are_not_complete_are_named(endpoints):
    del endpoints["imaps"]
    with pytest.raises(ServerError, match="no usable 'imaps'"):
        running_server(endpoints, HOST)


def test_a_certificate_that_nobody_vouches_for_is_pinned_and_still_a_finding(endpoints, tmp_path):
    del endpoints["ca_file"]
    choice = Choice(endpoints=endpoints, accept_self_signed=True)
    with open_session(Run(tmp_path / "run"), choice) as session:
        found = discovery.metadata_offers_a_relay(session.stage("discovery"))
        assert found, found
        assert any("nobody vouches" in note for note in found.notes)
        verdict = tls.certificates_are_trusted(session.stage("tls"))
        assert not verdict
        assert "the certificate of imaps" in verdict.reason
        assert "is not trusted" in verdict.reason


def test_a_pinned_run_accepts_no_other_certificate(server, tmp_path):
    pinned = pin_certificates(server.target, HOST, tmp_path / "pinned.pem")
    with ImapClient(HOST, pinned) as imap:
        imap.login(pinned.new_account())
    with started(tmp_path) as other:
        another = replace(other.target, pinned=pinned.pinned)
        with pytest.raises(ImapError, match="its certificate is not trusted"):
            ImapClient(HOST, another)


def test_nobody_there_to_pin(server, tmp_path):
    dead = replace(server.target, imaps=9, submissions=9, https=9)
    with pytest.raises(ServerError, match="no TLS port of"):
        pin_certificates(dead, HOST, tmp_path / "pinned.pem")


def test_post_new_gives_accounts_that_work(server):
    target = replace(server.target, accounts=WebAccounts(HOST))
    first, second = target.new_account(), target.new_account()
    assert first.address != second.address
    assert target.accounts.left_behind == 2
    with ImapClient(HOST, target) as imap:
        imap.login(first)
    ledger = server.ledger(Service.MAIL)
    assert ledger is not None
    created = ledger.events_of("account_created", by="web")
    assert {event.fields["user"] for event in created} == {first.address, second.address}


def test_post_new_is_verified(server):
    strict = ssl.create_default_context()
    with pytest.raises(WebError, match="its certificate is not trusted"):
        request_account(HOST, server.target.host, server.target.https, strict)
