"""Servers of users, described by a TOML file and really run."""

from __future__ import annotations

import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import pytest

from harness.clients.mail.imap import ImapClient
from harness.hosts import LocalHost
from harness.network.lab import Lab
from harness.network.namespace import program
from harness.servers.file import FileServer
from harness.servers.probes import answers_http
from harness.servers.registry import server_of
from harness.servers.server import (
    Place,
    Ports,
    RunningServer,
    ServerError,
    TurnLifetimes,
    Unsupported,
    Wants,
)
from harness.target import Service
from harness.urls import RelayUrl

from .live import SECRET, loopback, outcomes, own_processes, turn_works

TURN_TOML = """
services = ["turn"]
command = ["./start.sh", "{{state}}/turnserver.conf"]
version = ["turnserver", "--version"]
[ports]
turn = ["udp", "tcp"]
turns = ["tcp"]
[files]
"turnserver.conf" = '''
listening-ip={{address}}
relay-ip={{address}}
listening-port={{ports.turn}}
tls-listening-port={{ports.turns}}
realm={{host}}
use-auth-secret
static-auth-secret={{turn_secret}}
cert={{certificate}}
pkey={{key}}
allow-loopback-peers
no-cli
max-allocate-lifetime={{turn_lifetimes.allocation}}
permission-lifetime={{turn_lifetimes.permission}}
channel-lifetime={{turn_lifetimes.channel}}
userdb={{state}}/turndb
pidfile={{state}}/pid
log-file=stdout
'''
[wants]
turn_lifetimes = { allocation = 600, permission = 300, channel = 600 }
"""
START = "#!/bin/sh\nPATH=$PATH:/usr/sbin\nexec turnserver -c $1\n"
WHOLE_TOML = """
services = ["mail", "turn", "iroh_relay"]
command = [
    "PYTHON", "-m", "reference_server", "--host", "{{address}}", "PUBLIC",
    "--config", "{{state}}/maddy.conf", "--config", "{{state}}/iroh-relay.toml", "--dialect", "madmail",
]
capabilities = ["relay_v1"]
[ports]
imaps = ["tcp"]
imap = ["tcp"]
submissions = ["tcp"]
submission = ["tcp"]
https = ["tcp"]
turn = ["udp", "tcp"]
iroh_relay = ["tcp"]
[files]
"maddy.conf" = '''
$(hostname) = {{host}}
$(primary_domain) = {{domain}}
tls file {{certificate}} {{key}}
submission tls://{{address}}:{{ports.submissions}} tcp://{{address}}:{{ports.submission}} { }
imap tls://{{address}}:{{ports.imaps}} tcp://{{address}}:{{ports.imap}} {
    turn_enable yes
    turn_server {{advertised_turn.host}}
    turn_port {{advertised_turn.port}}
    turn_secret {{turn_secret}}
    turn_ttl {{turn_ttl}}
    iroh_relay_url {{advertised_relay}}
}
turn udp://{{address}}:{{ports.turn}} tcp://{{address}}:{{ports.turn}} {
    realm {{host}}
    secret {{turn_secret}}
}
chatmail tls://{{address}}:{{ports.https}} { }
'''
"iroh-relay.toml" = '''
http_bind_addr = "{{address}}:{{ports.iroh_relay}}"
enable_stun = false
'''
[wants]
turn_ttl = 86400
[ready]
line = '"ready": ?true'
[mail]
dialect = "madmail"
domain = "chatmail.test"
"""
SERVICE = """
#!{python}
import os, signal, socket, sys
sys.stdout.reconfigure(line_buffering=True)
{body}
signal.pause()
"""


@pytest.fixture
def turn_toml(tmp_path: Path) -> Path:
    program("turnserver")
    script = tmp_path / "start.sh"
    script.write_text(START)
    script.chmod(0o755)
    file = tmp_path / "myturn.toml"
    file.write_text(TURN_TOML)
    return file


@pytest.fixture
def relay_toml(tmp_path):
    """Makes a server in Python that somebody might write: `iroh_relay` at a port, and some more keys."""

    def make(body: str, keys: str = "") -> FileServer:
        script = tmp_path / "relay.py"
        script.write_text(SERVICE.format(python=sys.executable, body=textwrap.dedent(body)).lstrip())
        script.chmod(0o755)
        file = tmp_path / "myrelay.toml"
        file.write_text(
            'services = ["iroh_relay"]\ncommand = ["./relay.py", "{{address}}", "{{ports.iroh_relay}}"]\n'
            f'[ports]\niroh_relay = ["tcp"]\n{textwrap.dedent(keys)}'
        )
        return FileServer(file)

    return make


def impatient(directory: Path, within: float = 1.5) -> Place:
    return replace(loopback(directory), within=within)


LISTENS = "listener = socket.create_server((sys.argv[1], int(sys.argv[2])))"


def test_a_service_in_two_files(turn_toml, tmp_path):
    server, host = FileServer(turn_toml), LocalHost()
    assert server.translates == {"turn_secret", "turn_lifetimes", "no_logs"}
    with server.start(host, loopback(tmp_path), Wants(turn_secret=SECRET)) as running:
        assert running.capabilities == {"turn", "turns"}
        for url in running.turn:
            turn_works(host, url, running)
        assert running.versions["myturn"].startswith("myturn ")
        turn = running.program(Service.TURN)
        turn.restart()
        turn.restart(kill=True)
        turn_works(host, running.turn[0], running)
        config = tmp_path / "state" / "myturn" / "turnserver.conf"
        assert config.stat().st_mode & 0o777 == 0o600
        assert "permission-lifetime=300" in config.read_text()
    assert not own_processes(tmp_path)


def test_wants_of_checks_reach_its_files(turn_toml, tmp_path):
    wants = Wants(turn_secret=SECRET, turn_lifetimes=TurnLifetimes(60, 4.5, 8))
    with FileServer(turn_toml).start(LocalHost(), loopback(tmp_path), wants):
        text = (tmp_path / "state" / "myturn" / "turnserver.conf").read_text()
        assert "static-auth-secret=a-secret-of-this-test" in text
        assert "permission-lifetime=4.5" in text
    with pytest.raises(Unsupported, match=r"^myturn cannot set strict_permissions$"):
        FileServer(turn_toml).start(LocalHost(), loopback(tmp_path), Wants(strict_permissions=True))


def test_in_a_lab_it_is_at_the_standard_ports(turn_toml, tmp_path):
    with Lab() as lab:
        server, device = lab.server("server"), lab.device("device")
        place = Place(server.address, tmp_path / "state", tmp_path / "logs", Ports())
        with FileServer(turn_toml).start(server, place, Wants(turn_secret=SECRET)) as running:
            assert [url.port for url in running.turn] == [3478, 3478, 5349]
            turn_works(device, running.turn[0], running)
    assert not own_processes(tmp_path)


def test_a_composition_with_it_is_checked(turn_toml, tmp_path):
    records = outcomes(
        f"reference+{turn_toml}",
        tmp_path,
        "turn.turn_is_offered",
        "turn.turn_allocates_with_offered_credentials",
    )
    assert {name: each.reason for name, each in records.items() if each.verdict != "passed"} == {}
    assert {each.target for each in records.values()} == {"reference+myturn"}


def test_the_control_another_secret_is_red(turn_toml, tmp_path):
    turn_toml.write_text(TURN_TOML.replace("={{turn_secret}}", "=another{{turn_secret}}"))
    records = outcomes(f"reference+{turn_toml}", tmp_path, "turn.turn_allocates_with_offered_credentials")
    [record] = records.values()
    assert (record.verdict, "401" in record.reason) == ("failed", True)


def test_a_secret_of_its_own_is_told_to_whoever_writes_the_credentials(turn_toml, tmp_path):
    text = TURN_TOML.replace("{{turn_secret}}", "fixed-in-the-source")
    turn_toml.write_text('turn_secret = "fixed-in-the-source"\n' + text)
    records = outcomes(f"reference+{turn_toml}", tmp_path, "turn.turn_allocates_with_offered_credentials")
    [record] = records.values()
    assert (record.verdict, record.reason) == ("passed", "")


@pytest.fixture
def whole_toml(tmp_path: Path):
    def make(*, public: bool = False) -> Path:
        text = WHOLE_TOML.replace("PYTHON", sys.executable)
        file = tmp_path / "mychat.toml"
        file.write_text(text.replace('"PUBLIC"', '"--public"' if public else '"--ledger"'))
        return file

    return make


def test_a_whole_server_is_checked(whole_toml, tmp_path):
    records = outcomes(
        str(whole_toml()),
        tmp_path,
        "discovery.metadata_offers_a_relay",
        "turn.turn_allocates_with_offered_credentials",
        "turn.turn_credentials_expire",
        "relay.relay_forwards_each_frame_once",
        "mail.unencrypted_mail_is_refused",
    )
    assert {name: each.reason for name, each in records.items() if each.verdict != "passed"} == {}


def test_a_service_that_another_program_provides_is_not_its_own(whole_toml, tmp_path):
    wants = Wants(services=frozenset({Service.MAIL, Service.IROH_RELAY}))
    with FileServer(whole_toml()).start(LocalHost(), loopback(tmp_path), wants) as running:
        assert isinstance(running, RunningServer)
        assert (running.turn, set(running.programs)) == ((), {Service.MAIL, Service.IROH_RELAY})
        assert "turn" not in running.target.capabilities


def test_what_metadata_is_to_say_reaches_its_files(relay_toml, tmp_path):
    server = relay_toml(
        LISTENS,
        """
        [files]
        told = "{{advertised_turn}} {{advertised_turns.host}} {{advertised_turns.port}} {{advertised_relay}}"
        """,
    )
    assert server.translates == {"advertised_turn", "advertised_turns", "advertised_relay", "no_logs"}
    place = loopback(tmp_path)
    told = tmp_path / "state" / "myrelay" / "told"
    with server.start(LocalHost(), place, Wants()):
        own = f"{place.address}:3478 {place.address} 5349 http://{place.address}:3340"
        assert told.read_text() == own
    wants = Wants(advertised_turn="turn.example:1", advertised_turns="[::1]:2", advertised_relay="http://a:3")
    with server.start(LocalHost(), place, wants):
        assert told.read_text() == "turn.example:1 ::1 2 http://a:3"


def test_a_whole_server_in_a_lab(whole_toml, tmp_path):
    with Lab() as lab:
        machine, device = lab.server("server"), lab.device("device")
        place = Place(machine.address, tmp_path / "state", tmp_path / "logs", Ports())
        server = FileServer(whole_toml(public=True))
        with server.start(machine, place, Wants()) as running:
            assert isinstance(running, RunningServer)
            assert running.target.imaps == 993
            with ImapClient(device, running.target) as imap:
                imap.login(running.target.new_account())
            assert str(running.target.iroh_relay) == f"http://{machine.address}:3340/"
            assert answers_http(device, RelayUrl(False, machine.address, 3340), "/ping")
    assert not own_processes(tmp_path)


def test_accounts_of_a_static_table(whole_toml, tmp_path):
    file = whole_toml()
    file.write_text(file.read_text() + 'accounts = ["staticone@{{domain}}:geheim-geheim"]\n')
    with FileServer(file).start(LocalHost(), loopback(tmp_path), Wants()) as running:
        assert isinstance(running, RunningServer)
        account = running.target.new_account()
        assert (account.address, account.password) == ("staticone@chatmail.test", "geheim-geheim")


def test_signs_of_readiness(relay_toml, tmp_path):
    server = relay_toml(
        f"""
        print("starting")
        {LISTENS}
        to = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        to.connect(os.environ["NOTIFY_SOCKET"])
        to.send(b"READY=1")
        print("listening on", sys.argv[2])
        """,
        """
        [ready]
        notify = true
        line = '^listening on \\d+$'
        """,
    )
    with server.start(LocalHost(), loopback(tmp_path), Wants()) as running:
        running.program(Service.IROH_RELAY).restart()
    assert not own_processes(tmp_path)


@pytest.mark.parametrize(
    ("body", "keys", "sentence"),
    [
        ("", "", r"did not accept connections at 127\S+ TCP port 3340 \(iroh_relay\) within \S+ s; it listens n"),
        (
            "listener = socket.create_server((sys.argv[1], 13340))",
            "",
            r"TCP port 3340 \(iroh_relay\) within \S+ s; it listens at TCP 127\S+:13340\.",
        ),
        (LISTENS, "[ready]\nline = 'serving'", "did not write a line with serving within"),
        (LISTENS, "[ready]\nnotify = true", "did not send READY=1 to NOTIFY_SOCKET within"),
        (LISTENS, '[ready]\nhttp = "http://{{host}}:{{ports.iroh_relay}}/x"', "did not answer HTTP at http://127"),
        (LISTENS, 'probe = ["udp"]\n[ready]\nstun = ["probe"]', r"did not answer STUN at \S+ UDP port \d+ \(probe\)"),
        ("sys.exit('no such key: foo')", "", r"(?s)ended with exit code 1 .*no such key: foo"),
    ],
)  # fmt: skip
def test_one_that_never_gets_ready_says_what_is_missing(body, keys, sentence, relay_toml, tmp_path):
    server = relay_toml(body, keys)
    with pytest.raises(ServerError, match=sentence):
        server.start(LocalHost(), impatient(tmp_path, 4.0), Wants())
    assert not own_processes(tmp_path)


def test_values_that_this_place_does_not_have_are_said(relay_toml, tmp_path):
    server = relay_toml(LISTENS, '[environment]\nA6 = "{{address6}}"')
    with pytest.raises(ServerError, match=r"myrelay\.toml: environment\.A6: {{address6}} has no value here$"):
        server.start(LocalHost(), loopback(tmp_path), Wants())


def test_a_ca_that_it_does_not_write_is_said(relay_toml, tmp_path):
    relay_toml(LISTENS)
    file = tmp_path / "myrelay.toml"
    file.write_text('ca_file = "own-ca.pem"\n' + file.read_text())
    with pytest.raises(ServerError, match=r"ca_file names \S+/own-ca\.pem, which myrelay has not written"):
        FileServer(file).start(LocalHost(), loopback(tmp_path), Wants())
    assert not own_processes(tmp_path)


def test_a_url_that_is_none_is_said(relay_toml, tmp_path):
    relay_toml(LISTENS)
    file = tmp_path / "myrelay.toml"
    file.write_text('iroh_relay_url = "relay.{{host}}"\n' + file.read_text())
    with pytest.raises(ServerError, match=r"myrelay\.toml: iroh_relay_url: .* is no relay URL"):
        FileServer(file).start(LocalHost(), loopback(tmp_path), Wants())
    assert not own_processes(tmp_path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\xb7\x00" + bytes(44), "is a program for 64-bit ARM, and this"),
        (b"#!/nowhere/sh\n", "the interpreter or loader that"),
        (b"garbage", "is no program for Linux"),
    ],
)  # fmt: skip
def test_a_program_for_another_machine_is_said(content, sentence, relay_toml, tmp_path):
    server = relay_toml(LISTENS)
    (tmp_path / "relay.py").write_bytes(content)
    with pytest.raises(ServerError, match=f"^myrelay does not start: .*{sentence}"):
        server.start(LocalHost(), loopback(tmp_path), Wants())
    assert not own_processes(tmp_path)


def test_a_program_of_the_system_that_is_not_installed_is_said(relay_toml, tmp_path):
    relay_toml(LISTENS)
    file = tmp_path / "myrelay.toml"
    file.write_text(file.read_text().replace("./relay.py", "no-such-relay"))
    with pytest.raises(ServerError, match=r"^myrelay does not start: there is no program no-such-relay$"):
        FileServer(file).start(LocalHost(), loopback(tmp_path), Wants())


def test_it_is_found_beside_the_file_and_by_its_name_in_a_composition(relay_toml, tmp_path, monkeypatch):
    relay_toml(LISTENS)
    monkeypatch.chdir(tmp_path)
    assert server_of("reference+./myrelay.toml").name == "reference+myrelay"
    assert server_of("reference+myrelay.toml").name == "reference+myrelay"
    with pytest.raises(ValueError, match=r"^other\.toml cannot be read: No such file or directory$"):
        server_of("reference+other.toml+coturn")
    with pytest.raises(ValueError, match="both coturn and myturn would provide TURN: name one"):
        (tmp_path / "myturn.toml").write_text(TURN_TOML.replace("./start.sh", "turnserver"))
        server_of("reference+coturn+myturn.toml")
