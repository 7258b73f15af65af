"""iroh-relay.toml in all its forms: `check-config` and the real iroh-relay 0.35 give the same verdict.

The verdicts stand here, so that they are tested without the program; with `IROH_RELAY_BIN` it is asked as well.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from harness.hosts import LocalHost, end_process
from harness.servers.process import accepts, free_port
from reference_server.config.check_config import main
from reference_server.tls import issue_development_certificate
from tests.reference_server.iroh_relay.support import Node

DEADLINE = 20.0
BASE = 'http_bind_addr = "127.0.0.1:{port}"\nenable_stun = false\nenable_metrics = false\n'
FILES = ("c.pem", "k.pem", "ca.pem")
NODE = Node(1).key.hex()
TLS = '[tls]\ncert_mode = "{mode}"\n'
PAIR = """\
[tls]
https_bind_addr = "127.0.0.1:0"
quic_bind_addr = "127.0.0.1:0"
cert_mode = "Manual"
manual_cert_path = "DIR/{certificate}"
manual_key_path = "DIR/{key}"
{more}"""
TAKEN = {
    "the smallest": BASE,
    "every switch": BASE + "enable_relay = true\nenable_quic_addr_discovery = false\n",
    "no relay at all but its page": BASE.replace("enable_stun", "enable_relay = true\nenable_stun"),
    "access for everyone": BASE + 'access = "everyone"\n',
    "an empty list": BASE + "access.allowlist = []\n",
    "a list in a table": BASE + f'[access]\ndenylist = ["{NODE}"]\n',
    "a list of one": BASE + f'access.allowlist = ["{NODE}"]\n',
    "an access service": BASE + 'access.http.url = "http://127.0.0.1:1/check"\n',
    "an access service with a token": BASE
    + 'access.http = {{ url = "http://127.0.0.1:1/", bearer_token = "x" }}\n',
    "limits": BASE + "[limits]\naccept_conn_limit = 10.0\naccept_conn_burst = 5\n",
    "a rate for clients": BASE + "[limits.client.rx]\nbytes_per_second = 400000\nmax_burst_bytes = 4000000\n",
    "a rate without a burst": BASE + "limits.client.rx = {{ bytes_per_second = 1 }}\n",
    "STUN somewhere else": BASE.replace("enable_stun = false", 'stun_bind_addr = "127.0.0.1:0"'),
    "metrics somewhere else": BASE.replace("enable_metrics = false", 'metrics_bind_addr = "127.0.0.1:0"'),
    "a byte order of lines from Windows": BASE.replace("\n", "\r\n"),
    "a whole number for a limit": BASE + "[limits]\naccept_conn_limit = 10\n",
    "the same node twice": BASE + f'access.allowlist = ["{NODE}", "{NODE}"]\n',
    "a dotted table twice": BASE + "limits.accept_conn_limit = 1.5\nlimits.accept_conn_burst = 2\n",
    "a number with underscores": BASE + "limits.client.rx.bytes_per_second = 1_000\n",
    "hexadecimal": BASE + "limits.client.rx.bytes_per_second = 0xff\n",
    "an unknown key": BASE + "enable_rely = true\n",
    "an unknown table": BASE + "[mainline]\nenabled = true\n",
    "an unknown key of the limits": BASE + "[limits]\naccept_limit = 1\n",
    "an unknown key of a limit": BASE + "limits.client.rx = {{ bytes_per_second = 1, burst = 2 }}\n",
    "an unknown key of the access service": BASE
    + 'access.http = {{ url = "http://127.0.0.1:1/", mode = "x" }}\n',
    "a URL of a file": BASE + 'access.http.url = "file:///etc/passwd"\n',
    "a URL in capitals with spaces": BASE + 'access.http.url = " HTTP://127.0.0.1/a b"\n',
    "access for everyone as a table": BASE + "[access.everyone]\n",
    "empty tables of limits": BASE + "[limits.client.rx]\n",
    "no limit at all": BASE + "[limits]\naccept_conn_limit = inf\naccept_conn_burst = 0\n",
    "no cache of keys": BASE + "key_cache_capacity = 0\n",
    "an address in brackets": BASE.replace("127.0.0.1", "[::1]"),
    "a port that begins with 0": BASE.replace(":{port}", ":0{port}"),
    "a byte order mark": "\ufeff" + BASE,
    "a burst of 64 bits": BASE + "[limits]\naccept_conn_burst = 9223372036854775807\n",
    "arrays in 79 arrays": BASE + "x = " + "[" * 79 + "]" * 79 + "\n",
    "tables in 79 tables": BASE + "x = " + "{{a=" * 79 + "1" + "}}" * 79 + "\n",
    "certificates by hand": BASE + PAIR.format(certificate="c.pem", key="k.pem", more=""),
    "an unknown key of TLS": BASE + PAIR.format(certificate="c.pem", key="k.pem", more="captive = 80\n"),
    "comments and quoted keys": "# ours\n" + BASE + '"enable_relay" = true # yes\n',
}
REFUSED = {
    "a word for a switch": BASE + 'enable_relay = "yes"\n',
    "a number for a switch": BASE + "enable_relay = 1\n",
    "a name for an address": 'http_bind_addr = "localhost:{port}"\n',
    "an address without a port": 'http_bind_addr = "127.0.0.1"\n',
    "a port that is none": 'http_bind_addr = "127.0.0.1:65536"\n',
    "a number for an address": "http_bind_addr = {port}\n",
    "an address without brackets": BASE.replace("127.0.0.1", "::1"),
    "an address with a space": BASE.replace("127.0.0.1", " 127.0.0.1"),
    "an address with an octet of 01": BASE.replace("127.0.0.1", "127.0.0.01"),
    "a port with a sign": BASE.replace(":{port}", ":+{port}"),
    "a URL with a port that is none": BASE + 'access.http.url = "http://127.0.0.1:99999/"\n',
    "a URL without a host": BASE + 'access.http.url = "http://"\n',
    "a number for a token": BASE + 'access.http = {{ url = "http://127.0.0.1/", bearer_token = 1 }}\n',
    "a word for a limit": BASE + '[limits]\naccept_conn_limit = "many"\n',
    "half a burst": BASE + "[limits]\naccept_conn_limit = 1.0\naccept_conn_burst = 1.5\n",
    "two tables of limits": BASE + "[[limits]]\n",
    "a cache of fewer than no keys": BASE + "key_cache_capacity = -1\n",
    "no TLS in a word": BASE + "tls = false\n",
    "access for nobody": BASE + 'access = "nobody"\n',
    "access in capitals": BASE + 'access = "Everyone"\n',
    "two kinds of access": BASE + "access = {{ allowlist = [], denylist = [] }}\n",
    "a list of words": BASE + 'access.allowlist = ["alice"]\n',
    "a service without a URL": BASE + 'access.http = {{ bearer_token = "x" }}\n',
    "a service with a word for a URL": BASE + 'access.http.url = "nowhere"\n',
    "a rate of nothing": BASE + "limits.client.rx.bytes_per_second = 0\n",
    "a rate that is missing": BASE + "limits.client.rx.max_burst_bytes = 5\n",
    "a negative rate": BASE + "limits.client.rx.bytes_per_second = -5\n",
    "TLS without a mode": BASE + "[tls]\n",
    "TLS of a mode that is none": BASE + TLS.format(mode="Automatic"),
    "QUIC without TLS": BASE + "enable_quic_addr_discovery = true\n",
    "a key twice": BASE + "enable_stun = true\n",
    "a list in capitals": BASE + f'access.allowlist = ["{NODE.upper()}"]\n',
    "a time for a rate": BASE + "limits.client.rx.bytes_per_second = 1e3\n",
    "a burst of nothing": BASE + "limits.client.rx = {{ bytes_per_second = 1, max_burst_bytes = 0 }}\n",
    "a rate above 32 bits": BASE + "limits.client.rx.bytes_per_second = 4294967296\n",
    "certificates by hand, not there": BASE + TLS.format(mode="Manual"),
    "an empty table of access": BASE + "[access]\n",
    "an empty access service": BASE + "access.http = {{}}\n",
    "an empty URL": BASE + 'access.http.url = ""\n',
    "a word for a list": BASE + f'access.allowlist = "{NODE}"\n',
    "an unknown key beside access": BASE + 'access = {{ allowlist = [], mode = "x" }}\n',
    "lines as on old machines": BASE.replace("\n", "\r"),
    "a number of more than 64 bits": BASE + "x = 9223372036854775808\n",
    "a number without an end": BASE + "x = 1e999\n",
    "arrays in 80 arrays": BASE + "x = " + "[" * 80 + "]" * 80 + "\n",
    "tables in 80 tables": BASE + "x = " + "{{a=" * 80 + "1" + "}}" * 80 + "\n",
    "a URL with a space in its host": BASE + 'access.http.url = "http://a b/"\n',
    "certificates the wrong way round": BASE + PAIR.format(certificate="k.pem", key="c.pem", more=""),
    "the key of another certificate": BASE + PAIR.format(certificate="ca.pem", key="k.pem", more=""),
    "no TOML": BASE + "enable_relay yes\n",
}
EVERY = [(name, text, True) for name, text in TAKEN.items()] + [
    (name, text, False) for name, text in REFUSED.items()
]
each = pytest.mark.parametrize(("text", "taken"), [row[1:] for row in EVERY], ids=[row[0] for row in EVERY])


def written(text: str, directory: Path) -> tuple[Path, int]:
    port = free_port(LocalHost(), "127.0.0.1")
    if "DIR" in text:
        issued = issue_development_certificate(directory / "tls", ["127.0.0.1"])
        for made, name in zip((issued.certificate_file, issued.key_file, issued.ca_file), FILES, strict=True):
            shutil.copy(made, directory / name)
        text = text.replace("DIR", str(directory))
    file = directory / "iroh-relay.toml"
    file.write_bytes(text.format(port=port).encode())
    return file, port


@each
def test_check_config(text, taken, tmp_path, capsys):
    file, _port = written(text, tmp_path)
    assert (main([str(file)]) == 0) == taken, capsys.readouterr().out


@pytest.mark.skipif(
    "IROH_RELAY_BIN" not in os.environ, reason="capability iroh_relay_binary: set IROH_RELAY_BIN"
)
@each
def test_the_real_one(text, taken, tmp_path):
    """It runs, or it ends by itself."""
    file, port = written(text, tmp_path)
    host = "::1" if "[::1]" in text else "127.0.0.1"
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(
            [os.environ["IROH_RELAY_BIN"], "--config-path", file], stdout=output, stderr=output
        )
    try:
        ends = time.monotonic() + DEADLINE
        while process.poll() is None and not accepts(LocalHost(), host, port):
            assert time.monotonic() < ends, "it neither listens nor ends"
            time.sleep(0.02)
        assert (process.poll() is None) == taken, (tmp_path / "output").read_text()
    finally:
        end_process(process, patience=5)
