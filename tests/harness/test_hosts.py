import socket
import subprocess
import sys
from pathlib import Path

import pytest

from harness.hosts import MOST_OUTPUT, LocalHost, end_process, output_of
from harness.waiting import wait_until


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


def test_what_a_program_says_is_kept_up_to_a_bound():
    says = f"import sys; sys.stdout.write('ab' * {MOST_OUTPUT}); sys.exit(3)"
    code, said = output_of(LocalHost(), [sys.executable, "-c", says], within=60)
    assert (code, len(said), said[:4]) == (3, MOST_OUTPUT, "abab")


def test_both_outputs_are_told_in_their_order():
    says = "import os; os.write(2, b'one '); os.write(1, b'two \\xff')"
    assert output_of(LocalHost(), [sys.executable, "-c", says], within=60) == (
        0,
        "one two \N{REPLACEMENT CHARACTER}",
    )


def test_a_program_that_speaks_for_ever_is_ended_with_its_children(tmp_path):
    speaks = f"sleep 600 & echo $! > {tmp_path}/child; exec yes"
    with pytest.raises(TimeoutError, match="within 2 s"):
        output_of(LocalHost(), ["sh", "-c", speaks], within=2)
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: not _lives(child), "the child to end", within=30)


def _lives(process: int) -> bool:
    try:
        return b") Z " not in Path(f"/proc/{process}/stat").read_bytes()
    except OSError:
        return False
