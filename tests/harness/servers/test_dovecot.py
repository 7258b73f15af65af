"""Debian's dovecot as IMAP in front of our mail: on loopback, in a lab, and disturbed."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.accounts import Credentials
from harness.clients.mail.imap import ImapClient, ImapError
from harness.clients.mail.messages import encrypted_message
from harness.clients.mail.smtp import SmtpClient
from harness.hosts import Host, LocalHost
from harness.network.lab import Lab
from harness.network.namespace import program
from harness.servers.dovecot import Dovecot
from harness.servers.registry import server_of
from harness.servers.server import Place, Ports, RunningServer, ServerError, Wants
from harness.target import Service

from .live import SECRET, loopback, outcomes, own_processes

VENDOR = "/shared/vendor/deltachat"


@pytest.fixture(autouse=True)
def needs_dovecot() -> None:
    program("dovecot")


@contextmanager
def running(host: Host, place: Place, wants: Wants | None = None) -> Iterator[RunningServer]:
    with server_of("reference+dovecot").start(host, place, wants or Wants()) as server:
        assert isinstance(server, RunningServer)
        yield server


def mail_arrives(host: Host, server: RunningServer, account: Credentials, *, number: int) -> None:
    """Over our SMTP, into the mailbox that dovecot keeps."""
    with SmtpClient(host, server.target) as smtp:
        smtp.login(account)
        content = encrypted_message(account.address, account.address, marker=f"mail {number}")
        assert smtp.submit(account.address, [account.address], content).accepted
    with ImapClient(host, server.target) as imap:
        imap.login(account)
        assert imap.select() == number
        assert b"Delivered-To: " in imap.fetch_all()[-1].data, "and that is not of our own server"


def test_it_is_imap_and_the_rest_is_ours(tmp_path):
    host = LocalHost()
    with running(host, loopback(tmp_path), Wants(turn_secret=SECRET, turn_ttl=600)) as server:
        account = server.target.new_account()
        mail_arrives(host, server, account, number=1)
        wrong = replace(account, password=account.password + "x")
        with ImapClient(host, server.target) as imap, pytest.raises(ImapError, match="uthentication"):
            imap.login(wrong)
        versions = server.versions
        assert versions["reference mail+dovecot"].startswith("reference mail ")
        assert " + dovecot 2." in versions["reference mail+dovecot"]
    assert not own_processes(tmp_path)


def test_metadata_is_that_of_the_server_behind_it(tmp_path):
    """A key without a value is answered with NIL, where our own dialect leaves it out."""
    host = LocalHost()
    wants = Wants(services=frozenset({Service.MAIL, Service.IROH_RELAY}))
    with running(host, loopback(tmp_path), wants) as server, ImapClient(host, server.target) as imap:
        imap.login(server.target.new_account())
        found = imap.get_metadata(f"{VENDOR}/irohrelay", f"{VENDOR}/turn")
        relay, turn = found[f"{VENDOR}/irohrelay"], found[f"{VENDOR}/turn"]
        assert (relay.value, relay.form) == (str(server.target.iroh_relay).rstrip("/"), "literal")
        assert (turn.value, turn.form) == (None, "nil")


def test_it_is_stopped_killed_and_started_again_with_its_mail(tmp_path):
    host = LocalHost()
    with running(host, loopback(tmp_path)) as server:
        account = server.target.new_account()
        mail_arrives(host, server, account, number=1)
        mail = server.program(Service.MAIL)
        mail.stop()
        for port in (server.target.imaps, server.target.submissions):
            with pytest.raises(ConnectionRefusedError):
                host.connect(server.target.host, port, within=5)
        mail.start()
        mail_arrives(host, server, account, number=2)
        mail.restart(kill=True)
        mail_arrives(host, server, account, number=3)
    assert not own_processes(tmp_path)


def test_in_a_lab_it_is_found_at_the_standard_ports(tmp_path):
    with Lab() as lab:
        machine, device = lab.server("server"), lab.device("device")
        place = Place(machine.address, tmp_path / "state", tmp_path / "logs", Ports())
        with running(machine, place) as server:
            assert (server.target.imaps, server.target.imap) == (993, 143)
            mail_arrives(device, server, server.target.new_account(), number=1)
    assert not own_processes(tmp_path)


def test_the_checks_of_mail_pass(tmp_path):
    records = outcomes(
        "reference+dovecot+coturn",
        tmp_path,
        *(
            "tls.certificates_are_trusted",
            "discovery.metadata_offers_a_relay",
            "discovery.metadata_needs_login",
        ),
        *("mail.unencrypted_mail_is_refused", "mail.idle_reports_new_mail", "mail.uids_never_go_back"),
        *("durability.accepted_mail_survives_a_kill", "turn.turn_allocates_with_offered_credentials"),
    )
    assert {name: each.reason for name, each in records.items() if each.verdict != "passed"} == {}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("dovecot", r"dovecot has no mail: .*reference\+dovecot"),
        ("madmail=/opt/madmail+dovecot", "madmail cannot have dovecot in front of it"),
        ("reference+dovecot+dovecot", "dovecot twice"),
    ],
)
def test_what_it_cannot_stand_in_front_of_is_said(text, sentence):
    with pytest.raises(ValueError, match=sentence):
        server_of(text)


def test_a_taken_port_is_named_and_nothing_is_left(tmp_path):
    place = replace(loopback(tmp_path), ports=Ports(imaps=21993, imap=21143))
    sentence = f"^dovecot needs TCP port 21143 of {place.address}: Address already in use$"
    with socket.create_server((place.address, 21143)), pytest.raises(ServerError, match=sentence):
        Dovecot().start(LocalHost(), place, Wants())
    assert not own_processes(tmp_path)


def test_a_program_that_is_none_is_named_and_the_server_behind_it_ends(tmp_path):
    server = server_of("reference+dovecot=/nowhere/dovecot")
    with pytest.raises(ServerError, match=r"^dovecot does not start: there is no program /nowhere/dovecot$"):
        server.start(LocalHost(), loopback(tmp_path), Wants())
    assert not own_processes(tmp_path)


def test_its_log_has_no_password(tmp_path):
    host = LocalHost()
    with running(host, loopback(tmp_path)) as server:
        account = server.target.new_account()
        mail_arrives(host, server, account, number=1)
        log = server.program(Service.MAIL).log
        assert isinstance(log, Path)
        text = log.read_text()
    assert account.address in text
    assert account.password not in text
