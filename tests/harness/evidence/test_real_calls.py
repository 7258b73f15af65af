"""Real aiortc peers and a real TURN server in namespaces: every witness of a call, and the verdict."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from harness.calls.agent import Agent, calls_are_possible
from harness.calls.peers import IceServer, Settings
from harness.clients.control import ServiceLedger
from harness.clients.turn.client import TurnCredentials
from harness.evidence import egress, paths
from harness.evidence.edges import Edges
from harness.evidence.egress import DirectTraffic
from harness.evidence.flows import EdgeCounts
from harness.evidence.parties import ObservedDevice, Parties, Site
from harness.evidence.paths import ObservedPath
from harness.hosts import end_process
from harness.network import profiles
from harness.network.lab import LabHost
from harness.waiting import wait_until

from ..coturn import SECRET, coturn, needs_coturn
from .rooms import lab, pair

__all__ = ["lab", "pair"]

pytestmark = pytest.mark.skipif(
    not calls_are_possible(), reason="capability calls: aiortc is not installed: ./setup"
)

SECONDS = 2.0
TurnServer = Callable[[LabHost, Path], AbstractContextManager[tuple[int, Path | None]]]


@contextmanager
def turn_server(host: LabHost, directory: Path) -> Iterator[tuple[int, Path | None]]:
    """Our own, with its ledger: its port, and the path of its control socket."""
    control = directory / "control"
    listen = [f"--listen={transport}://{host.address}:3478" for transport in ("udp", "tcp")]
    options = ["--realm=chatmail.test", f"--secret={SECRET}", "--public", "--ledger", f"--control={control}"]
    command = [sys.executable, "-m", "reference_server.turn", *listen, *options]
    process = host.popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        with process.stdout:
            assert json.loads(process.stdout.readline())["ready"]
        yield 3478, control
    finally:
        end_process(process, patience=10)


@contextmanager
def theirs(host: LabHost, directory: Path) -> Iterator[tuple[int, Path | None]]:
    """Debian's, which keeps no ledger."""
    with coturn(directory, host=host) as server:
        yield server.url.port, None


Reading = tuple[dict[str, EdgeCounts], dict[str, EdgeCounts], ServiceLedger | None]


def ledger_of(host: LabHost, control: Path) -> ServiceLedger:
    with host.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(str(control))
        connection.sendall(b'{"v": 1, "id": 1, "verb": "ledger"}\n')
        with connection.makefile("rb") as stream:
            return ServiceLedger.parse(json.loads(stream.readline())["result"])


def call(
    pair: tuple[LabHost, LabHost],
    server: LabHost,
    directory: Path,
    *,
    policies: tuple[str, str],
    transports: tuple[str, ...] = ("udp", "udp"),
    turn: TurnServer = turn_server,
) -> tuple[ObservedPath, ObservedPath, egress.Egress]:
    """The path of the media, that of the time before, and where the devices went. A transport "": no TURN server."""
    credentials = TurnCredentials.from_secret(SECRET, int(time.time()) + 3600)
    who = Parties(
        tuple(ObservedDevice(host.name, frozenset(host.addresses)) for host in pair),
        (Site("turn", frozenset(server.addresses), tcp=frozenset({3478}), udp=None),),
    )
    with (
        turn(server, directory) as (port, control),
        Edges(pair, directory / "capture.pcapng") as edges,
        Agent(directory, "alice", host=pair[0]) as alice,
        Agent(directory, "bob", host=pair[1]) as bob,
    ):
        settings = [
            Settings(
                [
                    IceServer(
                        (f"turn:{server.address}:{port}?transport={transport}",),
                        credentials.username,
                        credentials.password,
                    )
                ]
                if transport
                else [],
                stream,
                3 - stream,
                policy=policy,  # type: ignore[arg-type]
                video=(320, 240, 15.0),
            )
            for stream, policy, transport in zip((1, 2), policies, transports, strict=True)
        ]
        edges.begin("signalling")
        offer = alice.offer(settings[0])
        edges.begin("media")
        alice.set_answer(bob.answer(settings[1], offer))
        agents = (alice, bob)
        for agent in agents:
            agent.wait_for("connection", within=60, state="connected")
        wait_until(lambda: all(agent.stats().played > SECONDS for agent in agents), "both to play", within=60)
        for agent in agents:
            agent.pause()
        names = [host.name for host in pair]

        def read() -> Reading | None:
            """Edges and ledger at one moment: RTCP goes on while agents pause."""
            edges.settle(within=5)
            before = edges.frames(names)
            ledger = ledger_of(server, control) if control else None
            found = edges.phase("media"), edges.phase("signalling"), ledger
            return found if edges.frames(names) == before else None

        media, signalling, ledger = wait_until(read, "edges and ledger to be read at one moment", within=60)
        stats = {agent.name: agent.stats() for agent in agents}
        carried = paths.turn_carried(ledger, who) if ledger else None
        return (
            paths.of_call(media, who, paths.client_counts(stats), carried),
            paths.of_call(signalling, who, {}, None),
            egress.of_edges(edges.now(), who, devices=DirectTraffic.ALL),
        )


@pytest.mark.parametrize(
    ("policies", "transports"),
    [
        (("relay", "relay"), ("udp", "udp")),
        (("relay", "relay"), ("tcp", "udp")),
        (("relay", "all"), ("udp", "udp")),
    ],
    ids=["both legs", "one leg over TCP", "one leg"],
)
def test_a_relayed_call(lab, pair, tmp_path, policies, transports):
    path, before, went = call(pair, lab.server("server"), tmp_path, policies=policies, transports=transports)
    assert path.is_relayed_by("turn"), path
    assert path.delivered_directly == 0
    assert len(path.witnesses) == 3
    assert before.verdict is paths.PathVerdict.NONE, before
    assert went, went


def test_a_direct_call(lab, pair, tmp_path):
    """Without servers to choose: on a busy machine aioice takes a relayed pair even where a direct one would work."""
    server = lab.server("server")
    path, _before, went = call(pair, server, tmp_path, policies=("all", "all"), transports=("", ""))
    assert path.is_direct, path
    assert path.shares == {"direct": 1.0}
    assert went, went


@needs_coturn
def test_a_call_relayed_by_coturn(lab, tmp_path):
    """Behind NATs that must relay, through a server that none of us wrote: agents and edges agree."""
    pair = (lab.device("alice", profiles.SYMMETRIC), lab.device("bob", profiles.MOBILE))
    path, _before, went = call(pair, lab.server("server"), tmp_path, policies=("relay", "relay"), turn=theirs)
    assert path.is_relayed_by("turn"), path
    assert path.delivered_directly == 0
    assert went, went
