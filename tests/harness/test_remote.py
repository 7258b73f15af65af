"""Servers that somebody else runs: by ready line, with pinned certificates, with accounts from POST /new."""

from __future__ import annotations

import json
import ssl
from dataclasses import replace

import pytest

from harness.accounts import WebAccounts
from harness.checks import discovery, tls
from harness.clients.mail.imap import ImapClient, ImapError
from harness.clients.mail.web import WebError, request_account
from harness.hosts import LocalHost
from harness.report.run import Run
from harness.servers.endpoints import read_endpoints
from harness.servers.reference import ReferenceServer, ServerError
from harness.servers.remote import pin_certificates, running_target
from harness.stage.options import Choice
from harness.stage.session import open_session

HOST = LocalHost()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("server")
    with ReferenceServer(directory / "state", directory / "logs") as server:
        yield server


def test_a_running_server_is_tested_by_its_ready_line(server, tmp_path):
    file = tmp_path / "ready.json"
    file.write_text(json.dumps({"ready": True, "endpoints": server.endpoints}))
    with open_session(Run(tmp_path / "run"), Choice(endpoints=read_endpoints(file))) as session:
        assert session.target.capabilities == {"iroh_relay", "turn", "turns", "ledger", "logs", "faults"}
        assert not session.target.is_ours
        assert discovery.metadata_offers_a_relay(session.target, session.host)


def test_a_control_socket_that_is_not_here_is_no_ledger(server):
    target = running_target({**server.endpoints, "control": "/nowhere/control.sock"}, HOST)
    assert target.control is None
    assert target.capabilities == {"iroh_relay", "turn", "turns"}


def test_endpoints_that_are_not_complete_are_named(server):
    endpoints = {key: value for key, value in server.endpoints.items() if key != "imaps"}
    with pytest.raises(ServerError, match="no usable 'imaps'"):
        running_target(endpoints, HOST)


def test_a_certificate_that_nobody_vouches_for_is_pinned_and_still_a_finding(server, tmp_path):
    endpoints = {key: value for key, value in server.endpoints.items() if key != "ca_file"}
    choice = Choice(endpoints=endpoints, accept_self_signed=True)
    with open_session(Run(tmp_path / "run"), choice) as session:
        found = discovery.metadata_offers_a_relay(session.target, session.host)
        assert found, found
        assert any("nobody vouches" in note for note in found.notes)
        verdict = tls.certificates_are_trusted(session.target, session.host)
        assert not verdict
        assert "the certificate of imaps" in verdict.reason
        assert "is not trusted" in verdict.reason


def test_a_pinned_run_accepts_no_other_certificate(server, tmp_path):
    pinned = pin_certificates(server.target, HOST, tmp_path / "pinned.pem")
    with ImapClient(HOST, pinned) as imap:
        imap.login(pinned.new_account())
    with ReferenceServer(tmp_path / "state", tmp_path / "logs") as other:
        another = replace(other.target, pinned=pinned.pinned)
        with pytest.raises(ImapError, match="CERTIFICATE_VERIFY_FAILED"):
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
    created = server.ledger().mail.events_of("account_created", by="web")
    assert {event.fields["user"] for event in created} == {first.address, second.address}


def test_post_new_is_verified(server):
    strict = ssl.create_default_context()
    with pytest.raises(WebError, match="CERTIFICATE_VERIFY_FAILED"):
        request_account(HOST, server.target.host, server.target.https, strict)
