"""The supervisor as a program, over services that do nothing: processes, signals and verbs are real."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from harness.waiting import wait_until
from reference_server import control
from reference_server.addresses import STUN_PORT, claim_any_address
from reference_server.control import ControlError
from reference_server.iroh_relay.config import load
from tests.quick_starts import quick_command


class Server:
    """A started supervisor; `ready` is its ready line."""

    def __init__(self, *arguments, **environment):
        self.process = subprocess.Popen(
            quick_command("tests.reference_server.fake_server", *arguments),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **environment},
        )

    def ready(self):
        assert self.process.stdout is not None and self.process.stderr is not None
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read().decode()
        return json.loads(line)["endpoints"]

    def close(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def start(tmp_path):
    servers = []

    def start(*arguments, **environment):
        servers.append(Server("--state", str(tmp_path / "state"), *arguments, **environment))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def ask(endpoints, verb, **fields):
    return asyncio.run(control.request(Path(endpoints["control"]), verb, **fields))


def started(endpoints, service):
    """The event that a fake service writes when it starts."""
    return ask(endpoints, "ledger")[service]["events"][-1]


def alive(pid):
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def gone(*pids):
    wait_until(lambda: not any(map(alive, pids)), f"processes {pids} to end", within=10)


def test_one_ready_line_for_all_services_and_a_clean_end(start):
    server = start("--ephemeral-ports", "--ledger")
    endpoints = server.ready()
    pids = endpoints["mail_pid"], endpoints["iroh_relay_pid"]
    assert all(map(alive, pids))
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(10) == 0
    gone(*pids)
    assert not Path(endpoints["control"]).parent.exists()


def test_the_mail_service_is_told_the_relay_that_really_runs(start):
    endpoints = start("--ephemeral-ports", "--ledger").ready()
    file = Path(started(endpoints, "iroh_relay")["settings"]["config_path"]).read_text()
    url = started(endpoints, "mail")["settings"]["iroh_relay_url"]
    assert f'http_bind_addr = "{url.removeprefix("http://")}"' in file
    assert "enable_stun = false" in file  # TURN answers it


def test_turn_and_mail_share_a_secret_that_nobody_sees(start):
    endpoints = start("--ephemeral-ports", "--ledger", "--turn-ttl", "77").ready()
    mail = started(endpoints, "mail")["settings"]
    turn = started(endpoints, "turn")["settings"]
    file = Path(mail["turn_secret_file"])
    assert turn["secret_files"] == [str(file)]
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.read_text().strip() not in f"{mail}{turn}"
    listeners = [f"{transport}://{host}:{port}" for transport, (host, port) in turn["listeners"]]
    address = mail["turn_address"]
    assert listeners == [f"udp://{address}", f"tcp://{address}", f"tls://{mail['turns_address']}"]
    assert mail["turn_ttl"] == 77


def test_options_of_services_reach_them(start):
    given = ["--turn-default-lifetime", "8", "--turn-max-lifetime", "9", "--turn-permission-lifetime", "4"]
    given += ["--turn-channel-lifetime", "7", "--turn-strict-permissions"]
    given += ["--compress", "--messages-per-minute", "60"]
    endpoints = start("--ephemeral-ports", "--ledger", *given).ready()
    turn = started(endpoints, "turn")["settings"]
    lifetimes = ("default_lifetime", "max_lifetime", "permission_lifetime", "channel_lifetime")
    assert [turn[name] for name in lifetimes] == [8.0, 9.0, 4.0, 7.0]
    assert turn["strict_permissions"]
    mail = started(endpoints, "mail")["settings"]
    assert (mail["compress"], mail["messages_per_minute"]) == (True, 60)


def test_without_options_services_have_their_own_defaults(start):
    endpoints = start("--ephemeral-ports", "--ledger").ready()
    turn = started(endpoints, "turn")["settings"]
    lifetimes = ("default_lifetime", "max_lifetime", "permission_lifetime", "channel_lifetime")
    assert [turn[name] for name in lifetimes] == [600.0, 3600.0, 300.0, 600.0]
    assert not turn["strict_permissions"]
    mail = started(endpoints, "mail")["settings"]
    assert (mail["compress"], mail["messages_per_minute"], mail["turn_ttl"]) == (False, 0, 86400)


def test_without_turn_the_relay_answers_stun(start):
    endpoints = start("--ephemeral-ports", "--ledger", "--no-turn").ready()
    relay = started(endpoints, "iroh_relay")["settings"]
    assert "enable_stun = true" in Path(relay["config_path"]).read_text()
    assert relay["stun_fd"] is not None
    assert started(endpoints, "mail")["settings"]["turn_address"] is None
    assert "turn_pid" not in endpoints


def test_the_relay_is_told_how_often_to_ping(start):
    endpoints = start("--ephemeral-ports", "--ledger", "--relay-ping-interval", "2").ready()
    limits = load(Path(started(endpoints, "iroh_relay")["settings"]["config_path"])).limits
    assert (limits.ping_interval, round(limits.ping_jitter, 2), limits.pong_timeout) == (2.0, 0.67, 5.0)


def test_the_relay_is_told_how_many_may_come(start):
    words = ("--relay-connections", "7000", "--relay-connections-per-source", "5000")
    endpoints = start("--ephemeral-ports", "--ledger", *words).ready()
    limits = load(Path(started(endpoints, "iroh_relay")["settings"]["config_path"])).limits
    assert (limits.max_connections, limits.max_connections_per_address) == (7000, 5000)


@pytest.mark.parametrize("interval", ["0", "-1", "inf", "nan", "often"])
def test_a_ping_interval_that_is_none_is_refused(start, interval):
    server = start("--ephemeral-ports", "--relay-ping-interval", interval)
    assert server.process.wait(10) == 2


def test_parallel_servers_choose_different_addresses(start, tmp_path):
    servers = [start("--ephemeral-ports", "--state", str(tmp_path / str(n)), "--ledger") for n in range(3)]
    hosts = set()
    for server in servers:
        hosts.add(started(server.ready(), "mail")["settings"]["host"])
    assert len(hosts) == 3


def test_an_address_that_is_taken_is_a_clear_error(start):
    host, claim = claim_any_address()
    with claim:
        server = start("--host", host)
        _out, err = server.process.communicate(timeout=20)
    assert server.process.returncode == 2
    assert f"UDP port {STUN_PORT} of {host} is in use" in err.decode()


def test_the_claim_ends_with_the_server(start):
    server = start("--ephemeral-ports", "--ledger")
    host = started(server.ready(), "mail")["settings"]["host"]
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(10) == 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as again:
        again.bind((host, STUN_PORT))


@pytest.mark.parametrize("host", ["0.0.0.0", "8.8.8.8", "::"])
def test_a_public_address_needs_a_word(start, host):
    server = start("--host", host)
    _out, err = server.process.communicate(timeout=20)
    assert server.process.returncode == 2
    assert "--public" in err.decode()


def test_a_service_that_cannot_start_ends_the_server_with_its_own_words(start):
    server = start("--ephemeral-ports", FAKE_FAILURE="mail")
    out, err = server.process.communicate(timeout=20)
    assert (server.process.returncode, out) == (2, b"")
    assert "the moon is in the wrong house" in err.decode()


@pytest.mark.parametrize("name", ["TERM", "KILL"])
def test_restart_replaces_one_service_and_leaves_the_other(start, name):
    endpoints = start("--ephemeral-ports", "--ledger").ready()
    before = started(endpoints, "mail")["settings"]
    pid = ask(endpoints, "restart", service="mail", signal=name)["pid"]
    after = started(endpoints, "mail")
    assert pid == after["pid"] != endpoints["mail_pid"]
    assert after["settings"] == before
    assert started(endpoints, "iroh_relay")["pid"] == endpoints["iroh_relay_pid"]


@pytest.mark.parametrize("name", ["TERM", "KILL"])
def test_a_service_that_is_stopped_stays_stopped_until_it_is_started(start, name):
    endpoints = start("--ephemeral-ports", "--ledger").ready()
    settings = started(endpoints, "mail")["settings"]
    assert ask(endpoints, "stop", service="mail", signal=name) == {}
    gone(endpoints["mail_pid"])
    assert ask(endpoints, "services")["mail"] is None
    assert ask(endpoints, "services")["turn"] == endpoints["turn_pid"]
    assert "error" in ask(endpoints, "ledger")["mail"]
    with pytest.raises(ControlError, match="mail is not running"):
        ask(endpoints, "stop", service="mail")
    pid = ask(endpoints, "start", service="mail")["pid"]
    assert pid == ask(endpoints, "services")["mail"] == started(endpoints, "mail")["pid"]
    assert started(endpoints, "mail")["settings"] == settings
    with pytest.raises(ControlError, match="mail is running already"):
        ask(endpoints, "start", service="mail")


def test_a_stopped_service_is_no_fault_and_does_not_keep_the_server(start):
    server = start("--ephemeral-ports", "--ledger")
    endpoints = server.ready()
    ask(endpoints, "stop", service="turn")
    ask(endpoints, "stop")
    _out, err = server.process.communicate(timeout=20)
    assert server.process.returncode == 0
    assert "by itself" not in err.decode()


def test_starts_and_stops_of_one_service_at_once_leave_one_process(start):
    endpoints = start("--ephemeral-ports", "--ledger").ready()

    async def all_at_once():
        path = Path(endpoints["control"])
        restarts = (control.request(path, "restart", service="mail", timeout=60) for _ in range(4))
        return await asyncio.gather(*restarts)

    pids = [each["pid"] for each in asyncio.run(all_at_once())]
    assert len(set(pids)) == 4
    assert [pid for pid in pids if alive(pid)] == [ask(endpoints, "services")["mail"]]


def test_a_service_has_signals_files_and_a_session_of_its_own(start):
    """Nothing of the supervisor is open in it, and Ctrl-C is not for it."""
    endpoints = start("--ephemeral-ports", "--ledger").ready()
    pids = ask(endpoints, "services")
    assert {os.getsid(pid) for pid in pids.values()} == set(pids.values())
    for pid in pids.values():
        files = [str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir()]
        assert files.count("/dev/null") == 1
        assert sum(each.startswith("pipe:") for each in files) == 2, files  # its stdout, and the lifeline


def test_a_service_that_dies_unasked_is_reported_and_the_other_lives(start):
    server = start("--ephemeral-ports", "--ledger")
    endpoints = server.ready()
    os.kill(endpoints["mail_pid"], signal.SIGKILL)
    gone(endpoints["mail_pid"])
    ledgers = ask(endpoints, "ledger")
    assert "error" in ledgers["mail"]
    assert ledgers["iroh_relay"]["events"]
    server.process.send_signal(signal.SIGTERM)
    assert "mail ended by itself" in server.process.communicate(timeout=10)[1].decode()


def test_a_paused_service_stands_still_and_goes_on(start):
    endpoints = start("--ephemeral-ports", "--ledger").ready()
    status = Path(f"/proc/{endpoints['mail_pid']}/status")
    ask(endpoints, "pause", service="mail", paused=True)
    wait_until(lambda: "State:\tT" in status.read_text(), "mail to stand still", within=10)
    ask(endpoints, "pause", service="mail", paused=False)
    wait_until(lambda: "State:\tT" not in status.read_text(), "mail to go on", within=10)


def test_a_paused_service_ends_with_the_server(start):
    server = start("--ephemeral-ports", "--ledger")
    endpoints = server.ready()
    ask(endpoints, "pause", service="mail", paused=True)
    ask(endpoints, "stop")
    assert server.process.wait(20) == 0
    gone(endpoints["mail_pid"])


def test_services_end_when_the_supervisor_is_killed(start):
    server = start("--ephemeral-ports", "--ledger")
    endpoints = server.ready()
    server.process.kill()
    gone(endpoints["mail_pid"], endpoints["iroh_relay_pid"])


@pytest.mark.parametrize(
    ("verb", "fields", "sentence"),
    [
        ("restart", {"service": "pop3"}, "unknown service"),
        ("restart", {"service": "mail", "signal": "USR1"}, "TERM or KILL"),
        ("stop", {"service": "pop3"}, "unknown service; known are iroh_relay, mail, turn"),
        ("stop", {"service": None}, "unknown service"),
        ("stop", {"service": "mail", "signal": "STOP"}, "TERM or KILL"),
        ("start", {}, "unknown service"),
        ("start", {"service": "mail"}, "running already"),
        ("logs", {}, "unknown service"),
        ("logs", {"service": "mail", "lines": "many"}, "number"),
        ("set_policy", {}, "unknown verb"),
    ],
)
def test_bad_requests_get_sentences(start, verb, fields, sentence):
    endpoints = start("--ephemeral-ports", "--ledger").ready()
    with pytest.raises(ControlError, match=sentence):
        ask(endpoints, verb, **fields)
