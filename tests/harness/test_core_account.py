"""What an account makes of core's events: events are put in by hand, no server is involved."""

import os
import signal
import threading
from types import SimpleNamespace

import pytest
from deltachat_rpc_client import DeltaChat

from harness.clients.core.core import Account, Core, CoreDied, Webxdc
from harness.realtime.swarm import NodeIdUnknown, Swarm
from harness.waiting import WaitTimeout

ALICE, BOB = "43f2560004" + "aa" * 27, "2e0f32a73d" + "bb" * 27


@pytest.fixture
def account(tmp_path):
    with Core(tmp_path) as core:
        yield Account(core, DeltaChat(core.rpc).add_account(), "alice@chatmail.test", bot=True)


def happens(account: Account, kind: str, **fields) -> None:
    account.core._take([{"contextId": account.id, "event": {"kind": kind, **fields}}], 5.0)


def test_events_that_were_there_before_count(account):
    happens(account, "MsgDelivered", chatId=10, msgId=12)
    event = account.wait_for("MsgDelivered", within=10, msg_id=12)
    assert (event.time, event["msg_id"], event["chat_id"]) == (5.0, 12, 10)


def test_a_coming_event_wakes_the_waiter(account):
    late = threading.Timer(0.05, happens, [account, "MsgDelivered"], {"msgId": 12})
    late.start()
    assert account.wait_for("MsgDelivered", within=30, msg_id=12)["msg_id"] == 12
    late.join()


def test_follow_gives_each_event_once_and_in_order(account):
    for number in (1, 2, 3):
        happens(account, "IncomingMsg", msgId=number)
        happens(account, "MsgsChanged", msgId=number)
    following = account.follow("IncomingMsg", within=0.2)
    assert [next(following)["msg_id"] for _ in range(3)] == [1, 2, 3]
    with pytest.raises(WaitTimeout, match=r"IncomingMsg at alice@chatmail\.test"):
        next(following)


def test_a_timeout_shows_what_was_there_and_what_core_complained_about(account):
    happens(account, "ConnectivityChanged")
    happens(account, "Warning", msg="src/imap.rs: no route to host")
    with pytest.raises(WaitTimeout, match=r"ConnectivityChanged x1.*no route to host"):
        account.wait_for("ImapInboxIdle", within=0.01)


def test_a_wait_fails_at_once_when_core_dies(account):
    threading.Timer(0.05, os.kill, [account.core.pid, signal.SIGKILL]).start()
    with pytest.raises(CoreDied, match="exit code -9"):
        account.wait_for("ImapInboxIdle", within=600)


def test_realtime_data_is_bytes_and_belongs_to_its_app(account):
    happens(account, "WebxdcRealtimeData", msgId=12, data=[0, 1, 255])
    happens(account, "WebxdcRealtimeData", msgId=13, data=[7])
    assert [event["data"] for event in Webxdc(account, 12).received()] == [b"\x00\x01\xff"]


def test_announced_node_ids_are_those_of_the_same_app(account):
    line = "src/peer_channels.rs:373: Adding iroh peer with node id {} to the topic of Msg#{}."
    happens(account, "Info", msg=line.format(BOB, 18))
    happens(account, "Info", msg=line.format(ALICE, 181))
    assert Webxdc(account, 18).announced_node_ids() == {BOB}


def a_swarm(*, alice_says: str, bob_learnt: set[str]) -> Swarm:
    def member(name: str, own: str, learnt: set[str]):
        trace = SimpleNamespace(own_ids=frozenset({own}) if own else frozenset())
        device = SimpleNamespace(name=name, core=SimpleNamespace(iroh_trace=lambda: trace))
        return device, SimpleNamespace(announced_node_ids=lambda: frozenset(learnt))

    return Swarm([member("alice", alice_says, {BOB}), member("bob", BOB[:10], bob_learnt)])


def test_a_node_id_is_what_peers_learnt_and_the_endpoint_confirms():
    swarm = a_swarm(alice_says=ALICE[:10], bob_learnt={ALICE})
    assert [swarm.node_id(member.device) for member in swarm._members] == [ALICE, BOB]


@pytest.mark.parametrize(
    ("alice_says", "bob_learnt", "words"),
    [
        (ALICE[:10], set(), "peers learnt none"),
        (BOB[:10], {ALICE}, "names itself .'2e0f32a73d'"),
        ("", {ALICE}, "names itself nothing"),
        (ALICE[:10], {ALICE, ALICE[:10] + "cc" * 27}, "is not known"),
    ],
)
def test_a_node_id_that_cannot_be_tied_to_its_device_is_an_error(alice_says, bob_learnt, words):
    swarm = a_swarm(alice_says=alice_says, bob_learnt=bob_learnt)
    with pytest.raises(NodeIdUnknown, match=words):
        swarm.node_id(swarm._members[0].device)
