"""Agents prefer direct pairs: a pair with a relay is checked when the better ones are decided, or after a moment."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

pytest.importorskip("aiortc", reason="capability calls: aiortc is not installed: ./setup")

from aioice.ice import CandidatePair, Connection

from harness.calls import agent_program

State = CandidatePair.State


class Protocol:
    """Sends checks that are answered at once."""

    def __init__(self):
        self.asked = []

    async def request(self, request, *_where, **_key):
        self.asked.append(request)


def pair(local, remote, state=State.WAITING):
    return SimpleNamespace(
        local_candidate=SimpleNamespace(type=local),
        remote_candidate=SimpleNamespace(type=remote),
        state=state,
        protocol=Protocol(),
        remote_addr=("192.0.2.1", 1),
    )


@pytest.fixture
def started(monkeypatch):
    """The pairs whose check has begun, with agents that are never patient for longer than a hundredth of a second."""
    found = []

    async def check_start(_connection, one):
        found.append(one)

    monkeypatch.setattr(Connection, "check_start", check_start)
    monkeypatch.setattr(agent_program, "DIRECT_FIRST", 0.01)
    monkeypatch.setattr(agent_program, "DECIDE_EVERY", 0.001)
    agent_program.prefer_direct_pairs()
    return found


def connection(pairs, *, controlling=True):
    return SimpleNamespace(
        _check_list=pairs,
        ice_controlling=controlling,
        remote_password="secret",
        build_request=lambda _pair, *, nominate: f"check, nominate {nominate}",
    )


async def start(pairs, *, controlling=True):
    ours = connection(pairs, controlling=controlling)
    await asyncio.gather(*(Connection.check_start(ours, each) for each in pairs))


def test_fewer_relays_are_tried_first(started):
    both, one, direct = pair("relay", "relay"), pair("host", "relay"), pair("host", "srflx")
    asyncio.run(start([both, one, direct]))
    assert started == [direct, one, both]
    assert direct.protocol.asked == []
    for held_back in (one, both):  # which installs permissions at TURN
        assert held_back.protocol.asked == ["check, nominate False"]


@pytest.mark.parametrize(
    ("state", "follows"), [(State.FAILED, True), (State.SUCCEEDED, False)], ids=["failed", "succeeded"]
)
def test_decided_pairs_are_not_waited_for(started, monkeypatch, state, follows):
    """After a direct pair has come up nothing else may be nominated: the last one would take its place."""
    monkeypatch.setattr(agent_program, "DIRECT_FIRST", 1e9)
    relayed = pair("host", "relay")
    ours = connection([pair("host", "host", state), relayed, pair("relay", "host")])
    asyncio.run(Connection.check_start(ours, relayed))
    assert started == [relayed] * follows


def test_who_does_not_nominate_does_not_wait(started, monkeypatch):
    monkeypatch.setattr(agent_program, "DIRECT_FIRST", 1e9)
    relayed, direct = pair("relay", "relay"), pair("host", "host")
    asyncio.run(start([relayed, direct], controlling=False))
    assert started == [relayed, direct]


def test_with_relays_alone_nothing_waits(started, monkeypatch):
    monkeypatch.setattr(agent_program, "DIRECT_FIRST", 1e9)
    pairs = [pair("relay", "relay"), pair("relay", "relay")]
    asyncio.run(start(pairs))
    assert started == pairs
