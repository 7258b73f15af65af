"""maddy.conf in many forms: `check-config` gives the verdict of the real madmail 2.23, or a stricter one.

madmail passes over what it does not know and takes a default for what it cannot read: a mistake in spelling shows in
no log. The verdicts stand here, so that they are tested without the program; with `MADMAIL_BIN` it is asked as well,
in a namespace without a way out.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest

from harness.hosts import end_process
from reference_server.config.check_config import main
from reference_server.tls import issue_development_certificate

BINARY = "MADMAIL_BIN"
DEADLINE = 30.0
TLS = "tls file DIR/c.pem DIR/k.pem\n"
GLOBALS = """\
$(hostname) = example.org
$(primary_domain) = example.org
$(local_domains) = $(primary_domain)
$(public_ip) = 127.0.0.1
state_dir DIR/state
runtime_dir DIR/state/run
hostname $(hostname)
log stderr
auth.pass_table local_authdb {
    auto_create yes
    table sql_table {
        driver sqlite3
        dsn credentials.db
        table_name passwords
    }
}
storage.imapsql local_mailboxes {
    auto_create yes
    driver sqlite3
    dsn imapsql.db
}
"""
USES = " auth &local_authdb\n storage &local_mailboxes\n"
IMAP = f"imap tls://127.0.0.1:1993 {{\n{USES}}}\n"
BASE = GLOBALS + TLS + IMAP


def imap(more: str = "", address: str = "tls://127.0.0.1:1993") -> str:
    """A file in which the endpoint of IMAP has these lines and this address."""
    return f"{GLOBALS}{TLS}imap {address} {{\n{USES}{more}}}\n"


TAKEN = {
    "the smallest": BASE,
    "an empty file": "",
    "certificates that it makes by itself": GLOBALS + "tls self_signed\n" + IMAP,
    "no TLS": GLOBALS + "tls off\n" + IMAP,
    "not a word about TLS": GLOBALS + IMAP,
    "a mode of TLS": GLOBALS + "tls_mode file\n" + TLS + IMAP,
    "TLS of a client": BASE + "tls_client {\n protocols tls1.2\n}\n",
    "IMAP in two blocks": BASE + f"imap tcp://127.0.0.1:1143 {{\n{USES}}}\n",
    "IMAP at a name": imap(address="tls://localhost:1993"),
    "IMAP without an address": imap(address=""),
    "IMAP without a database of accounts": GLOBALS
    + TLS
    + "imap tls://127.0.0.1:1993 {\n storage &local_mailboxes\n}\n",
    "IMAP with one that is nowhere": BASE.replace("auth &local_authdb", "auth &nobody"),
    "SMTP": BASE + 'smtp tcp://127.0.0.1:1025 {\n reject 550 5.1.1 "nobody"\n}\n',
    "SMTP in one line": BASE + "smtp tcp://127.0.0.1:1025 { reject 550 }\n",
    "SMTP without a port": BASE + "smtp tcp://127.0.0.1 {\n reject 550\n}\n",
    "SMTP without an address": BASE + "smtp {\n reject 550\n}\n",
    "SMTP with a word that is unknown": BASE + "smtp tcp://127.0.0.1:1025 {\n frobnicate\n}\n",
    "the web": BASE
    + "chatmail tls://127.0.0.1:1443 {\n mail_domain example.org\n mx_domain example.org\n}\n",
    "lines from Windows": BASE.replace("\n", "\r\n"),
    "comments and tabulators": "# ours\n" + BASE.replace("    ", "\t"),
    "no log": BASE.replace("log stderr", "log off"),
}
REFUSED = {
    "a bracket too many": BASE + "}\n",
    "a macro without its sign": BASE + "$(x) y\n",
    "certificates that are not there": GLOBALS + "tls file DIR/none DIR/none\n" + IMAP,
    "a port that is none": imap(address="tls://127.0.0.1:70000"),
    "ports of relays the wrong way round": BASE
    + "turn udp://127.0.0.1:13478 {\n secret s\n relay_port_min 50100\n relay_port_max 50000\n}\n",
}
REFUSED_HERE = {
    "a bracket that is missing": BASE + "imap tcp://127.0.0.1:1143 {\n",
    "a quotation that does not end": BASE + 'log "stderr\n',
    "a directive that is unknown": BASE + "frobnicate yes\n",
    "a block that is unknown": BASE + "frobnicate {\n a b\n}\n",
    "a directive of IMAP that is unknown": imap(" frobnicate yes\n"),
    "another kind of certificate": GLOBALS + "tls magic\n" + IMAP,
    "a macro that is nowhere": BASE + "hostname $(nowhere)\n",
    "no macro of the domain": BASE.replace("$(primary_domain) = example.org\n", ""),
    "a file that is not there": BASE + "import nowhere.conf\n",
    "a snippet": BASE + "(s) {\n debug no\n}\nimport s\n",
    "a word for the port of TURN": imap(" turn_enable yes\n turn_secret s\n turn_port many\n"),
    "perhaps for a switch": imap(" turn_enable maybe\n turn_secret s\n"),
    "credentials of negative length": imap(" turn_enable yes\n turn_secret s\n turn_ttl -5\n"),
    "IMAP over UDP": imap(address="udp://127.0.0.1:1993"),
    "IMAP over HTTP": imap(address="http://127.0.0.1:1993"),
    "IMAP without a port": imap(address="tls://127.0.0.1"),
    "TURN without a secret": BASE + "turn udp://127.0.0.1:13478 {\n realm example.org\n}\n",
    "TURN over TLS without a certificate": BASE + "turn tls://127.0.0.1:15349 {\n secret s\n}\n",
    "two endpoints at one port": BASE + "submission tls://127.0.0.1:1993 {\n auth &local_authdb\n}\n",
}
"""Taken by the real one. A snippet is right there, and is not read here."""
EVERY = [*((text, True) for text in TAKEN.values()), *((text, False) for text in REFUSED.values())]
NAMES = [*TAKEN, *REFUSED]


def written(text: str, directory: Path) -> Path:
    (directory / "state").mkdir()
    issued = issue_development_certificate(directory / "tls", ["127.0.0.1", "example.org"])
    shutil.copy(issued.certificate_file, directory / "c.pem")
    shutil.copy(issued.key_file, directory / "k.pem")
    file = directory / "maddy.conf"
    file.write_bytes(text.replace("DIR", str(directory)).encode())
    return file


@pytest.mark.parametrize(("text", "taken"), EVERY, ids=NAMES)
def test_check_config(text, taken, tmp_path, capsys):
    assert (main([str(written(text, tmp_path))]) == 0) == taken, capsys.readouterr().out


@pytest.mark.parametrize("text", REFUSED_HERE.values(), ids=REFUSED_HERE)
def test_check_config_is_stricter(text, tmp_path):
    assert main([str(written(text, tmp_path))]) == 1


@pytest.mark.skipif(BINARY not in os.environ, reason=f"capability madmail: set {BINARY}")
@pytest.mark.parametrize(
    ("text", "taken"),
    [*EVERY, *((text, True) for text in REFUSED_HERE.values())],
    ids=[*NAMES, *REFUSED_HERE],
)
def test_the_real_one(text, taken, tmp_path):
    """It says that it is ready, or it ends by itself."""
    file = written(text, tmp_path)
    words = [
        "unshare",
        "--user",
        "--map-root-user",
        "--net",
        "sh",
        "-c",
        'ip link set lo up && exec "$@"',
        "sh",
    ]
    words += [os.environ[BINARY], "--config", str(file), "--state-dir", str(tmp_path / "state"), "run"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told, (tmp_path / "output").open("wb") as output:
        told.bind(str(tmp_path / "notify"))
        told.settimeout(0.1)
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        process = subprocess.Popen(words, stdout=output, stderr=output, env=environment)
        try:
            ends, ready = time.monotonic() + DEADLINE, False
            while process.poll() is None and not ready:
                assert time.monotonic() < ends, "it is not ready, and does not end"
                try:
                    ready = b"READY=1" in told.recv(1024)
                except TimeoutError:
                    continue
            assert ready == taken, (tmp_path / "output").read_text(errors="replace")
        finally:
            end_process(process, patience=5)
