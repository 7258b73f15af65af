"""`dc-harness serve` and `dc-harness logs` as a person starts them."""

from __future__ import annotations

import contextlib
import errno
import imaplib
import os
import pty
import re
import select
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import segno

from harness.clients.control import ControlClient, Event
from harness.clients.relay.client import RelayClient
from harness.hosts import LocalHost
from harness.report.events import event_line
from harness.servers.reference import Reference
from harness.servers.server import Wants
from harness.stage.session import loopback_place
from harness.urls import RelayUrl
from harness.waiting import wait_until
from reference_server.addresses import claim_any_address

DC_HARNESS = [sys.executable, "-c", "import sys; from harness.doors.cli import main; sys.exit(main())"]
WITHIN = 60.0


@pytest.fixture(autouse=True)
def ctrl_c() -> Iterator[None]:
    """A shell that starts pytest in the background lets it, and all that it starts, ignore Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Program:
    """A program with a terminal, or with a pipe, as its output; `text` is what it has said."""

    def __init__(self, *arguments: object, terminal: bool = False, **environment: str) -> None:
        if terminal:
            self._output, end = pty.openpty()
        else:
            self._output, end = os.pipe()
        self.process = subprocess.Popen(
            [*DC_HARNESS, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=end,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
        )
        os.close(end)
        self._said = b""

    @property
    def text(self) -> str:
        return self._said.decode(errors="ignore").replace("\r\n", "\n")

    def wait_for(self, words: str) -> str:
        """Read until these words came; returns everything."""
        wait_until(lambda: words in self._more(), repr(words), within=WITHIN, seen=lambda: self.text)
        return self.text

    def _more(self) -> str:
        while select.select([self._output], [], [], 0)[0]:
            try:
                data = os.read(self._output, 65536)
            except OSError as error:
                assert error.errno == errno.EIO  # how a terminal says that its program has ended
                break
            if not data:
                break
            self._said += data
        return self.text

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        code = self.process.wait(WITHIN)
        self._more()
        return code

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._output)


@contextlib.contextmanager
def program(*arguments: object, **options) -> Iterator[Program]:
    started = Program(*arguments, **options)
    try:
        yield started
    finally:
        started.close()


@pytest.fixture
def host() -> str:
    host, claim = claim_any_address()
    claim.close()
    return host


@pytest.fixture
def temporary() -> Iterator[str]:
    """A directory for temporary files that no other test's server is in; short, for unix sockets."""
    directory = tempfile.mkdtemp(prefix="t-")
    yield directory
    shutil.rmtree(directory)


def log_in(host: str, port: int, address: str, password: str, ca_file: str | None = None) -> None:
    tls = ssl.create_default_context(cafile=ca_file)
    with imaplib.IMAP4_SSL(host, port, ssl_context=tls, timeout=WITHIN) as client:
        client.login(address, password)


def test_on_a_terminal_it_hands_out_an_account_and_tells_what_happens(host, temporary):
    with program("serve", "--host", host, terminal=True, TMPDIR=temporary) as serve:
        text = serve.wait_for("What happens from now on")
        assert "This code is a password" in text
        assert "accept any certificate" in text
        [code] = [line for line in text.splitlines() if line.startswith("dclogin:")]
        assert_the_qr_code_is(code, text)
        url = urlsplit(code)
        settings = {key: values[0] for key, values in parse_qs(url.query).items()}
        assert settings["ih"] == settings["sh"] == host
        [ca_file] = re.findall(r"CA file +(\S+)", text)
        log_in(host, int(settings["ip"]), url.path, settings["p"], ca_file)
        serve.wait_for(f"mail   {url.path} is a new account (by login)\n")
        serve.wait_for(f"mail   {url.path} logged in (imap)\n")
        [relay] = re.findall(r"iroh relay +(\S+)", text)
        with RelayClient(LocalHost(), RelayUrl.parse(relay)) as node:
            node.ping()
            serve.wait_for(f"relay  node {node.node_id[:10]} logged in from 127.0.0.1:")
        serve.wait_for(f"relay  node {node.node_id[:10]} left: ")
        assert serve.end() == 0
        assert serve.text.endswith("stopped\n")
        assert serve.text.count("logged in (imap)") == 1
    assert list(Path(temporary).iterdir()) == []


def assert_the_qr_code_is(code: str, text: str) -> None:
    """What stands on the screen, half block by half block, is the QR code of this text."""
    blocks = {"█": (0, 0), "▀": (0, 1), "▄": (1, 0), " ": (1, 1)}
    lines = re.findall("\x1b\\[97;40m([█▀▄ ]+)\x1b\\[0m\n", text)
    shown = [[blocks[block][half] for block in line] for line in lines for half in (0, 1)]
    wanted = [list(row) for row in segno.make_qr(code, error="l", boost_error=False).matrix_iter(border=2)]
    assert shown[: len(wanted)] == wanted


def test_into_a_pipe_it_writes_no_password(host, temporary):
    with program("serve", "--host", host, TMPDIR=temporary) as serve:
        text = serve.wait_for("What happens from now on")
        assert "dclogin:" not in text
        assert "█" not in text
        assert "it is a password" in text
        assert serve.end(signal.SIGTERM) == 0
    assert list(Path(temporary).iterdir()) == []


def test_it_serves_what_configuration_files_say(host, temporary, tmp_path):
    excerpts = Path(__file__).parents[1] / "fixtures" / "config"
    conf = tmp_path / "maddy.conf"
    conf.write_text((excerpts / "iroh.maddy.conf").read_text() + "state_dir /var/lib/maddy\n")
    files = ["--config", conf, "--config", excerpts / "iroh-relay.toml"]
    with program("serve", "--host", host, *files, TMPDIR=temporary) as serve:
        text = serve.wait_for("What happens from now on")
        assert f"iroh relay    http://{host}:3340\n" in text
        assert "STUN          none\n" in text
        assert f"WARNING {conf}:5: warning: state_dir is not served" in text
        assert serve.end() == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "8.8.8.8"], "--public"),
        (["--config", "nowhere.conf"], "nowhere.conf"),
        (["--host", "me"], "IP address"),
    ],
)
def test_a_server_that_does_not_start_says_why(arguments, words):
    with program("serve", *arguments) as serve:
        assert serve.wait() == 1
        assert words in serve.text
        assert "Traceback" not in serve.text


def test_a_server_that_ends_by_itself_ends_it(host, temporary):
    with program("serve", "--host", host, TMPDIR=temporary) as serve:
        serve.wait_for("What happens from now on")
        [control] = re.findall(r"control +(\S+)", serve.text)
        ControlClient(Path(control), LocalHost())._request("stop")
        assert serve.wait() == 1
        assert "the server ended by itself" in serve.text


# Logs


@contextlib.contextmanager
def reference(directory: Path) -> Iterator[ControlClient]:
    """A server, known by its control socket."""
    place = loopback_place(directory / "state", directory / "logs")
    with Reference().start(LocalHost(), place, Wants()) as server:
        assert server.control is not None
        yield server.control


def test_a_log_is_followed_through_restarts_until_the_server_ends(tmp_path, temporary, monkeypatch):
    monkeypatch.setenv("TMPDIR", temporary)
    with (
        reference(tmp_path) as server,
        program("logs", "relay", "-f") as logs,
        program("logs", "mail", "-f", "-n", "1") as other,
    ):
        logs.wait_for("iroh_relay is ready, process ")
        other.wait_for("mail is ready, process ")
        pid = server.restart("iroh_relay")
        logs.wait_for("iroh_relay ended with exit code 0, as asked\n")
        logs.wait_for(f"iroh_relay is ready, process {pid}\n")
        server._request("stop")
        assert logs.wait() == other.wait() == 0
        assert logs.text.endswith("iroh_relay ended with exit code 0, as asked\n")
        assert "iroh_relay" not in other.text


def test_without_follow_it_shows_the_last_lines(tmp_path):
    with reference(tmp_path) as server:
        for _ in range(3):
            server.restart("iroh_relay")
        with program("logs", "relay", "-n", "2", "--control", str(server.path)) as logs:
            assert logs.wait() == 0
            assert [line.split()[4:6] for line in logs.text.splitlines()] == [
                ["iroh_relay", "ended"],
                ["iroh_relay", "is"],
            ]


def test_ctrl_c_ends_following(tmp_path):
    with (
        reference(tmp_path) as server,
        program("logs", "mail", "-f", "--control", str(server.path)) as logs,
    ):
        logs.wait_for("mail is ready")
        assert logs.end() == 0
        assert "Traceback" not in logs.text


def test_which_server_is_meant_has_to_be_clear(tmp_path, temporary, monkeypatch):
    monkeypatch.setenv("TMPDIR", temporary)
    with program("logs", "mail") as logs:
        assert logs.wait() == 2
        assert "no server runs here" in logs.text
    left = Path(temporary) / "dc-server-killed"
    left.mkdir()
    (left / "control.sock").touch()
    with reference(tmp_path / "1") as one:
        with program("logs", "mail") as logs:
            assert logs.wait() == 0, "what a killed server left behind is no server"
        with (
            reference(tmp_path / "2") as two,
            program("logs", "mail") as logs,
        ):
            assert logs.wait() == 2
            assert all(str(server.path) in logs.text for server in (one, two))


# Sentences


@pytest.mark.parametrize(
    ("service", "kind", "fields", "sentence"),
    [
        ("mail", "login", {"user": "a@b", "protocol": "smtp"}, "mail   a@b logged in (smtp)"),
        ("mail", "login_refused", {"protocol": "imap"}, "mail   a log-in was refused (imap)"),
        (
            "mail",
            "metadata_read",
            {"user": "a@b", "keys": ["/shared/comment", "/shared/vendor/deltachat/turn"]},
            "mail   a@b reads METADATA: comment, turn",
        ),
        (
            "mail",
            "message_accepted",
            {"sender": "a@b", "recipients": ["c@d", "e@f"], "size": 7},
            "mail   a@b sends 7 bytes to c@d, e@f",
        ),
        (
            "mail",
            "message_refused",
            {"sender": "a@b", "code": 523},
            "mail   a mail of a@b was refused with 523",
        ),
        (
            "iroh_relay",
            "login_refused",
            {"remote": "1.2.3.4:5", "reason": "bad signature"},
            "relay  a log-in from 1.2.3.4:5 was refused: bad signature",
        ),
        ("mail", "login", {"user": "\x1b[2J"}, "mail   login: user \ufffd[2J"),
        ("turn", "allocation", {"port": 1}, "turn   allocation: port 1"),
        ("mail", "started", {}, "mail   started"),
    ],
)
def test_events_are_sentences(service, kind, fields, sentence):
    line = event_line(service, Event(time.time(), kind, fields))
    assert re.fullmatch(r"\d\d:\d\d:\d\d  (.*)", line)[1] == sentence  # type: ignore[index]
