"""`python -m reference_server --config ...`: what the files say is what runs."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import ssl
import urllib.request
from pathlib import Path

import pytest

from harness.clients.relay.client import RelayClient
from harness.clients.turn.stun import probe
from harness.hosts import LocalHost
from harness.urls import RelayUrl
from reference_server import control
from reference_server.addresses import STUN_PORT, free_ports
from reference_server.tls import issue_development_certificate

from .configured import DEADLINE, EXCERPTS, IROH, metadata, refused, running, written


def relays(url):
    with (
        RelayClient(LocalHost(), RelayUrl.parse(url)) as one,
        RelayClient(LocalHost(), RelayUrl.parse(url)) as two,
    ):
        one.ping()
        two.ping()
        one.send(two.node_id, b"hello")
        return two.receive(within=DEADLINE).payload == b"hello"


def pinged_by_https(endpoints):
    """The relay answers at the port of the web, as behind chatmail's nginx."""
    tls = ssl.create_default_context(cafile=endpoints["ca_file"])
    url = f"https://{endpoints['host']}:{endpoints['https']}/ping"
    with urllib.request.urlopen(url, context=tls, timeout=DEADLINE) as answer:
        return answer.status == 200


def udp_3478_is_free(host):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        try:
            other.bind((host, STUN_PORT))
        except OSError:
            return False
        return True


def test_the_excerpts_about_iroh_run_as_they_stand(tmp_path, host):
    """Only the address is ours: `$(public_ip)`, and what `[::]` stands for."""
    files = ["--config", EXCERPTS / "iroh.maddy.conf", "--config", EXCERPTS / "iroh-relay.toml"]
    with running(tmp_path, "--host", host, *files) as endpoints:
        assert endpoints["iroh_relay"] == f"http://{host}:3340"
        assert endpoints["dialect"] == "madmail"
        assert f'{IROH} "http://{host}:3340"' in metadata(endpoints, IROH)
        assert relays(endpoints["iroh_relay"])
        assert "stun" not in endpoints
        assert udp_3478_is_free(host)


def test_ports_certificate_and_domain_come_from_maddy_conf(tmp_path, host):
    issued = issue_development_certificate(tmp_path, [host])
    ports = free_ports(host)
    conf = written(
        tmp_path,
        "maddy.conf",
        f"$(primary_domain) = mail.example\n"
        f"$(public_ip) = {host}\n"
        f"tls file {issued.certificate_file} {issued.key_file}\n"
        f"imap tls://0.0.0.0:{ports.imaps} tcp://[::]:{ports.imap} {{\n"
        f"  iroh_relay_url http://$(public_ip):{ports.iroh_relay}\n"
        f"}}\n"
        f"submission tls://0.0.0.0:{ports.submissions} tcp://0.0.0.0:{ports.submission} {{ }}\n"
        f"chatmail tls://$(public_ip):{ports.https} {{ }}\n",
    )
    with running(tmp_path, "--config", conf) as endpoints:
        named = {name: port for name, port in vars(ports).items() if name != "smtp"}
        told = {name: endpoints[name] for name in named}
        assert told == {**named, "iroh_relay": f"http://{host}:{ports.iroh_relay}"}
        assert "smtp" not in endpoints
        assert (endpoints["host"], endpoints["domain"]) == (host, "mail.example")
        assert "ca_file" not in endpoints
        assert str(ports.iroh_relay) in metadata(endpoints, IROH, certificate=issued.ca_file)
        assert relays(endpoints["iroh_relay"])


def test_smtp_in_maddy_conf_exchanges_mail_with_other_servers(tmp_path, host):
    """... on the port that it names; the accounts of a snippet, and a word that madmail does not know, are no error."""
    ports = free_ports(host)
    conf = written(
        tmp_path,
        "maddy.conf",
        "$(primary_domain) = mail.example\n"
        "(of_smtp) {\n  limits {\n  }\n}\n"
        f"imap tls://{host}:{ports.imaps} {{\n  frobnicate yes\n}}\n"
        f"smtp tcp://{host}:{ports.smtp} {{\n  import of_smtp\n}}\n",
    )
    with running(tmp_path, "--host", host, "--ephemeral-ports", "--config", conf) as endpoints:
        assert (endpoints["smtp"], endpoints["imaps"]) == (ports.smtp, ports.imaps)
        with smtplib.SMTP(host, ports.smtp, timeout=DEADLINE) as stranger:
            stranger.ehlo("other.example")
            assert stranger.mail("someone@other.example")[0] == 250
            assert stranger.rcpt("nobody12@mail.example")[0] == 550
            assert stranger.rcpt("alice@third.example")[0] == 554
    log = (tmp_path / "stderr").read_text()
    assert f"{conf}:7: warning: 'frobnicate' is unknown in imap, and passed over" in log


def test_a_relay_file_alone_is_advertised_as_it_listens(tmp_path, host):
    port = free_ports(host).iroh_relay
    toml = written(tmp_path, "relay.toml", f'http_bind_addr = "{host}:{port}"\nenable_metrics = false\n')
    with running(tmp_path, "--host", host, "--ephemeral-ports", "--config", toml) as endpoints:
        assert endpoints["iroh_relay"] == f"http://{host}:{port}"
        assert endpoints["dialect"] == "chatmail"
        assert f"http://{host}:{port}" in metadata(endpoints, IROH)
        assert probe(LocalHost(), host)[0] == "127.0.0.1"
        assert pinged_by_https(endpoints)
    assert toml.read_text().startswith("http_bind_addr"), "the operator's file is not written to"


def test_a_relay_that_is_switched_off_is_not_advertised(tmp_path):
    toml = written(tmp_path, "relay.toml", "enable_relay = false\nenable_metrics = false\n")
    with running(tmp_path, "--ephemeral-ports", "--config", toml) as endpoints:
        assert "iroh_relay" not in endpoints
        assert "irohrelay" not in metadata(endpoints, IROH)


NO_STUN = "enable_stun = false\nenable_metrics = false\n"


def test_without_stun_a_turn_service_that_was_there_first_keeps_its_port(tmp_path, host):
    """IROH-7: the relay leaves UDP 3478 alone, and so does the server around it."""
    port = free_ports(host).iroh_relay
    toml = written(tmp_path, "relay.toml", f'http_bind_addr = "[::]:{port}"\n{NO_STUN}')
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as turn:
        turn.bind((host, STUN_PORT))
        with running(tmp_path, "--host", host, "--ephemeral-ports", "--config", toml) as endpoints:
            assert relays(endpoints["iroh_relay"])


def test_without_stun_a_turn_service_may_come_later(tmp_path):
    toml = written(tmp_path, "relay.toml", f'http_bind_addr = "[::]:{3340}"\n{NO_STUN}')
    with running(tmp_path, "--ephemeral-ports", "--config", toml) as endpoints:
        assert endpoints["host"] != "127.0.0.1"
        assert udp_3478_is_free(endpoints["host"])


def test_with_stun_the_port_is_the_lock(tmp_path, host):
    toml = written(tmp_path, "relay.toml", 'http_bind_addr = "[::]:3340"\nenable_metrics = false\n')
    with running(tmp_path, "--host", host, "--ephemeral-ports", "--config", toml):
        assert not udp_3478_is_free(host)
        assert f"UDP port 3478 of {host} is in use" in refused(tmp_path, "--host", host, "--config", toml)


def test_stun_on_another_port_leaves_3478_alone(tmp_path, host):
    toml = written(
        tmp_path,
        "relay.toml",
        'http_bind_addr = "[::]:3340"\nstun_bind_addr = "[::]:3479"\nenable_metrics = false\n',
    )
    with running(tmp_path, "--host", host, "--ephemeral-ports", "--config", toml) as endpoints:
        assert endpoints["stun"] == 3479
        assert udp_3478_is_free(host)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("maddy.conf", "imap }\n", ":1: error: expected"),
        ("maddy.conf", "imap tls://:70000 { }\n", ":1: error: tls://:70000: a port is a number up to 65535"),
        ("maddy.conf", "tls file gone.pem gone.key\n", ":1: error: there is no file gone.pem"),
        ("relay.toml", "\nenable_stun = 1\n", ":2: error: enable_stun: expected true or false"),
        ("relay.toml", 'http_bind_addr = "127.0.0.1:0"\nenable_stun = false', "cannot be advertised"),
        ("maddy.conf", "$(public_ip) = mail.example.org\n", "mail.example.org is not an IP address"),
        ("maddy.conf", "$(public_ip) = 8.8.8.8\n", "--public"),
    ],
)
def test_files_that_cannot_work_end_the_start(tmp_path, name, text, words):
    assert words in refused(tmp_path, "--config", written(tmp_path, name, text))


def test_a_file_that_is_not_there_ends_the_start(tmp_path):
    assert "nowhere.conf" in refused(tmp_path, "--config", "nowhere.conf")


def test_metrics_listen_on_the_server_s_address_too(tmp_path, host):
    ports = free_ports(host)
    toml = written(
        tmp_path,
        "relay.toml",
        f'http_bind_addr = "[::]:{ports.iroh_relay}"\n'
        f'metrics_bind_addr = "0.0.0.0:{ports.https}"\n'
        "enable_stun = false\n",
    )
    with running(tmp_path, "--host", host, "--ephemeral-ports", "--config", toml):
        answer = urllib.request.urlopen(f"http://{host}:{ports.https}/metrics", timeout=DEADLINE)
        assert b"relayserver" in answer.read()


def test_the_relay_s_log_tells_of_its_starts(tmp_path):
    with running(tmp_path, "--ephemeral-ports") as endpoints:
        pids = asyncio.run(control.request(Path(endpoints["control"]), "services"))
    for name, pid in pids.items():
        log = (tmp_path / "state" / "logs" / f"{name}.log").read_text()
        assert f"{name} is ready, process {pid}\n" in log
        assert f"{name} ended with exit code 0, as asked\n" in log
