"""TURN as maddy.conf says it: what listens, and what METADATA tells of it."""

from __future__ import annotations

import base64
import hmac
import re
import socket
import ssl
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from harness.clients.turn.client import TurnClient, TurnCredentials
from harness.clients.turn.stun import probe
from harness.hosts import LocalHost
from harness.urls import TurnUrl
from reference_server.addresses import STUN_PORT, free_ports
from reference_server.tls import issue_development_certificate

from .configured import EXCERPTS, IROH, metadata, refused, running, written

TURN = "/shared/vendor/deltachat/turn"
TURNS = "/shared/vendor/deltachat/turns"


def advertised(endpoints):
    """What METADATA says about TURN: from key to (host, port, username, password)."""
    values = re.findall(r'(turns?) "([^"]+)"', metadata(endpoints, IROH, TURN, TURNS))
    return {key: value.split(":", 3) for key, value in values}


def relayed_host(value, transport, ca_file=None):
    """Where these credentials get an allocation."""
    host, port, username, password = value
    url = TurnUrl(transport, host, int(port))
    tls = ssl.create_default_context(cafile=ca_file) if ca_file else None
    with TurnClient(LocalHost(), url, TurnCredentials(username, password), tls=tls) as client:
        return client.allocate().relayed[0]


def password(secret, username):
    return base64.b64encode(hmac.digest(secret.encode(), username.encode(), "sha1")).decode()


def conf(host, turn, *, offer="turn_enable yes", secret="north"):
    return (
        f"imap {{\n {offer}\n turn_server {host}\n turn_secret {secret}\n}}\n"
        f"turn {turn} {{\n realm example.org\n secret {secret}\n}}\n"
    )


def test_the_documents_excerpts_run_with_paths_host_and_ports_in_place(tmp_path, host):
    """The secret is not ASCII: its UTF-8 bytes are the key, in a file that nobody else can read."""
    issued = issue_development_certificate(tmp_path, [host])
    tls_port = free_ports(host).https
    text = (
        (EXCERPTS / "turn.maddy.conf")
        .read_text()
        .replace("/path/to/cert.pem", str(issued.certificate_file))
        .replace("/path/to/key.pem", str(issued.key_file))
        .replace("turn.example.com", host)
        .replace("turn_port 443", f"turn_port {tls_port}")
        .replace("relay_ip 1.2.3.4", f"relay_ip {host}")
        .replace("endpoint.turn turn {", f"endpoint.turn turn udp://0.0.0.0:3478 tls://{host}:{tls_port} {{")
    )
    files = [
        "--config", written(tmp_path, "maddy.conf", text),
        "--config", written(tmp_path, "iroh-relay.toml", (EXCERPTS / "iroh-relay.toml").read_text()),
    ]  # fmt: skip
    with running(tmp_path, "--host", host, "--ephemeral-ports", *files) as endpoints:
        assert endpoints["turn"] == [f"udp://{host}:3478", f"tls://{host}:{tls_port}"]
        assert (endpoints["turn_realm"], endpoints["stun"]) == ("example.com", STUN_PORT)
        told = advertised(endpoints)
        assert told["turn"][:2] == [host, "3478"]
        assert told["turns"][:2] == [host, str(tls_port)]
        assert told["turn"][3] == password("راز-مشترک-شما", told["turn"][2])
        assert relayed_host(told["turn"], "udp") == host
        assert relayed_host(told["turns"], "tls", issued.ca_file) == host
        [secret_file] = Path(endpoints["control"]).parent.glob("turn-secret")
        assert secret_file.stat().st_mode & 0o777 == 0o600
        assert not [line for line in command_lines() if "راز" in line]
    logs = [*tmp_path.glob("state/logs/*"), tmp_path / "stderr"]
    assert len(logs) == 4
    assert "راز" not in "".join(log.read_text() for log in logs)
    assert "turn" not in (tmp_path / "stderr").read_text()  # no warning is left


def command_lines():
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield file.read_bytes().decode(errors="replace")
        except OSError:
            continue  # it has ended


def test_without_addresses_it_is_udp_and_tcp_3478(tmp_path, host):
    file = written(tmp_path, "maddy.conf", conf(host, "", offer="turn_enable yes\n turn_ttl 500"))
    with running(tmp_path, "--host", host, "--ephemeral-ports", "--config", file) as endpoints:
        assert endpoints["turn"] == [f"udp://{host}:3478", f"tcp://{host}:3478"]
        told = advertised(endpoints)
        assert list(told) == ["turn"]
        assert 400 < int(told["turn"][2]) - time.time() <= 500
        assert [relayed_host(told["turn"], each) for each in ("udp", "tcp")] == [host, host]


def test_turn_on_another_port_leaves_stun_to_the_relay(tmp_path, host):
    port = free_ports(host).https
    file = written(
        tmp_path,
        "maddy.conf",
        conf(host, f"udp://{host}:{port}", offer=f"turn_enable yes\n turn_port {port}"),
    )
    arguments = ["--host", host, "--ephemeral-ports", "--turn-ttl", "300", "--config", file]
    with running(tmp_path, *arguments) as endpoints:
        told = advertised(endpoints)
        assert told["turn"][:2] == [host, str(port)]
        assert 200 < int(told["turn"][2]) - time.time() <= 300  # the file leaves it to the command line
        assert relayed_host(told["turn"], "udp") == host
        assert probe(LocalHost(), host)[0] == "127.0.0.1"
        assert endpoints["stun"] == STUN_PORT


def test_turn_and_the_relay_on_one_port_end_the_start(tmp_path, host):
    relay = written(tmp_path, "relay.toml", "enable_stun = true\nenable_metrics = false\n")
    files = ["--config", written(tmp_path, "maddy.conf", conf(host, "")), "--config", relay]
    assert "the relay (enable_stun) takes UDP port 3478" in refused(tmp_path, "--host", host, *files)


def test_turn_that_is_not_enabled_is_served_and_not_advertised(tmp_path, host):
    imap, turn = conf(host, "", offer="turn_enable no").split("turn  {")
    file = written(tmp_path, "maddy.conf", f"turn {{{turn}{imap}")
    with running(tmp_path, "--host", host, "--ephemeral-ports", "--config", file) as endpoints:
        assert advertised(endpoints) == {}
        expiry = str(int(time.time()) + 60)
        assert relayed_host((host, "3478", expiry, password("north", expiry)), "udp") == host
    assert "turn is served and not advertised" in (tmp_path / "stderr").read_text()


def test_a_turn_server_of_somebody_else_is_advertised(tmp_path, host):
    text = conf("turn.example.org", "").partition("turn  {")[0]
    file = written(tmp_path, "maddy.conf", text)
    with running(tmp_path, "--host", host, "--ephemeral-ports", "--config", file) as endpoints:
        assert "turn" not in endpoints
        told = advertised(endpoints)
        assert list(told) == ["turn"]
        assert told["turn"][:2] == ["turn.example.org", "3478"]
        assert told["turn"][3] == password("north", told["turn"][2])


def test_no_turn_leaves_out_what_the_file_says(tmp_path, host):
    file = written(tmp_path, "maddy.conf", conf(host, ""))
    with running(tmp_path, "--host", host, "--ephemeral-ports", "--no-turn", "--config", file) as endpoints:
        assert "turn" not in endpoints
        assert advertised(endpoints) == {}
        assert probe(LocalHost(), host)[0] == "127.0.0.1"


@pytest.mark.parametrize(
    "arguments", [["--ephemeral-ports"], ["--ephemeral-ports", "--domain", "mail.example"]]
)
def test_without_files_both_keys_are_there(tmp_path, arguments):
    with running(tmp_path, *arguments, "--dialect", "madmail") as endpoints:
        told = advertised(endpoints)
        assert [(key, value[1]) for key, value in told.items()] == [("turn", "3478"), ("turns", "5349")]
        assert relayed_host(told["turn"], "udp") == endpoints["host"]
        assert relayed_host(told["turns"], "tls", endpoints["ca_file"]) == endpoints["host"]


def test_the_command_line_says_where_clients_find_what_was_moved(tmp_path, host):
    arguments = ["--advertise-relay", "http://relay.example:443", "--advertise-turn", "turn.example:3478"]
    arguments += ["--advertise-turns", "turn.example:443"]
    with running(tmp_path, "--host", host, *arguments) as endpoints:
        said = metadata(endpoints, IROH, TURN, TURNS)
        address = (endpoints["host"], urlsplit(endpoints["turn"][-1]).port)
        context = ssl.create_default_context(cafile=endpoints["ca_file"])
        with (
            socket.create_connection(address, 10) as plain,
            context.wrap_socket(plain, server_hostname="turn.example") as secured,
        ):
            assert secured.version()  # the certificate is also for the host that clients are sent to
    assert "http://relay.example:443" in said
    assert "turn.example:3478:" in said
    assert "turn.example:443:" in said
