"""Real aiortc peers call each other through coturn on loopback."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from harness.calls.agent import Agent
from harness.calls.call import parties
from harness.calls.peers import IceServer, NoRelayCandidate, PeerDied, PeerError, Settings
from harness.calls.quality import MachineTooSlow
from harness.clients.device import Device
from harness.clients.turn.client import TurnCredentials
from harness.hosts import LocalHost
from harness.stage.outcome import promised
from harness.steps.calls import FAILURES
from harness.urls import TurnUrl
from harness.waiting import wait_until

from ..coturn import SECRET, Coturn, coturn, needs_coturn

SLACK = 3
"""Packets that may be on their way, or come after the other side has closed."""


@pytest.fixture(scope="module")
def server(tmp_path_factory, tls) -> Iterator[Coturn]:
    with coturn(tmp_path_factory.mktemp("coturn"), tls=tls) as server:
        yield server


def ice_server(url: TurnUrl, credentials: TurnCredentials) -> IceServer:
    text = str(url) + ("?transport=tcp" if url.transport == "tls" else "")
    return IceServer((text,), credentials.username, credentials.password)


@contextmanager
def two_agents(logs: Path, *, ca_file: Path | None = None) -> Iterator[tuple[Agent, Agent]]:
    with Agent(logs, "alice", ca_file=ca_file) as alice, Agent(logs, "bob", ca_file=ca_file) as bob:
        yield alice, bob


def connect(alice: Agent, bob: Agent, servers: list[IceServer], **settings) -> None:
    mutes = settings.pop("mutes", ())
    settings = {"policy": "relay", **settings}
    offer = alice.offer(Settings(servers, 1, 2, mutes=mutes, **settings))
    alice.set_answer(bob.answer(Settings(servers, 2, 1, **settings), offer))
    for agent in (alice, bob):
        agent.wait_for("connection", within=60, state="connected")
        agent.wait_for("channel", within=60, label="harness")


def talk(alice: Agent, bob: Agent, *, frames: int) -> None:
    """Let both play so many frames of audio, then stop, and wait until nothing is on its way."""
    for agent in (alice, bob):
        wait_until(
            lambda agent=agent: agent.stats().pace["audio"].sent >= frames,  # type: ignore[misc]
            f"{agent.name} to play {frames} frames",
            within=60,
        )
    for agent in (alice, bob):
        agent.pause()
    wait_until(
        lambda: all(
            abs(one.stats().traffic.packets_sent - other.stats().traffic.packets_received) <= SLACK
            and one.stats().numbers_sent == other.stats().numbers_received
            for one, other in ((alice, bob), (bob, alice))
        ),
        "what was sent to arrive",
        within=30,
    )


@needs_coturn
@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_a_relayed_call_with_audio_video_and_data(server, tls, tmp_path, transport):
    url = {"udp": server.url, "tcp": server.tcp_url, "tls": server.tls_url}[transport]
    servers = [ice_server(url, server.credentials())]
    with two_agents(tmp_path, ca_file=tls.ca_file) as (alice, bob):
        connect(alice, bob, servers, video=(320, 240, 15.0), mutes=[(1.0, 1.5)])
        alice.send_numbers(20)
        bob.send_numbers(30)
        talk(alice, bob, frames=120)
        stats = {"alice": alice.stats(), "bob": bob.stats()}
        for name, other in (("alice", "bob"), ("bob", "alice")):
            mine, theirs = stats[name], stats[other]
            mine.check_pace(name)
            assert abs(mine.traffic.packets_sent - theirs.traffic.packets_received) <= SLACK
            assert str(mine.pair) == "relay to relay"
            assert mine.pair is not None and mine.pair.is_relayed
        for agent in (alice, bob):
            assert str(servers[0].credential) not in agent.log_file.read_text()
        assert (stats["alice"].numbers_received, stats["bob"].numbers_received) == (30, 20)
        assert stats["alice"].numbers_in_order and stats["bob"].numbers_in_order

        heard_by_bob, heard_by_alice = bob.report(alice), alice.report(bob)
        assert heard_by_bob.audio is not None and heard_by_alice.audio is not None
        [gap] = heard_by_bob.audio.gaps
        assert 0.460 <= gap.length <= 0.540
        assert gap.start == pytest.approx(1.0, abs=0.03)
        assert not heard_by_alice.audio.gaps
        for report, stream in ((heard_by_bob, 1), (heard_by_alice, 2)):
            assert (report.packets_lost, report.packets_duplicated) == (0, 0)
            assert report.audio is not None and report.video is not None
            assert not report.audio.jumps and not report.audio.others
            assert report.audio.delay is not None and report.audio.delay < 1.0
            assert report.video.stream == stream
            assert report.video.frames >= 0.9 * 15 * 2.4 - 2
            assert report.video.tail <= 1  # aiortc gives a picture out when the next one comes
            video = report.video
            assert (video.unreadable, video.foreign, video.backward, video.missing) == (0, {}, 0, 0)
        alice.hang_up()
        bob.wait_for("connection", within=60, state="closed")


@needs_coturn
def test_a_direct_call_leaves_the_server_alone(tmp_path):
    with coturn(tmp_path) as server:
        with two_agents(tmp_path) as (alice, bob):
            connect(alice, bob, [ice_server(server.url, server.credentials())], policy="all")
            talk(alice, bob, frames=50)
            pair = alice.stats().pair
            assert pair is not None
            assert not pair.is_relayed
            assert pair.remote_address[0] == "127.0.0.1"
        assert sum(sent_to_peers(server)) < 1000


@needs_coturn
def test_the_account_of_a_relayed_call_is_in_the_servers_log(tmp_path):
    with coturn(tmp_path) as server:
        with two_agents(tmp_path) as (alice, bob):
            connect(alice, bob, [ice_server(server.url, server.credentials())])
            talk(alice, bob, frames=100)
            sent = [agent.stats().traffic.bytes_sent for agent in (alice, bob)]
        [unused, *carried] = sorted(sent_to_peers(server))
    assert unused == 0
    for agent, relayed in zip(sorted(sent), carried, strict=True):
        assert 0.99 * agent <= relayed <= 1.05 * agent  # with STUN inside, and what followed the pause


def sent_to_peers(server: Coturn) -> list[int]:
    """Bytes that each session sent to its peers. coturn says so a second after the session has ended."""
    expected = 3  # an offerer has an allocation for audio and one for data, and drops one at the answer

    def found() -> list[int]:
        text = server.log.read_text(errors="replace")
        usages = re.findall(r"peer usage: .*username=<\d+>, rp=\d+, rb=\d+, sp=\d+, sb=(\d+)", text)
        return [int(each) for each in usages] if len(usages) >= expected else []

    return wait_until(found, "coturn's account of three sessions", within=30)


@needs_coturn
def test_the_state_of_mutes_is_told_and_heard(server, tmp_path):
    with two_agents(tmp_path) as (alice, bob):
        connect(alice, bob, [ice_server(server.url, server.credentials())])
        alice.mute(audio=True)
        told = bob.wait_for("muted", within=30)
        assert (told.fields["audioEnabled"], told.fields["videoEnabled"]) == (False, True)
        muted_from = alice.stats().pace["audio"].sent
        talk(alice, bob, frames=muted_from + 50)
        audio = bob.report(alice).audio
    assert audio is not None
    assert audio.gaps[-1].start + audio.gaps[-1].length == pytest.approx(audio.seconds, abs=0.05)


@needs_coturn
@pytest.mark.parametrize(
    ("credentials", "words"),
    [
        (
            TurnCredentials.from_secret("another", 1 << 31),
            r"from turn:\S+: \S+ refused it: 401[\w ]*$",
        ),
        (TurnCredentials.from_secret(SECRET, 1), "no relay candidate from turn:.*401"),
    ],
    ids=["wrong", "expired"],
)
def test_refused_credentials_fail_at_once_with_the_servers_words(server, tmp_path, credentials, words):
    with Agent(tmp_path, "alice") as alice, pytest.raises(NoRelayCandidate, match=words):
        alice.offer(Settings([ice_server(server.url, credentials)], 1, 2))


@needs_coturn
def test_a_relay_for_one_section_alone_is_not_enough(tmp_path):
    """An offer has an allocation for each section; the answerer may take the one that was refused."""
    with (
        coturn(tmp_path, "--user-quota=1") as server,
        Agent(tmp_path, "alice") as alice,
        pytest.raises(NoRelayCandidate, match="486"),
    ):
        alice.offer(Settings([ice_server(server.url, server.credentials())], 1, 2))


def test_a_silent_turn_server_is_said_to_be_silent(tmp_path):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        url = TurnUrl("udp", *silent.getsockname())
        with (
            Agent(tmp_path, "alice") as alice,
            pytest.raises(NoRelayCandidate, match=f"127.0.0.1:{url.port}"),
        ):
            alice.offer(Settings([ice_server(url, TurnCredentials("1", "x"))], 1, 2))


@needs_coturn
def test_candidates_are_trickled_over_the_channel(server, tmp_path):
    with two_agents(tmp_path) as (alice, bob):
        connect(alice, bob, [ice_server(server.url, server.credentials())], policy="all", trickle=True)
        for agent in (alice, bob):
            agent.wait_for("candidate", "the end of the candidates", within=30, candidate=None)
            *candidates, _end = [str(each.fields["candidate"]) for each in agent.events("candidate")]
            assert candidates
            assert all(each.startswith("candidate:") and " typ relay" not in each for each in candidates)
            pair = agent.stats().pair
            assert pair is not None and pair.is_relayed


def test_without_servers_nobody_is_asked(tmp_path):
    with two_agents(tmp_path) as (alice, bob):
        connect(alice, bob, [], policy="all")
        pair = bob.stats().pair
    assert str(pair) == "host to host"


@pytest.fixture
def of_our_own(monkeypatch):
    """Agents are our children, which can be paused; usually they are forked by another process."""
    monkeypatch.setattr(
        "harness.calls.agent.preloaded", lambda program, **_others: (sys.executable, "-m", program)
    )


@pytest.mark.usefixtures("of_our_own")
def test_a_sender_that_stands_still_is_no_verdict_about_the_way(tmp_path):
    with two_agents(tmp_path) as (alice, bob):
        connect(alice, bob, [], policy="all")
        wait_until(lambda: alice.stats().pace["audio"].sent > 10, "alice to play", within=30)
        os.kill(alice.pid, signal.SIGSTOP)
        time.sleep(0.5)  # this is the fault itself, not a wait for something
        os.kill(alice.pid, signal.SIGCONT)
        talk(alice, bob, frames=50)
        with pytest.raises(
            MachineTooSlow, match=r"machine too slow \(alice's audio: sent (nothing for|\d+ of)"
        ):
            alice.stats().check_pace("alice")


@pytest.mark.usefixtures("of_our_own")
def test_an_agent_that_is_not_ready_or_gives_no_answer_in_time_is_no_failure_of_the_target(tmp_path):
    with Agent(tmp_path, "alice", within=0.5) as alice:
        alice.wait_for("ready", within=30)
        os.kill(alice.pid, signal.SIGSTOP)
        with promised(*FAILURES), pytest.raises(MachineTooSlow, match="the answer of peer alice to stats"):
            alice.stats()
        os.kill(alice.pid, signal.SIGCONT)


def test_agents_that_do_not_start_in_time_are_no_failure_of_the_target(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.calls.call.START_WITHIN", 0.0)
    alice, bob = (cast(Device, SimpleNamespace(name=name, host=LocalHost())) for name in ("alice", "bob"))
    nobody: dict[str, list[IceServer]] = {"alice": [], "bob": []}
    with (
        pytest.raises(MachineTooSlow, match=r"machine too slow \(waited 0 s for ready at the peer alice"),
        promised(*FAILURES),
        parties(alice, bob, nobody, tmp_path),
    ):
        raise AssertionError("no program starts in no time")


def test_a_turn_server_that_cannot_be_reached_is_told_in_words(tmp_path):
    """In a network without IPv4 the system refuses at once; the broadcast address stands for it here."""
    servers = [IceServer(("turn:255.255.255.255:3478?transport=udp",), "alice", "secret")]
    with Agent(tmp_path, "alice") as alice, pytest.raises(NoRelayCandidate) as refused:
        alice.offer(Settings(servers, 1, 2, policy="relay"))
    assert "permission denied" in str(refused.value)
    assert "Errno" not in str(refused.value)


def test_an_agent_that_dies_is_said_to_be_dead(tmp_path):
    with Agent(tmp_path, "alice") as alice:
        os.kill(alice.pid, signal.SIGKILL)
        with pytest.raises(PeerDied, match="the peer alice has ended"):
            alice.wait_for("connection", within=600)
        with pytest.raises(PeerDied):
            alice.stats()


def test_an_agent_ends_by_itself_when_nobody_drives_it_any_more(tmp_path):
    agent = Agent(tmp_path, "alice")
    agent.wait_for("ready", within=30)
    agent.close()
    assert agent._process.returncode == 0
    agent.close()


def test_one_that_is_not_ready_yet_is_not_waited_for(tmp_path):
    """It loads for seconds on a busy machine, and hears of the end of its stdin only afterwards."""
    agent = Agent(tmp_path, "alice")
    agent.close()
    assert agent._process.returncode == -signal.SIGTERM


WITHOUT_AIORTC = """
import sys
from pathlib import Path
sys.modules["av"] = None
import importlib.util
importlib.util.find_spec = lambda name: None
from harness.calls import balance, call, quality, servers
from harness.calls.agent import Agent
from harness.calls.peers import PeerError
try:
    Agent(Path(sys.argv[1]), "alice")
except PeerError as error:
    print(error)
"""


def test_without_aiortc_everything_but_a_call_works(tmp_path):
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT_AIORTC, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == "calls need aiortc: pip install 'dc-harness[calls]'"


def test_wrong_commands_are_answered(tmp_path):
    with Agent(tmp_path, "alice") as alice, pytest.raises(PeerError, match="stats before offer or answer"):
        alice.stats()
