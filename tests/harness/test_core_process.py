"""Core processes without any server: starting, dying and closing."""

import os
import signal
import threading
from pathlib import Path

import pytest

from harness.clients.core.core import Core, CoreDied, CoreError
from harness.clients.core.errors import CoreUnusable
from harness.clients.core.versions import bundled_binary
from harness.doors.cli import main
from harness.doors.exit_codes import UNDECIDED
from harness.waiting import WaitTimeout


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def leftovers() -> set[str]:
    """Threads, without those that live as long as this process: `harness.hosts` starts programs in one."""
    names = {thread.name for thread in threading.enumerate()} - {threading.main_thread().name}
    return {name for name in names if not name.startswith("starter")}


def test_a_core_starts_and_leaves_nothing(tmp_path):
    before = leftovers()
    with Core(tmp_path, name="alice") as core:
        assert core.version == "v2.65.0"
        pid, directory = core.pid, core._directory
        assert is_running(pid)
        assert directory.exists()
    assert not is_running(pid)
    assert not directory.exists()
    assert leftovers() == before
    assert {path.name for path in tmp_path.iterdir()} == {"alice.stderr.log", "alice.core.log"}


def test_the_bundled_binary_does_not_depend_on_path(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert os.access(bundled_binary(), os.X_OK)


def test_closing_twice_is_closing_once(tmp_path):
    core = Core(tmp_path)
    core.close()
    core.close()


def test_a_core_that_dies_fails_the_next_request_with_its_exit_code(tmp_path):
    with Core(tmp_path) as core:
        os.kill(core.pid, signal.SIGKILL)
        with pytest.raises(CoreDied, match=r"ended with exit code -9"):
            core.rpc.add_account()


def test_a_waiting_request_fails_when_the_core_dies(tmp_path):
    with Core(tmp_path) as core:
        os.kill(core.pid, signal.SIGSTOP)
        waiting = core.rpc.add_account.future()
        os.kill(core.pid, signal.SIGKILL)
        with pytest.raises(CoreDied):
            waiting()


def test_a_core_that_stands_still_times_out_and_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.clients.core.rpc.CLOSE_PATIENCE", 0.1)
    core = Core(tmp_path)
    os.kill(core.pid, signal.SIGSTOP)
    core.rpc.within = 0.1
    with pytest.raises(WaitTimeout, match="core's answer to add_account"):
        core.rpc.add_account()
    core.close()
    assert not is_running(core.pid)


def test_a_close_is_certain_even_when_the_pipe_to_core_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.clients.core.rpc.CLOSE_PATIENCE", 0.1)
    core = Core(tmp_path)
    os.kill(core.pid, signal.SIGSTOP)
    core.rpc.echo.future("x" * 1_000_000)  # more than a pipe holds: the writer hangs
    core.close()
    assert not is_running(core.pid)


def test_an_error_of_core_is_a_sentence(tmp_path):
    with Core(tmp_path) as core, pytest.raises(CoreError, match=r"get_account_info: .*"):
        core.rpc.get_account_info(4711)


@pytest.mark.parametrize("name", ["/bin/false", "/nowhere/deltachat-rpc-server"])
def test_a_binary_that_is_none_is_explained(name, tmp_path):
    with pytest.raises((CoreDied, CoreUnusable), match=r"ended with exit code 1|does not start"):
        Core(tmp_path, binary=Path(name))


def test_a_program_that_answers_otherwise_is_no_core(tmp_path):
    with pytest.raises(CoreUnusable, match="/bin/cat does not answer as a core"):
        Core(tmp_path, binary=Path("/bin/cat"))


@pytest.mark.parametrize("program", ["/bin/cat", "/bin/false"])
def test_a_program_that_is_no_core_is_no_finding_about_a_server(program, tmp_path):
    words = [
        "check",
        "accounts.new_accounts_come_online",
        "--rpc-server",
        program,
        "--out",
        str(tmp_path / "run"),
    ]
    assert main(words) == UNDECIDED


def test_a_closed_core_keeps_its_log(tmp_path):
    with Core(tmp_path) as core:
        core.rpc.add_account()
        core.rpc.start_io(1)  # not configured: core says so in its log and does nothing
    text = (tmp_path / "core.core.log").read_text()
    assert "account=1" in text
