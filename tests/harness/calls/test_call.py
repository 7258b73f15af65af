"""Two real cores ring each other through the embedded server; two real agents talk through coturn.

The embedded server offers no TURN here, so no core is asked for ICE servers: it would look for public ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from harness.calls.call import Media, parties, place
from harness.calls.peers import IceServer, NoRelayCandidate
from harness.clients.turn.client import TurnCredentials

from ..coturn import Coturn, coturn, needs_coturn
from .conftest import Friends


@pytest.fixture(scope="module")
def turn(tmp_path_factory) -> Iterator[Coturn]:
    with coturn(tmp_path_factory.mktemp("coturn")) as server:
        yield server


def through(server: Coturn, credentials: TurnCredentials | None = None) -> dict[str, list[IceServer]]:
    found = credentials or server.credentials()
    servers = [IceServer((str(server.url),), found.username, found.password)]
    return {"alice": servers, "bob": servers}


@needs_coturn
@pytest.mark.parametrize("callers", ["alice calls bob", "bob calls alice"])
def test_a_relayed_call(friends: Friends, turn, tmp_path, callers):
    alice, bob = friends
    devices = (alice, bob) if callers.startswith("alice") else (bob, alice)
    media = Media(video=(320, 240, 15.0), mutes=[(0.8, 1.3)], policy="relay")
    with parties(*devices, through(turn), tmp_path) as (caller, callee):
        ringing = place(caller, callee, media)
        assert set(ringing.states.values()) == {"Alerting"}
        call = ringing.accept()
        assert set(ringing.states.values()) == {"Active"}
        talked = call.talk(2.0, numbers=20)
        call.hang_up()
        assert set(ringing.states.values()) == {"Completed"}
    talked.check_pace()
    assert talked.path == "relayed"
    balance = talked.account(talked.path)
    assert balance, f"{balance.problems}\n{balance}"
    for name, report in talked.reports.items():
        assert report.audio is not None and report.video is not None
        assert (report.packets_lost, report.audio.jumps, report.audio.others) == (0, (), {})
        assert (report.video.unreadable, report.video.foreign, report.video.missing) == (0, {}, 0)
        assert talked.stats[name].numbers_received == 20
    heard_by_callee, heard_by_caller = (talked.reports[each.name].audio for each in (callee, caller))
    assert heard_by_callee is not None and heard_by_caller is not None
    [gap] = heard_by_callee.gaps
    assert 0.460 <= gap.length <= 0.540
    assert heard_by_caller.gaps == ()
    steps = ringing.phases
    order = [steps.offer, steps.ring, steps.answer, steps.accepted, steps.connected, steps.first_audio]
    assert order == sorted(order, key=lambda each: each or 0.0)
    assert all(each is not None and 0 < each < 60 for each in order)


@needs_coturn
def test_the_state_of_mutes(friends: Friends, turn, tmp_path):
    with parties(*friends, through(turn), tmp_path) as (alice, bob):
        call = place(alice, bob, Media(policy="relay")).accept()
        call.mute(alice, audio=True)
        [event] = bob.peer.events("muted")
        assert event.fields["audioEnabled"] is False
        call.mute(alice, audio=False)
        talked = call.talk(1.0)
        call.hang_up(bob)
        assert call.ringing.states == {"alice": "Completed", "bob": "Completed"}
    assert talked.reports["bob"].audio is not None
    assert talked.reports["bob"].audio.jumps == ()


@needs_coturn
def test_a_call_that_carries_data_alone(friends: Friends, turn, tmp_path):
    with parties(*friends, through(turn), tmp_path) as (alice, bob):
        call = place(alice, bob, Media(audio=False, policy="relay")).accept()
        talked = call.talk(0, numbers=200)
        call.hang_up()
    for name in ("alice", "bob"):
        assert talked.stats[name].numbers_received == 200
        assert talked.stats[name].numbers_in_order
        assert (talked.reports[name].audio, talked.reports[name].video) == (None, None)
    balance = talked.account("relayed")
    assert balance, f"{balance.problems}\n{balance}"


def test_declined_and_cancelled_calls(friends: Friends, tmp_path):
    nobody: dict[str, list[IceServer]] = {"alice": [], "bob": []}
    with parties(*friends, nobody, tmp_path) as (alice, bob):
        ringing = place(alice, bob)
        ringing.decline()
        assert ringing.states == {"alice": "Declined", "bob": "Declined"}
    with parties(*friends, nobody, tmp_path) as (alice, bob):
        ringing = place(alice, bob)
        ringing.cancel()
        assert ringing.states == {"alice": "Canceled", "bob": "Missed"}


def test_a_direct_call_on_one_host_is_said_to_be_direct(friends: Friends, tmp_path):
    with parties(*friends, {"alice": [], "bob": []}, tmp_path) as (alice, bob):
        call = place(alice, bob).accept()
        talked = call.talk(1.0)
        call.hang_up()
    assert talked.path == "direct"
    assert talked.account("direct", {})


@needs_coturn
def test_credentials_that_the_server_refuses_end_the_call_before_it_rings(friends: Friends, turn, tmp_path):
    alice, bob = friends
    rang = len(bob.account.events("IncomingCall"))
    wrong = TurnCredentials.from_secret("another secret", 1 << 31)
    with (
        parties(alice, bob, through(turn, wrong), tmp_path) as (caller, callee),
        pytest.raises(
            NoRelayCandidate, match=f"alice: no relay candidate from {re.escape(str(turn.url))}.*401"
        ),
    ):
        place(caller, callee, Media(policy="relay"))
    assert len(bob.account.events("IncomingCall")) == rang
