"""maddy.conf in many forms: `check-config` gives the verdict of the real madmail 2.23, but for a few.

madmail passes over what it does not know and takes a default for what it cannot read: a mistake in spelling shows in
no log, and here in a warning. The verdicts stand here, so that they are tested without the program; with `MADMAIL_BIN`
it is asked as well, in a namespace without a way out.
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
    "nothing for the relay": imap(' iroh_relay_url ""\n'),
    "certificates for two names": GLOBALS + "tls file DIR/c.pem DIR/k.pem DIR/c.pem DIR/k.pem\n" + IMAP,
    "no log": BASE.replace("log stderr", "log off"),
}
PASSED_OVER = {
    "a bracket that is missing": BASE + "imap tcp://127.0.0.1:1143 {\n",
    "two brackets that are missing": BASE + "a {\n b {\n c d\n",
    "a quotation that does not end": BASE + 'log "stderr\n',
    "a quotation over two lines": BASE + 'debug "n\no"\n',
    "a directive that is unknown": BASE + "frobnicate yes\n",
    "a block that is unknown": BASE + "frobnicate {\n a b\n}\n",
    "a block of blocks": BASE + "a {\n" * 40 + "}\n" * 40,
    "a directive of IMAP that is unknown": imap(" frobnicate yes\n"),
    "a directive with a sign before it": BASE + "@frobnicate yes\n",
    "another kind of certificate": GLOBALS + "tls magic\n" + IMAP,
    "certificates without a key": GLOBALS + "tls {\n cert DIR/c.pem\n}\n" + IMAP,
    "certificates twice": GLOBALS + TLS + TLS + IMAP,
    "a macro that is nowhere": BASE + "hostname $(nowhere)\n",
    "a macro that is nowhere in a word": BASE + "debug n$(nowhere)\n",
    "no macro of the domain": BASE.replace("$(primary_domain) = example.org\n", ""),
    "a file that is not there": BASE + "import nowhere.conf\n",
    "an import of nothing": BASE + "import\n",
    "a snippet": BASE + "(s) {\n debug no\n}\nimport s\n",
    "a snippet for IMAP": GLOBALS + TLS + f"(s) {{\n{USES}}}\nimap tls://127.0.0.1:1993 {{\n import s\n}}\n",
    "a snippet within IMAP": imap(" (s) {\n a b\n }\n"),
    "a snippet with a word": BASE + "(s) a {\n a b\n}\n",
    "a word for the port of TURN": imap(" turn_enable yes\n turn_secret s\n turn_port many\n"),
    "two ports of TURN": imap(" turn_port 3478\n turn_port 3479\n"),
    "perhaps for a switch": imap(" turn_enable maybe\n turn_secret s\n"),
    "credentials of negative length": imap(" turn_enable yes\n turn_secret s\n turn_ttl -5\n"),
    "credentials for ages": imap(" turn_enable yes\n turn_secret s\n turn_ttl 99999999999\n"),
    "a name for the address of relays": BASE
    + "turn udp://127.0.0.1:13478 {\n secret s\n relay_ip example.org\n}\n",
    "TURN at a port of relays that it does not name": BASE
    + "turn udp://127.0.0.1:50005 {\n secret s\n relay_port_min 50000\n relay_port_max 50010\n}\n",
    "TURN without a secret": BASE + "turn udp://127.0.0.1:13478 {\n realm example.org\n}\n",
    "TURN switched on without a secret": imap(" turn_enable yes\n"),
    "TURN in one line": BASE + "turn udp://127.0.0.1:13478 { secret s }\n",
    "a word for the relay": imap(" iroh_relay_url nowhere\n"),
    "IMAP over UDP": imap(address="udp://127.0.0.1:1993"),
    "IMAP over HTTP": imap(address="http://127.0.0.1:1993"),
    "IMAP without a port": imap(address="tls://127.0.0.1"),
    "IMAP at a word for a port": imap(address="tls://127.0.0.1:imaps"),
    "IMAP at port 0": imap(address="tls://127.0.0.1:0"),
    "IMAP with a path": imap(address="tls://127.0.0.1:1993/x"),
    "IMAP at ::1 in brackets": imap(address="tls://[::1]:1993"),
    "IMAP at ::1": imap(address="tls://::1:1993"),
    "submission over UDP": BASE + "submission udp://127.0.0.1:1587 {\n}\n",
    "submission without ports": BASE + "submission tls://127.0.0.1 tcp://127.0.0.1 {\n}\n",
    "SMTP over UDP": BASE + "smtp udp://127.0.0.1:1025 {\n}\n",
    "SMTP twice": BASE + "smtp tcp://127.0.0.1:1025 {\n}\nsmtp tcp://127.0.0.1:1026 {\n}\n",
    "the web over UDP": BASE + "chatmail udp://127.0.0.1:1443 {\n}\n",
    "the web twice": BASE + "chatmail tls://127.0.0.1:1443 {\n}\nchatmail tls://127.0.0.1:1444 {\n}\n",
    "a queue without a number": BASE + "target.queue remote_queue {\n max_tries many\n}\n",
}
"""A warning here, with the line."""
REFUSED = {
    "a bracket too many": BASE + "}\n",
    "a bracket alone": BASE + "{\n}\n",
    "a word behind a bracket": BASE + "a { } b\n",
    "a macro without its sign": BASE + "$(x) y\n",
    "a macro without a value": BASE + "$(x) =\n",
    "a macro within IMAP": imap(" $(x) = 1\n"),
    "a macro for a directive": BASE + "$(a) = log\n$(a) stderr\n",
    "a macro of two words within a word": BASE + "$(a) = 1 2\nlog x$(a)\n",
    "a directive that begins with a digit": BASE + "1st x\n",
    "a directive with a slash": BASE + "a/b x\n",
    "a directive with an accent": BASE + "fóo x\n",
    "blocks without an end to it": BASE + "a {\n" * 300 + "}\n" * 300,
    "certificates that are not there": GLOBALS + "tls file DIR/none DIR/none\n" + IMAP,
    "certificates without a name of the key": GLOBALS + "tls file DIR/c.pem\n" + IMAP,
    "a port of 5000 digits": imap(address=f"tls://127.0.0.1:{'9' * 5000}"),
    "ports of relays around that of TURN": BASE
    + "turn udp://127.0.0.1:13478 {\n secret s\n relay_port_min 80\n}\n",
    "a port that is none": imap(address="tls://127.0.0.1:70000"),
    "a port of SMTP that is none": BASE + "smtp tcp://127.0.0.1:70000 {\n}\n",
    "a port of metrics that is none": BASE + "openmetrics tcp://127.0.0.1:70000 {\n}\n",
    "TURN over TCP at a name": BASE + "turn tcp://localhost:13478 {\n secret s\n}\n",
    "TURN over TCP without a port": BASE + "turn tcp://127.0.0.1 {\n secret s\n}\n",
    "TURN at a port of relays": imap(" turn_enable yes\n turn_secret s\n turn_port 50000\n"),
    "ports of relays the wrong way round": BASE
    + "turn udp://127.0.0.1:13478 {\n secret s\n relay_port_min 50100\n relay_port_max 50000\n}\n",
}
STRICTER_HERE = {
    "TURN over TLS alone": BASE + "turn tls://127.0.0.1:15349 {\n secret s\n}\n",
    "TURN at a name": BASE + "turn udp://localhost:13478 {\n secret s\n}\n",
    "TURN with two secrets": imap(" turn_enable yes\n turn_secret s\n")
    + "turn udp://127.0.0.1:13478 {\n secret t\n}\n",
    "TURN at an address that METADATA cannot carry": imap(
        " turn_enable yes\n turn_secret s\n turn_server 2001:db8::1\n"
    ),
    "certificates of IMAP that are not there": imap(" tls file DIR/none DIR/none\n"),
    "two endpoints at one port": BASE + "submission tls://127.0.0.1:1993 {\n auth &local_authdb\n}\n",
}
"""Taken by the real one, which then serves something else, or nothing, without a word (docs/configuration.md)."""
LAXER_HERE = {
    "certificates in a block as maddy has them": GLOBALS
    + "tls file DIR/c.pem DIR/k.pem {\n protocols tls1.2 tls1.3\n}\n"
    + IMAP,
    "certificates of a loader as maddy has it": GLOBALS
    + "tls {\n loader file DIR/c.pem DIR/k.pem\n}\n"
    + IMAP,
    "a mode of TLS and no certificates": GLOBALS + "tls_mode file\n" + IMAP,
    "every address as maddy writes it": imap(address="tls://:1993"),
}
"""Refused by the real one; see there."""
EVERY = [
    *((text, True) for text in (TAKEN | PASSED_OVER).values()),
    *((text, False) for text in REFUSED.values()),
]
NAMES = [*TAKEN, *PASSED_OVER, *REFUSED]


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


@pytest.mark.parametrize("text", PASSED_OVER.values(), ids=PASSED_OVER)
def test_what_is_passed_over_is_told(text, tmp_path, capsys):
    """... by a warning that the smallest file does not have."""
    counts = []
    for name, each in {"smallest": BASE, "text": text}.items():
        (tmp_path / name).mkdir()
        main([str(written(each, tmp_path / name))])
        counts.append(int(capsys.readouterr().out.rstrip().rpartition(" ")[2]))
    assert counts[1] > counts[0]


@pytest.mark.parametrize("text", STRICTER_HERE.values(), ids=STRICTER_HERE)
def test_check_config_is_stricter(text, tmp_path):
    assert main([str(written(text, tmp_path))]) == 1


@pytest.mark.parametrize("text", LAXER_HERE.values(), ids=LAXER_HERE)
def test_check_config_is_laxer(text, tmp_path):
    assert main([str(written(text, tmp_path))]) == 0


@pytest.mark.skipif(BINARY not in os.environ, reason=f"capability madmail: set {BINARY}")
@pytest.mark.parametrize(
    ("text", "taken"),
    [
        *EVERY,
        *((text, True) for text in STRICTER_HERE.values()),
        *((text, False) for text in LAXER_HERE.values()),
    ],
    ids=[*NAMES, *STRICTER_HERE, *LAXER_HERE],
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
        # It writes its log to files of the directory that it is started in, where the words of the file are names.
        process = subprocess.Popen(words, stdout=output, stderr=output, env=environment, cwd=tmp_path)
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
