"""What a server's files tell of its users: logs and databases are told apart by what is in them."""

from __future__ import annotations

import os
import socket
import sqlite3
from dataclasses import replace

import pytest

from harness.hosts import LocalHost, LoopbackHost, MissingCapability
from harness.steps.files import files_with, traces
from harness.target import Target

from .stages import stage_with

CANARIES = {"the name of an account": "alice1234", "the IP address of a client": "127.9.8.7"}
TARGET = Target(
    "mail",
    "127.0.0.1",
    "chatmail.test",
    imaps=1,
    imap=2,
    submissions=3,
    submission=4,
    https=5,
    ca_file=None,
    dialect="chatmail",
)


@pytest.fixture
def stage(tmp_path):
    made = stage_with(TARGET, tmp_path / "run")
    made.server.files = (tmp_path / "state", tmp_path / "server.log")
    (tmp_path / "state" / "mail").mkdir(parents=True)
    (tmp_path / "server.log").write_text("started\n")
    return made


def found(stage):
    return sorted((each.file.name, each.canary, each.where_it_belongs) for each in traces(stage, CANARIES))


def test_a_log_with_an_account_is_found_with_its_line(stage, tmp_path):
    (tmp_path / "server.log").write_text("started\nalice1234 from 127.9.8.7 has \x1b[31mmail\nended\n")
    first, second = traces(stage, CANARIES)
    assert {first.canary, second.canary} == set(CANARIES)
    assert first.line == "alice1234 from 127.9.8.7 has \N{REPLACEMENT CHARACTER}[31mmail"
    assert not first.where_it_belongs


def test_databases_and_mails_are_where_accounts_belong(stage, tmp_path):
    database = sqlite3.connect(tmp_path / "state" / "accounts")
    database.execute("PRAGMA journal_mode = WAL")
    database.execute("CREATE TABLE accounts (name)")
    database.execute("INSERT INTO accounts VALUES ('alice1234')")
    database.commit()
    mail = "From: <alice1234@x>\r\n\r\n-----BEGIN PGP MESSAGE-----\r\n"
    (tmp_path / "state" / "mail" / "1").write_text(mail)
    (tmp_path / "state" / "mail" / "of-no-database-wal").write_text("x")
    (tmp_path / "state" / "mail" / "dovecot.index.cache").write_text("From: alice1234")
    (tmp_path / "state" / "mail" / "dovecot.log").write_text("alice1234 logged in")
    assert found(stage) == [
        ("1", "the name of an account", True),
        ("accounts-wal", "the name of an account", True),
        ("dovecot.index.cache", "the name of an account", True),
        ("dovecot.log", "the name of an account", False),
    ]
    assert sorted(files_with(stage, "alice1234")) == [
        "accounts-wal",
        "mail/1",
        "mail/dovecot.index.cache",
        "mail/dovecot.log",
    ]
    database.close()


def test_what_is_no_file_is_passed_over(stage, tmp_path):
    os.mkfifo(tmp_path / "state" / "pipe")
    (tmp_path / "state" / "link").symlink_to("/proc/self/environ")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "state" / "socket"))
        assert found(stage) == []


def test_without_files_nobody_can_tell(stage, tmp_path):
    (tmp_path / "server.log").unlink()
    with pytest.raises(MissingCapability, match="writes"):
        found(stage)


def test_a_client_with_an_address_of_its_own_is_known_by_it():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for host, address in ((LoopbackHost("127.9.8.7"), "127.9.8.7"), (LocalHost(), "127.0.0.1")):
            with host.connect("127.0.0.1", port, within=5), server.accept()[0] as connection:
                assert connection.getpeername()[0] == address


def test_files_are_a_capability_of_a_run(stage):
    assert "files" in stage.capabilities
    nothing = replace(stage, session=replace(stage.session, server=replace(stage.server, files=())))
    assert "files" not in nothing.capabilities
    assert "not ours to read" in stage.explain_missing("files")
