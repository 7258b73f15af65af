"""`python -m reference_server.iroh_relay` from outside."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from tests.reference_server.iroh_relay.support import DEADLINE, Node, Peer
from tests.reference_server.iroh_relay.test_stun import parse, request

QUIET = "enable_stun = false\nenable_metrics = false\n"
COMMAND = [sys.executable, "-m", "reference_server.iroh_relay"]


@contextlib.contextmanager
def started(tmp_path, text, *options, pass_fds=()):
    config = tmp_path / "iroh-relay.toml"
    config.write_text(text)
    process = subprocess.Popen(
        [*COMMAND, "-c", config, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=pass_fds
    )
    assert process.stdout
    with process:
        try:
            line = process.stdout.readline()
            yield process, json.loads(line)["endpoints"] if line else None
        finally:
            process.kill()


def failed(tmp_path, text, *options):
    """Exit code and what was said of a start that has to fail."""
    config = tmp_path / "iroh-relay.toml"
    config.write_text(text)
    done = subprocess.run(
        [*COMMAND, "-c", config, *options], capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def port_of(endpoints):
    return int(endpoints["iroh_relay"].rpartition(":")[2])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ready_line_tells_the_real_port_and_a_signal_ends_it_cleanly(tmp_path, number):
    with started(tmp_path, 'http_bind_addr = "127.0.0.1:0"\n' + QUIET) as (process, endpoints):
        assert set(endpoints) == {"iroh_relay"}
        with Peer(port_of(endpoints)) as alice:
            alice.log_in(Node(1))
            process.send_signal(number)
            assert process.wait(DEADLINE) == 0
            assert process.stderr.read() == b""


def test_stun_on_an_inherited_socket_and_metrics(tmp_path):
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as held,
        socket.create_server(("127.0.0.1", 0)) as free,
    ):
        held.bind(("127.0.0.1", 0))
        metrics = free.getsockname()[1]
        free.close()
        text = f'http_bind_addr = "127.0.0.1:0"\nmetrics_bind_addr = "127.0.0.1:{metrics}"\n'
        options = ("--stun-fd", str(held.fileno()))
        with started(tmp_path, text, *options, pass_fds=(held.fileno(),)) as (_, endpoints):
            assert endpoints["stun"] == held.getsockname()[1]
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
                client.settimeout(DEADLINE)
                client.connect(("127.0.0.1", endpoints["stun"]))
                client.send(request(b"abcdefghijkl"))
                assert parse(client.recv(100)) == (b"abcdefghijkl", *client.getsockname())
            with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=DEADLINE) as answer:
                text = answer.read().decode()
            assert "stun_ipv4_success_total 1\n" in text
            assert "relayserver_accepts_total 0\n" in text
            assert text.endswith("# EOF\n")


def test_relay_that_is_switched_off_answers_stun_only(tmp_path):
    text = 'enable_relay = false\nenable_metrics = false\nstun_bind_addr = "127.0.0.1:0"\n'
    with started(tmp_path, text) as (_, endpoints):
        assert set(endpoints) == {"stun"}


def test_port_in_use(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, said = failed(tmp_path, f'http_bind_addr = "{address}"\n' + QUIET)
    assert code == 1
    assert "in use" in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("enable_relay = 1", "enable_relay: expected true or false, found 1"),
        ('http_bind_addr = "[::]:0"\n' + QUIET, "unless you start it with --public"),
        ("enable_relay = false\n" + QUIET, "there is nothing to serve"),
        (
            'http_bind_addr = "127.0.0.1:0"\ntls = { cert_mode = "Manual", cert_dir = "/nowhere" }\n' + QUIET,
            "/nowhere",
        ),
    ],
)
def test_settings_that_cannot_work(tmp_path, text, says):
    code, said = failed(tmp_path, text)
    assert code == 2
    assert says in said
