"""Programs of somebody else that behave badly: one sentence, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from harness.hosts import LocalHost, MissingCapability
from harness.network.lab import Lab
from harness.network.preflight import preflight
from harness.servers.listening import listeners
from harness.servers.notify import NotifySocket
from harness.servers.process import Process, accepts, free_port, refuse_taken, version_of
from harness.servers.server import ServerError
from harness.waiting import wait_until

ADDRESS = "127.77.8.10"
FOREIGN_ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xf3\x00" + bytes(44)


@pytest.fixture
def program(tmp_path):
    """Makes a `Process` of a script in Python; its readiness is a line `ready` in its output."""
    made: list[Process] = []

    def make(source: str, **options) -> Process:
        script = tmp_path / "server.py"
        script.write_text(textwrap.dedent(source))
        command = options.pop("command", [sys.executable, script])
        process: Process = Process(
            "server",
            options.pop("host", LocalHost()),
            command,
            log=tmp_path / "logs" / "server.log",
            ready=options.pop("ready", lambda: "ready\n" in process.output()),
            ready_when="say that it is ready",
            within=options.pop("within", 20),
            **options,
        )
        made.append(process)
        return process

    yield make
    for each in made:
        each.close()


def alive(*processes: int) -> list[int]:
    """Those that are there and no zombies."""
    found = []
    for process in processes:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state != "Z":
            found.append(process)
    return found


def state_of(process: int) -> str:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


def numbers_in(process: Process, word: str) -> list[int]:
    return [int(line.split()[1]) for line in process.output().splitlines() if line.startswith(word)]


WITH_CHILDREN = """
    import subprocess, sys, signal, os
    if sys.argv[1:]:
        print("grandchild", os.getpid(), flush=True)
        signal.pause()
    child = subprocess.Popen([sys.executable, __file__, "once"])
    apart = subprocess.Popen([sys.executable, __file__, "once"], start_new_session=True)
    print("child", child.pid, flush=True)
    print("child", apart.pid, flush=True)
    while not open(sys.argv[0]).read():
        pass
    print("ready", flush=True)
    signal.pause()
"""
WAITS = "import signal; print('ready', flush=True); signal.pause()"


def test_what_it_started_ends_with_it(program):
    process = program(WITH_CHILDREN)
    process.start()
    children = numbers_in(process, "child")
    assert len(alive(process.pid, *children)) == 3
    pid = process.pid
    process.stop()
    assert not alive(pid, *children)


def test_a_kill_takes_what_it_started_with_it(program):
    """As systemd does it: otherwise an orphan would hold the port, and nothing could be started again."""
    process = program(WITH_CHILDREN)
    process.start()
    children = numbers_in(process, "child")
    pid = process.pid
    process.kill()
    assert not alive(pid, *children)
    process.start()
    assert process.pid != pid


def test_what_it_started_ends_with_its_network(program):
    """Nobody has stopped it before: the run was interrupted, for example."""
    try:
        preflight().require("netns")
    except MissingCapability as missing:
        pytest.skip(str(missing))
    with Lab() as lab:
        process = program(WITH_CHILDREN, host=lab.device("server"))
        process.start()
        children = numbers_in(process, "child")
        assert len(alive(process.pid, *children)) == 3
    assert not alive(*children)


def test_children_that_outlive_it_are_not_left_behind(program):
    process = program(
        """
        import subprocess, sys
        for apart in (False, True):
            child = subprocess.Popen(["sleep", "600"], start_new_session=apart)
            print("child", child.pid, flush=True)
        sys.exit(7)
        """
    )
    with pytest.raises(ServerError, match="ended with exit code 7 before it was ready"):
        process.start()
    children = numbers_in(process, "child")
    assert len(children) == 2
    assert not alive(*children)


def test_one_that_never_gets_ready_is_ended(program, tmp_path):
    process = program(
        "print('pid', __import__('os').getpid(), flush=True); input_ = __import__('signal').pause()", within=1
    )
    with pytest.raises(
        ServerError,
        match=r"(?s)^server runs, and did not say that it is ready within 1 s; it listens nowhere\. ",
    ) as caught:
        process.start()
    assert str(tmp_path / "logs" / "server.log") in str(caught.value)
    assert not alive(*numbers_in(process, "pid"))


def test_one_that_listens_elsewhere_is_found(program):
    port = free_port(LocalHost(), ADDRESS)
    process = program(
        f"""
        import socket, signal
        stream = socket.create_server(("{ADDRESS}", {port}))
        datagram = socket.socket(type=socket.SOCK_DGRAM)
        datagram.bind(("127.0.0.1", {port}))
        v6 = socket.create_server(("::1", {port}), family=socket.AF_INET6)
        signal.pause()
        """,
        ready=lambda: accepts(LocalHost(), "127.77.8.11", port),
        within=3,
    )
    with pytest.raises(ServerError, match="it listens at ") as caught:
        process.start()
    said = str(caught.value).partition("listens at ")[2].partition(". ")[0]
    where, _, _ = str(caught.value).partition(". The end of")
    assert where.endswith(f"it listens at TCP 127.77.8.10:{port}, TCP [::1]:{port}, UDP 127.0.0.1:{port}"), (
        said
    )


def test_one_that_dies_at_once_is_quoted(program):
    process = program("import sys; print('turn: unknown key foo', file=sys.stderr); sys.exit(2)")
    with pytest.raises(
        ServerError, match=r"(?s)^server ended with exit code 2 before it was ready\. .*unknown key foo"
    ):
        process.start()


def test_one_that_is_killed_at_once_names_the_signal(program):
    process = program("import os; os.abort()")
    with pytest.raises(ServerError, match="ended with SIGABRT before it was ready"):
        process.start()


def test_one_that_goes_into_the_background_is_ended_and_told(program):
    process = program(
        """
        import os, signal
        if os.fork() == 0:
            os.setsid()
            print("pid", os.getpid(), flush=True)
            signal.pause()
        os.read(os.open(__file__, os.O_RDONLY), 1)
        """,
        ready=lambda: False,
    )
    with pytest.raises(
        ServerError, match=r"exit code 0 before it was ready \(a program that goes into the background"
    ):
        process.start()
    assert not alive(*numbers_in(process, "pid"))


def test_garbage_does_not_reach_the_terminal(program):
    process = program(
        r"""
        import sys
        sys.stdout.buffer.write(b"\x1b[2J\x00\xff\xfe" + b"x" * 5000 + b"\nlast words\a\n")
        sys.exit(1)
        """
    )
    with pytest.raises(ServerError) as caught:
        process.start()
    text = str(caught.value)
    assert "last words\N{REPLACEMENT CHARACTER}" in text
    assert all(character.isprintable() or character == "\n" for character in text)
    assert max(map(len, text.splitlines())) < 400


def test_a_flood_of_garbage_is_not_shown_whole(program):
    process = program("import sys; sys.stdout.write('gar\\nbage' * 100_000); sys.exit(1)")
    with pytest.raises(ServerError) as caught:
        process.start()
    assert len(str(caught.value).splitlines()) <= 22


def test_the_words_of_an_earlier_run_are_not_quoted(program):
    process = program(WAITS)
    process.start()
    process.stop()
    Path(process._command[1]).write_text("import sys; sys.exit('second words')")
    with pytest.raises(ServerError) as caught:
        process.start()
    said = str(caught.value).partition("\n")[2]
    assert said.strip() == "second words"


def test_one_that_ignores_sigterm_is_killed(program):
    process = program("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WAITS, patience=0.2)
    process.start()
    pid = process.pid
    process.stop()
    assert not alive(pid)


def test_it_is_stopped_by_the_signal_that_it_asks_for(program):
    process = program(
        """
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, lambda *_: print("goodbye", flush=True) or exit(0))
        print("ready", flush=True)
        while True: signal.pause()
        """,
        stop_signal=signal.SIGINT,
    )
    process.start()
    process.stop()
    assert process.output().splitlines() == ["ready", "goodbye"]


def test_it_is_paused_and_goes_on_with_its_children(program):
    process = program(WITH_CHILDREN)
    process.start()
    family = [process.pid, *numbers_in(process, "child")]
    process.pause()
    wait_until(lambda: {state_of(each) for each in family} == {"T"}, "all to stand still", within=5)
    process.resume()
    wait_until(lambda: "T" not in {state_of(each) for each in family}, "all to go on", within=5)
    process.pause()
    process.stop()
    assert not alive(*family)


def test_it_is_started_again_at_the_same_place(program):
    process = program(WAITS)
    process.start()
    first = process.pid
    process.restart()
    second = process.pid
    process.restart(kill=True)
    assert len({first, second, process.pid}) == 3
    assert not alive(first, second)
    assert process.log.read_text().splitlines() == ["ready"] * 3
    assert process.output() == "ready\n"


def test_what_runs_is_not_started_twice(program):
    process = program(WAITS)
    process.start()
    with pytest.raises(ServerError, match="server runs already"):
        process.start()


@pytest.mark.parametrize("disturb", [Process.stop, Process.kill, Process.pause, Process.resume])
def test_what_does_not_run_cannot_be_disturbed(program, disturb):
    process = program(WAITS)
    process.start()
    process.kill()
    with pytest.raises(ServerError, match="server is not running"):
        disturb(process)


def test_it_has_a_session_of_its_own_and_no_signal_is_blocked(program):
    process = program(WAITS)
    process.start()
    status = dict(line.split(":\t") for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
    assert os.getsid(process.pid) == process.pid
    assert int(status["SigBlk"], 16) == 0
    assert {each.name for each in Path(f"/proc/{process.pid}/fd").iterdir()} >= {"0", "1", "2"}
    assert listeners([process.pid]) == []


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda file: None, "there is no program {file}"),
        (lambda file: file.mkdir(), "{file} is a directory"),
        (lambda file: file.write_text("#!/bin/sh\n"), r"{file} is not executable \(chmod \+x\)"),
        (
            lambda file: (file.write_bytes(FOREIGN_ELF), file.chmod(0o755)),
            "{file} is a program for RISC-V, and this machine is",
        ),
        (lambda file: (file.write_text("hello"), file.chmod(0o755)), "{file} is no program for Linux"),
        (
            lambda file: (file.write_text("#!/nowhere/sh\n"), file.chmod(0o755)),
            "the interpreter or loader that {file} names",
        ),
    ],
)
def test_what_cannot_be_executed_is_said(make, sentence, tmp_path, program):
    file = tmp_path / "turnserver"
    make(file)
    process = program("", command=[file])
    with pytest.raises(ServerError, match="^server does not start: " + sentence.format(file=file)):
        process.start()
    if file.is_file():
        with pytest.raises(ServerError, match=r"^turnserver does not start: "):
            version_of(LocalHost(), file)


def test_a_taken_port_is_named():
    host = LocalHost()
    with socket.create_server((ADDRESS, 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ServerError, match=f"^server needs TCP port {port} of {ADDRESS}: Address already in use$"
        ):
            refuse_taken(host, "server", ADDRESS, {"tcp": [port]})
        refuse_taken(host, "server", ADDRESS, {"udp": [port]})
    refuse_taken(host, "server", ADDRESS, {"tcp": [port], "udp": [port]})
    with pytest.raises(ServerError, match=r"of 192\.0\.2\.1: Cannot assign requested address"):
        refuse_taken(host, "server", "192.0.2.1", {"udp": [port]})


@pytest.mark.parametrize(
    ("output", "version"),
    [
        ("echo iroh-relay 0.35.0", "0.35.0"),
        ("echo", ""),
        ("echo 4.6.1; exit 1", ""),
        (r"printf '\033[31mred\033[0m'", ""),
        ("head -c 3000 /dev/zero | tr '\\\\0' x", ""),
    ],
)
def test_the_version_is_a_word_or_nothing(output, version, tmp_path):
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{output}\n")
    program.chmod(0o755)
    assert version_of(LocalHost(), program) == version


def test_a_service_says_that_it_is_ready_as_to_systemd(program, tmp_path):
    with NotifySocket(LocalHost(), tmp_path / "notify") as notify:
        process = program(
            """
            import os, signal, socket
            to = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            to.connect(os.environ["NOTIFY_SOCKET"])
            to.send(b"STATUS=READY=1")
            print("asked", flush=True)
            to.send(b"STATUS=up\\nREADY=1")
            signal.pause()
            """,
            ready=notify.is_ready,
            environment=notify.environment,
            before_start=notify.forget,
        )
        process.start()
        assert process.output() == "asked\n"
        process.restart()
        assert process.output() == "asked\n"
        notify.forget()
        assert not notify.is_ready()
    assert not (tmp_path / "notify").exists()


def test_a_socket_whose_name_is_too_long_is_said(tmp_path):
    with pytest.raises(ServerError, match="no socket for NOTIFY_SOCKET can be made"):
        NotifySocket(LocalHost(), tmp_path / ("x" * 120))


HARNESS = """
import signal, sys
from pathlib import Path
from harness.hosts import LocalHost
from harness.network.lab import Lab
from harness.servers.process import Process

directory, where, script = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
lab = Lab() if where == "lab" else None
host = lab.server("server") if lab else LocalHost()
process = Process("server", host, [sys.executable, script], log=directory / "log",
    ready=lambda: "ready" in process.output(), ready_when="be ready", within=20)
process.start()
print(process.pid, flush=True)
signal.pause()
"""


@pytest.mark.parametrize("where", ["loopback", "lab"])
def test_nothing_outlives_a_harness_that_is_killed(where, tmp_path):
    if where == "lab":
        try:
            preflight().require("netns")
        except MissingCapability as missing:
            pytest.skip(str(missing))
    script = tmp_path / "server.py"
    script.write_text(textwrap.dedent(WITH_CHILDREN))
    harness = subprocess.Popen(
        [sys.executable, "-c", HARNESS, tmp_path, where, script], stdout=subprocess.PIPE, text=True
    )
    with harness:
        assert harness.stdout is not None
        pid = int(harness.stdout.readline())
        lines = (tmp_path / "log").read_text().splitlines()
        children = [int(line.split()[1]) for line in lines if line.startswith("child")]
        assert len(alive(pid, *children)) == 3
        harness.kill()
        harness.wait()
        wait_until(lambda: not alive(pid, *children), "all of it to be gone", within=10)
