import socket
import subprocess
import sys

import pytest

from harness.hosts import LocalHost, end_process


def test_connect_raises_the_refusal_of_the_last_address():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: every connection is refused
        with pytest.raises(ConnectionRefusedError):
            LocalHost().connect("127.0.0.1", unused.getsockname()[1], within=5)


def test_connect_reaches_a_listener():
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, LocalHost().connect("127.0.0.1", listener.getsockname()[1], within=5) as connection:
        assert connection.getpeername() == listener.getsockname()


def test_a_process_that_ignores_sigterm_is_killed_with_its_children():
    stubborn = (
        "import signal, subprocess, sys\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "subprocess.Popen([sys.executable, '-c', 'import sys; sys.stdin.read()'])\n"
        "print('ready', flush=True)\n"
        "signal.pause()\n"
    )
    process = LocalHost().popen(
        [sys.executable, "-c", stubborn], stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        assert end_process(process, patience=0.05) == -9
        # The child holds the other end of this pipe as long as it lives.
        assert process.stdout.read() == b""


def test_an_ended_process_is_only_reaped():
    process = LocalHost().popen([sys.executable, "-c", "raise SystemExit(3)"])
    process.wait()
    assert end_process(process, patience=1) == 3
