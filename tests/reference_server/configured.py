"""A server that is started with configuration files, and what it says."""

from __future__ import annotations

import contextlib
import imaplib
import json
import signal
import ssl
import subprocess
from pathlib import Path

from tests.quick_starts import quick_command

EXCERPTS = Path(__file__).parents[1] / "fixtures" / "config"
IROH = "/shared/vendor/deltachat/irohrelay"
DEADLINE = 60


def command(tmp_path, *arguments):
    return quick_command(
        "reference_server.__main__", "--state", str(tmp_path / "state"), *map(str, arguments)
    )


@contextlib.contextmanager
def running(tmp_path, *arguments):
    """Endpoints of a started server, and its log after the block."""
    with (tmp_path / "stderr").open("wb") as stderr:
        process = subprocess.Popen(command(tmp_path, *arguments), stdout=subprocess.PIPE, stderr=stderr)
    with process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, (tmp_path / "stderr").read_text()
            yield json.loads(line)["endpoints"]
            process.send_signal(signal.SIGTERM)
            assert process.wait(DEADLINE) == 0
        finally:
            process.kill()


def refused(tmp_path, *arguments):
    """What a server says that does not start."""
    ended = subprocess.run(
        command(tmp_path, *arguments), capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "Traceback" not in ended.stderr
    return ended.stderr


def metadata(endpoints, *keys, certificate=None):
    """What the mail service tells a user: the whole untagged answer."""
    tls = ssl.create_default_context(cafile=certificate or endpoints["ca_file"])
    with imaplib.IMAP4_SSL(
        endpoints["host"], endpoints["imaps"], ssl_context=tls, timeout=DEADLINE
    ) as client:
        client.login(f"alice1234@{endpoints['domain']}", "a long password")
        client.xatom("GETMETADATA", '""', f"({' '.join(keys)})")
        return str(client.untagged_responses.get("METADATA"))


def written(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    return path
