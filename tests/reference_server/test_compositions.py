"""A server that leaves some of its services to other programs: what is started, and what METADATA says of the rest."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path

import pytest

from reference_server import control
from reference_server.addresses import STUN_PORT, claim_any_address
from reference_server.turn_secret import make_password

from .configured import DEADLINE, IROH, command, metadata, refused, running, written

TURN, TURNS = "/shared/vendor/deltachat/turn", "/shared/vendor/deltachat/turns"
FREE = ["--ephemeral-ports", "--ledger"]
SECRET = "a secret of coturn"


def ask(endpoints, verb, **fields):
    return asyncio.run(control.request(Path(endpoints["control"]), verb, **fields))


def is_free(host):
    """UDP 3478, where STUN and TURN are."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        try:
            other.bind((host, STUN_PORT))
        except OSError:
            return False
    return True


def test_a_turn_server_of_somebody_else_on_the_same_address(tmp_path):
    secret = written(tmp_path, "secret", SECRET + "\n")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as coturn:
        host, claim = claim_any_address()
        claim.close()
        coturn.bind((host, STUN_PORT))
        arguments = [*FREE, "--host", host, "--no-turn", "--no-stun", "--turn-ttl", "500"]
        arguments += ["--turn-secret-file", secret, "--advertise-turn", f"{host}:{STUN_PORT}"]
        with running(tmp_path, *arguments) as endpoints:
            assert not {"turn", "turn_realm", "turn_lifetimes", "stun"} & endpoints.keys()
            assert "turn" not in ask(endpoints, "ledger")
            said = metadata(endpoints, TURN, TURNS)
    [(expiry, password)] = re.findall(rf"{host}:{STUN_PORT}:(\d+):(\S+=)", said)
    assert password == make_password(SECRET, expiry)
    assert TURNS not in said


def test_both_addresses_of_a_turn_server_of_somebody_else(tmp_path):
    secret = written(tmp_path, "secret", SECRET)
    offers = ["--advertise-turn", "turn.example:3478", "--advertise-turns", "turn.example:443"]
    with running(tmp_path, *FREE, "--no-turn", "--turn-secret-file", secret, *offers) as endpoints:
        said = metadata(endpoints, TURN, TURNS)
    assert "turn.example:3478:" in said
    assert "turn.example:443:" in said


def test_our_own_turn_with_a_secret_that_others_know(tmp_path):
    secret = written(tmp_path, "secret", SECRET + "\n")
    with running(tmp_path, *FREE, "--turn-secret-file", secret) as endpoints:
        said = metadata(endpoints, TURN)
        assert endpoints["turn"][0] == f"udp://{endpoints['host']}:{STUN_PORT}"
    [(expiry, password)] = re.findall(r":(\d{10}):(\S+=)", said)
    assert password == make_password(SECRET, expiry)
    logs = [*tmp_path.glob("state/logs/*"), tmp_path / "stderr"]
    assert len(logs) == 4
    assert not [log for log in logs if SECRET in log.read_text()]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "No such file"),
        (b"", "it has no line with one"),
        (b"\n", "it has no line with one"),
        (b"one\ntwo\n", "it has 2 lines, not one"),
        (b"\xe4\n", "it is no text in UTF-8"),
    ],
)
def test_a_secret_file_that_holds_no_secret(tmp_path, content, sentence):
    file = tmp_path / "secret"
    if content is not None:
        file.write_bytes(content)
    said = refused(tmp_path, *FREE, "--turn-secret-file", file)
    assert f"cannot read a secret from {file}: {sentence}" in said
    assert "Errno" not in said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--no-turn", "--advertise-turn", "turn.example:3478"],
            "name its secret, too, with --turn-secret-file",
        ),
        (["--services", "mail", "--advertise-turns", "turn.example:443"], "with --turn-secret-file"),
        (["--no-turn", "--turn-secret-file", "secret"], "there is no TURN server that it could be for"),
        (["--advertise-turn", "turn.example"], "--advertise-turn turn.example: expected HOST:PORT"),
        (["--advertise-turn", "[::1]:3478"], "METADATA cannot carry an IPv6 address"),
        (["--no-stun"], "add --no-turn"),
        (["--services", "mail,pop3"], "--services mail,pop3: expected some of iroh_relay, mail, turn"),
        (["--services", ""], "--services : expected some of iroh_relay, mail, turn"),
        (["--services", "turn", "--no-turn"], "there is no service to start"),
        (["--standard-ports"], "exclude each other"),
        (["--dialect", "cyrus"], "--dialect cyrus: expected chatmail or madmail"),
        (["--turn-ttl", "long"], "--turn-ttl long: expected a whole number"),
    ],
)
def test_words_that_contradict_each_other_or_mean_nothing(tmp_path, arguments, sentence):
    assert sentence in refused(tmp_path, *FREE, *arguments)


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ("--no-relay", "is for an iroh relay, and none is to be started"),
        ("--no-stun", "set enable_stun = false in"),
    ],
)
def test_words_that_contradict_the_relay_s_file(tmp_path, option, sentence):
    toml = written(tmp_path, "relay.toml", "enable_metrics = false\n")
    assert sentence in refused(tmp_path, *FREE, option, "--config", toml)


def test_a_relay_of_somebody_else(tmp_path):
    with running(tmp_path, *FREE, "--no-relay", "--advertise-relay", "https://relay.example") as endpoints:
        assert "iroh_relay" not in endpoints
        assert endpoints["stun"] == STUN_PORT, "TURN has it"
        assert set(ask(endpoints, "ledger")) == {"mail", "turn"}
        assert "https://relay.example" in metadata(endpoints, IROH)


def test_no_relay_at_all(tmp_path):
    with running(tmp_path, *FREE, "--no-relay", "--no-turn") as endpoints:
        assert IROH not in metadata(endpoints, IROH, TURN)
        assert "stun" not in endpoints
        assert is_free(endpoints["host"])


@pytest.mark.parametrize(
    ("services", "there", "stun"),
    [
        ("mail,turn", {"turn", "turn_realm", "imaps", "ca_file"}, True),
        ("iroh_relay", {"iroh_relay"}, True),
        ("turn", {"turn", "turn_realm"}, True),
        ("mail", {"imaps", "ca_file"}, False),
    ],
)
def test_only_these_services_are_started(tmp_path, services, there, stun):
    with running(tmp_path, *FREE, "--services", services) as endpoints:
        known = {"iroh_relay", "turn", "turn_realm", "imaps", "ca_file"}
        assert known & endpoints.keys() == there
        assert ("stun" in endpoints) is stun
        pids = ask(endpoints, "services")
        assert set(pids) == set(services.split(","))
        assert all(Path(f"/proc/{pid}").exists() for pid in pids.values())


def test_servers_that_leave_udp_3478_start_side_by_side(tmp_path):
    """Each has an address of its own, although nobody holds the port that is the lock of others."""
    with ExitStack() as stack:
        hosts = set()
        for number in range(3):
            place = tmp_path / str(number)
            place.mkdir()
            endpoints = stack.enter_context(running(place, *FREE, "--services", "mail", "--no-stun"))
            hosts.add(endpoints["host"])
            assert is_free(endpoints["host"])
            with (
                pytest.raises(OSError, match="in use"),
                socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as name,
            ):
                name.bind(f"\0dc-server-{endpoints['host']}")
        assert len(hosts) == 3


def test_the_address_is_free_again_when_the_server_is_gone(tmp_path):
    process = subprocess.Popen(
        command(tmp_path, *FREE, "--services", "mail"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with process:
        assert process.stdout is not None
        host = json.loads(process.stdout.readline())["endpoints"]["host"]
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as name:
        name.bind(f"\0dc-server-{host}")
