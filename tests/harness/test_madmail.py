"""madmail as a server under test: its parts can be disturbed one by one, and nothing of it is left behind."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.hosts import LocalHost, MissingCapability
from harness.servers.madmail import Madmail
from harness.servers.process import accepts
from harness.servers.registry import server_of
from harness.servers.server import RunningServer, ServerError, Unsupported, Wants
from harness.stage.session import loopback_place
from harness.target import Service
from harness.waiting import wait_until

FAKE = Path(__file__).with_name("fake_madmail.py")
RELAY = """\
#!{python}
import socket, sys, time
listener = socket.create_server(("0.0.0.0", int(sys.argv[1])))
while True:
    listener.accept()[0].close()
"""
HOST = LocalHost()


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Madmail:
    """A madmail that only listens, with a relay beside it that only listens."""
    monkeypatch.delenv("IROH_RELAY_BIN", raising=False)
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {
        "madmail": f'#!/bin/sh\nexec {shlex.join([sys.executable, str(FAKE)])} "$@"\n',
        "iroh-relay": RELAY.format(python=sys.executable),
    }.items():
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    return Madmail(programs / "madmail")


@pytest.fixture
def running(fake: Madmail, tmp_path: Path) -> Iterator[RunningServer]:
    with fake.start(HOST, loopback_place(tmp_path / "state", tmp_path / "logs"), Wants()) as server:
        yield server


def relay_accepts(server: RunningServer) -> bool:
    assert server.iroh_relay is not None
    return accepts(HOST, server.target.host, server.iroh_relay.port)


def mail_accepts(server: RunningServer) -> bool:
    return accepts(HOST, server.target.host, server.target.imaps)


def test_its_target_says_what_it_runs(running):
    assert running.target.domain == f"[{running.target.host}]"
    assert [url.transport for url in running.turn] == ["udp"]
    assert running.target.capabilities == {"admin", "own_program", "iroh_relay", "turn"}
    assert running.versions["madmail"] == "madmail 2.0.0-fake"
    assert "listens at 6 ports" in running.program(Service.MAIL).log.read_text()


def test_its_relay_can_be_killed_alone_and_comes_back_with_a_reload(running):
    relay = running.program(Service.IROH_RELAY)
    relay.kill()
    assert not relay_accepts(running)
    assert mail_accepts(running)
    with pytest.raises(ServerError, match="is not running"):
        relay.pause()
    relay.start()
    assert relay_accepts(running)


@pytest.mark.parametrize("kill", [True, False])
def test_a_restart_of_turn_restarts_everything(running, kill):
    before = running.program(Service.MAIL).pid
    running.program(Service.TURN).restart(kill=kill)
    assert running.program(Service.MAIL).pid != before
    assert relay_accepts(running)


def test_its_relay_does_not_outlive_it(running):
    running.program(Service.MAIL).kill()
    wait_until(lambda: not relay_accepts(running), "the relay to end with madmail", within=10)


def test_nothing_is_left_when_it_is_closed(running):
    running.close()
    assert not relay_accepts(running)
    assert not mail_accepts(running)


def test_two_of_them_do_not_disturb_each_other(fake, running, tmp_path):
    with fake.start(HOST, loopback_place(tmp_path / "state2", tmp_path / "logs2"), Wants()) as other:
        assert other.iroh_relay.port != running.iroh_relay.port
        other.program(Service.IROH_RELAY).kill()
        assert relay_accepts(running)


@pytest.mark.parametrize(
    "want",
    [{"relay_ping_interval": 2.0}, {"strict_permissions": True}, {"advertised_turns": "192.0.2.1:443"}],
)
def test_it_says_what_it_cannot_do(fake, tmp_path, want):
    with pytest.raises(Unsupported, match=f"madmail cannot set {next(iter(want))}"):
        fake.start(HOST, loopback_place(tmp_path / "state", tmp_path / "logs"), Wants(**want))


def test_without_a_program_it_says_how_to_name_one(tmp_path, monkeypatch):
    monkeypatch.delenv("MADMAIL_BIN", raising=False)
    with pytest.raises(MissingCapability, match="--server madmail=PATH, or MADMAIL_BIN=PATH"):
        server_of("madmail").start(HOST, loopback_place(tmp_path / "state", tmp_path / "logs"), Wants())


def test_without_a_relay_beside_it_it_says_where_to_put_one(fake, tmp_path):
    (tmp_path / "bin" / "iroh-relay").unlink()
    with pytest.raises(MissingCapability, match="IROH_RELAY_BIN"):
        fake.start(HOST, loopback_place(tmp_path / "state", tmp_path / "logs"), Wants())
