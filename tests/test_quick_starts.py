"""A forked program is like a started one for whoever starts it, and nothing is left of it."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.preloaded import CLIENT, ForkServer
from harness.waiting import wait_until

from .quick_starts import quick_command


def results_of(command, **options):
    ended = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False, **options
    )
    return ended.returncode, ended.stdout, ended.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("reference_server.__main__", "--host", "nonsense"),
        ("mutants.__main__", "no_such_mutant"),
        ("reference_server.__main__", "check-config", "no-such-file"),
    ],
)
def test_output_and_exit_code_are_those_of_a_start(words, tmp_path):
    started = results_of([sys.executable, "-m", *words], cwd=tmp_path)
    assert results_of(quick_command(*words), cwd=tmp_path) == started


def serving(directory, command=quick_command, **options):
    arguments = ("--state", str(directory / "state"), "--ephemeral-ports", "--no-turn", "--no-relay")
    return subprocess.Popen(
        command("reference_server.__main__", "--host", "127.44.3.2", *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        **options,
    )


def serves(directory):
    """Some process has a file of this directory open: the database of mail, or a log."""
    state = str(directory / "state")
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(link.readlink()).startswith(state):
                return True
        except OSError:
            continue
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_server_in_peace(number, tmp_path):
    with serving(tmp_path) as process:
        assert json.loads(process.stdout.readline())["ready"] is True
        assert serves(tmp_path)
        process.send_signal(number)
        assert process.wait(20) == 0
    assert not serves(tmp_path)


def test_a_signal_while_it_starts_ends_it_and_nothing_else(tmp_path):
    with ForkServer("reference_server.__main__") as servers:

        def command(*words):
            return (*CLIENT, str(servers.socket), *words)

        for number, delay in itertools.product((signal.SIGTERM, signal.SIGKILL), (0, 0.02, 0.05, 0.1, 0.2)):
            with serving(tmp_path, command) as process:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(delay)
                process.send_signal(number)
                assert process.wait(20) in (0, -number)
        servers.load()  # a client that asks for nothing
        with serving(tmp_path, command) as process:
            assert json.loads(process.stdout.readline())["ready"] is True
            process.terminate()
            assert process.wait(20) == 0
    assert not serves(tmp_path)


def test_killing_the_client_kills_the_server(tmp_path):
    with serving(tmp_path) as process:
        assert json.loads(process.stdout.readline())["ready"] is True
        process.kill()
    wait_until(lambda: not serves(tmp_path), "the end of the server", within=20)


def test_the_end_of_the_lifeline_ends_the_server(tmp_path):
    read_end, write_end = os.pipe()
    environment = {**os.environ, "DC_SERVER_LIFELINE": str(read_end)}
    with serving(tmp_path, pass_fds=[read_end], env=environment) as process:
        os.close(read_end)
        assert json.loads(process.stdout.readline())["ready"] is True
        os.close(write_end)
        assert process.wait(20) == 0


def test_nothing_survives_the_fork_server(tmp_path):
    with ForkServer("reference_server.mail.service") as servers:
        process = serving(tmp_path, lambda *words: (*CLIENT, str(servers.socket), *words))
        assert json.loads(process.stdout.readline())["ready"] is True
    with process:
        assert process.wait(20) == 1
    wait_until(lambda: not serves(tmp_path), "the end of the server", within=20)
