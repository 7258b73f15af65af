"""Real Delta Chat cores against the embedded server, through the API that checks use."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.accounts import Credentials
from harness.clients.core.core import Core, CoreError, befriend
from harness.clients.device import Device, devices_online
from harness.clients.mail.imap import ImapClient, ImapRefused
from harness.clients.mail.messages import encrypted_message
from harness.clients.mail.smtp import SmtpClient
from harness.clients.relay.client import RelayClient
from harness.clients.relay.iroh_node import IrohNode, require_nodes
from harness.clients.sockets import tcp_connections
from harness.clients.turn.stun import probe
from harness.hosts import LocalHost, MissingCapability
from harness.realtime.swarm import join
from harness.servers.reference import Reference
from harness.servers.server import RunningServer, Wants
from harness.stage.session import loopback_place
from harness.target import Service, Target
from harness.urls import RelayUrl
from harness.waiting import wait_until

IROH = "/shared/vendor/deltachat/irohrelay"
HOST = LocalHost()


def start(directory: Path) -> RunningServer:
    """A whole reference server, with its state in `directory / "state"`."""
    state = directory / "state"
    state.mkdir()
    return Reference().start(HOST, loopback_place(state, directory / "logs"), Wants())


def relay_of(server: RunningServer) -> RelayUrl:
    assert server.iroh_relay is not None
    return server.iroh_relay


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with start(tmp_path_factory.mktemp("server")) as server:
        # Without a relay of its own, the cores below would contact public ones.
        with ImapClient(HOST, server.target) as imap:
            imap.login(server.target.new_account())
            [value] = imap.get_metadata(IROH).values()
        assert RelayUrl.parse(str(value.value)).host == server.target.host
        yield server


@pytest.fixture
def target(server: RunningServer) -> Target:
    return server.target


@pytest.fixture(scope="module")
def friends(
    server: RunningServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Device, Device]]:
    logs = tmp_path_factory.mktemp("devices")
    with devices_online(("alice", "bob"), server.target, logs) as (alice, bob):
        befriend(alice.account, bob.account)
        yield alice, bob


def test_text_goes_both_ways(friends):
    alice, bob = (device.account for device in friends)
    alice.wait_until_sent(alice.send_text(bob, "hello bob"))
    assert bob.wait_for_message("hello bob").sender == alice.address
    bob.send_text(alice, "hello alice")
    assert alice.wait_for_message("hello alice").sender == bob.address


def test_a_file_arrives_as_it_was(friends, tmp_path):
    alice, bob = (device.account for device in friends)
    file = tmp_path / "random.bin"
    file.write_bytes(os.urandom(200_000))
    alice.send_file(bob, file, text="a file")
    received = bob.wait_for_message("a file")
    assert received.file is not None
    assert received.file.read_bytes() == file.read_bytes()


def test_realtime_with_every_witness(friends, server):
    alice, bob = friends
    swarm = join(alice, bob)
    table = swarm.exchange(20)
    assert table.all_right, table
    relay = server.ledger(Service.IROH_RELAY)
    ids = {device.name: swarm.node_id(device) for device in friends}
    assert relay.pair(ids["alice"], ids["bob"]).frames > 0
    assert relay.pair(ids["bob"], ids["alice"]).frames > 0
    for device in friends:
        # The kernel's list of sockets, iroh's trace and the relay's ledger agree on who has which connection.
        [local] = [
            each.local
            for each in tcp_connections(device.core.pid)
            if (seen := relay.connection_from(each.local)) and seen.identity == ids[device.name]
        ]
        assert local in device.core.iroh_trace().relay_sockets
        assert device.foreign_hosts(server.target) == frozenset()


def test_nodes_of_both_generations_use_the_relay_at_the_same_time(friends, server, tmp_path):
    try:
        require_nodes(HOST)
    except MissingCapability as missing:
        pytest.skip(str(missing))
    url = relay_of(server)
    swarm = join(*friends)
    with (
        IrohNode(HOST, url, tmp_path / "first.log") as first,
        IrohNode(HOST, url, tmp_path / "second.log") as second,
        ThreadPoolExecutor() as pool,
    ):
        exchange = pool.submit(first.exchange, second.node_id, messages=20, size=20_000, within=60.0)
        table = swarm.exchange(20)
        assert exchange.result().echoed == 20
        assert table.all_right, table
        relay = server.ledger(Service.IROH_RELAY)
        nodes = {first.node_id: "iroh-relay-v2", second.node_id: "iroh-relay-v2"}
        cores = {swarm.node_id(device): "0.35" for device in friends}
        for node_id, protocol in (nodes | cores).items():
            assert any(each.closed is None for each in relay.connections_of(node_id))
            assert relay.events_of("login", node_id=node_id, protocol=protocol)


def test_strangers_have_no_chat(friends, target, tmp_path):
    alice, _bob = friends
    with Core(tmp_path) as core, pytest.raises(CoreError, match="not befriended with"):
        core.new_account(target).send_text(alice.account, "hello")


def test_no_password_is_in_any_log(target, tmp_path):
    credentials = target.new_account()
    with Core(tmp_path) as core:
        core.new_account(target, credentials).bring_online()
        with pytest.raises(CoreError, match="AUTHENTICATIONFAILED"):
            core.new_account(target, Credentials(credentials.address, "another password"))
    for path in core.log_files:
        assert credentials.password not in path.read_text()


def test_devices_end_together_when_one_does_not_start(target, tmp_path, monkeypatch):
    pids = []
    start = Device.start

    def start_one(name: str, *args, **kwargs):
        if name == "bob":
            raise CoreError("no bob")
        device = start(name, *args, **kwargs)
        pids.append(device.core.pid)
        return device

    monkeypatch.setattr(Device, "start", start_one)
    with pytest.raises(CoreError, match="no bob"), devices_online(("alice", "bob"), target, tmp_path):
        pass
    [pid] = pids
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_idle_wakes_for_a_mail_and_the_mail_is_there(target):
    alice, bob = target.new_account(), target.new_account()
    with ImapClient(HOST, target) as imap, SmtpClient(HOST, target) as smtp:
        imap.login(bob)
        assert imap.select() == 0
        smtp.login(alice)
        message = encrypted_message(alice.address, bob.address, marker="idle")
        with imap.idle() as idle:
            assert smtp.submit(alice.address, [bob.address], message).accepted
            assert idle.wait_for_exists(within=30) == 1
        [stored] = imap.fetch_all()
        assert b"-----BEGIN PGP MESSAGE-----" in stored.data


def test_metadata_before_login_is_refused(target):
    with ImapClient(HOST, target) as imap, pytest.raises(ImapRefused) as refusal:
        imap.get_metadata(IROH)
    assert refusal.value.answer.untagged == ()


def test_the_relays_host_answers_stun(target):
    assert probe(HOST, target.host)[0] == "127.0.0.1"


def test_services_restart_on_their_ports(tmp_path):
    with start(tmp_path) as server:
        account = server.target.new_account()
        with ImapClient(HOST, server.target) as imap:
            imap.login(account)
        mail, relay = server.program(Service.MAIL), server.program(Service.IROH_RELAY)
        mail.restart()
        mail.restart(kill=True)
        with ImapClient(HOST, server.target) as imap:
            imap.login(account)
        relay.restart(kill=True)
        with RelayClient(HOST, relay_of(server)) as client:
            client.ping()
            relay.pause()
            relay.resume()
            client.ping()
        assert mail.log is not None
        assert mail.log.read_text()
        assert processes_of(tmp_path)
    assert processes_of(tmp_path) == []


HARNESS_THAT_IS_KILLED = """
import os, signal, sys
from pathlib import Path
from harness.hosts import LocalHost
from harness.servers.reference import Reference
from harness.servers.server import Wants
from harness.stage.session import loopback_place
state = Path(sys.argv[1]) / "state"
state.mkdir()
server = Reference().start(LocalHost(), loopback_place(state, Path(sys.argv[1]) / "logs"), Wants())
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_server_ends_when_its_harness_is_killed(tmp_path):
    killed = subprocess.run([sys.executable, "-c", HARNESS_THAT_IS_KILLED, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    [line] = (tmp_path / "logs" / "reference.stdout.log").read_text().splitlines()
    control = Path(json.loads(line)["endpoints"]["control"])
    wait_until(lambda: not control.exists(), "the server to end and remove its control socket", within=30)


def test_services_end_with_a_supervisor_that_hangs(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.servers.reference.STOP_PATIENCE", 0.1)
    server = start(tmp_path)
    supervisor = min(processes_of(tmp_path))
    os.kill(supervisor, signal.SIGSTOP)
    server.close()
    relay = relay_of(server)

    def answers() -> bool:
        try:
            HOST.connect(relay.host, relay.port, within=10).close()
        except ConnectionError:  # refused, or reset by a listener that ends with us in its queue
            return False
        return True

    wait_until(lambda: not answers(), "the relay to end", within=30)


def processes_of(directory: Path) -> list[int]:
    """Those that were told where the state of a server is: its supervisor and its services."""
    found = subprocess.run(
        ["pgrep", "-f", "--", f"--state {directory}"], capture_output=True, text=True, check=False
    )
    return [int(line) for line in found.stdout.split()]
