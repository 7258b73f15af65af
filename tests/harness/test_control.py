import json
import socket
import threading

import pytest

from harness.clients.control import ControlClient, ControlError, ServiceLedger
from harness.clients.turn.ledger import Count
from harness.hosts import LocalHost

ALICE, BOB = "aa" * 32, "bb" * 32

LEDGER = {
    "version": 1,
    "service": "iroh_relay",
    "enabled": True,
    "started": 1790000000.0,
    "events": [
        {
            "time": 1790000000.1,
            "kind": "login",
            "node_id": ALICE,
            "remote": "127.0.0.1:40312",
            "connection": 1,
        },
        {
            "time": 1790000000.2,
            "kind": "login_refused",
            "remote": "127.0.0.1:40313",
            "reason": "bad signature",
        },
    ],
    "events_forgotten": 0,
    "connections": [
        {
            "id": 1,
            "listener": "relay",
            "remote": "127.0.0.1:40312",
            "identity": ALICE,
            "opened": 1.0,
            "closed": None,
            "bytes_in": 10,
            "bytes_out": 20,
            "frames_in": 1,
            "frames_out": 2,
            "something_newer": True,
        }
    ],
    "connections_forgotten": 0,
    "pairs": [{"source": ALICE, "destination": BOB, "frames": 3, "bytes": 30, "frames_dropped": 1}],
    "pairs_forgotten": 0,
}

TURN = LEDGER | {
    "service": "turn",
    "pairs": [],
    "allocations": [
        {
            "id": 1,
            "transport": "udp",
            "client": "127.0.0.1:44864",
            "server": "127.0.0.1:3478",
            "username": "1790086400",
            "relayed": ["127.0.0.1:60195"],
            "opened": 1.0,
            "closed": None,
            "reason": None,
            "control": {"in": {"packets": 3, "bytes": 380}, "out": {"packets": 3, "bytes": 172}},
            "peers": [
                {
                    "peer": "127.0.0.1:55103",
                    "channel": 16384,
                    "to_peer": {"rtp": {"packets": 100, "bytes": 5050}},
                    "to_client": {},
                }
            ],
            "drops": {"no_permission": {"packets": 1, "bytes": 88}},
            "something_newer": True,
        }
    ],
    "allocations_forgotten": 0,
    "drops": {"malformed": {"packets": 7, "bytes": 301}},
}


@pytest.fixture
def answering(tmp_path):
    """A control socket that answers one request with the given line; yields a function that starts it."""
    threads = []
    path = tmp_path / "control.sock"

    def answer(make_reply):
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()

        def serve():
            with listener, listener.accept()[0] as connection, connection.makefile("rb") as stream:
                connection.sendall(make_reply(json.loads(stream.readline())))

        thread = threading.Thread(target=serve)
        thread.start()
        threads.append(thread)
        return ControlClient(path, LocalHost(), within=10)

    yield answer
    for thread in threads:
        thread.join()


def ok(result):
    return lambda request: (
        json.dumps({"v": 1, "id": request["id"], "ok": True, "result": result}).encode() + b"\n"
    )


def test_a_ledger_becomes_records(answering):
    ledgers = answering(ok({"mail": LEDGER | {"service": "mail"}, "iroh_relay": LEDGER})).ledger()
    relay = ledgers.iroh_relay
    assert ledgers.mail.service == "mail"
    assert relay.complete
    assert [event.fields["connection"] for event in relay.events_of("login", node_id=ALICE)] == [1]
    assert relay.events_of("login", node_id=BOB) == ()
    assert relay.connections_of(ALICE)[0].bytes_out == 20
    assert relay.connection_from("127.0.0.1:40312").identity == ALICE
    assert relay.connection_from("127.0.0.1:1") is None
    assert (relay.pair(ALICE, BOB).frames, relay.pair(BOB, ALICE).frames) == (3, 0)


def test_the_ledger_of_turn_has_allocations(answering):
    result = {"mail": LEDGER | {"service": "mail"}, "iroh_relay": LEDGER, "turn": TURN}
    ledgers = answering(ok(result)).ledger()
    turn = ledgers.turn
    assert ledgers.enabled
    assert turn.drops == {"malformed": Count(7, 301)}
    assert turn.allocation_of("127.0.0.1:44864", "127.0.0.1:1") is None
    allocation = turn.allocation_of("127.0.0.1:44864", "127.0.0.1:60195")
    assert (allocation.control_in, allocation.control_out) == (Count(3, 380), Count(3, 172))
    assert allocation.drops == {"no_permission": Count(1, 88)}
    peer = allocation.with_peer("127.0.0.1:55103")
    assert (peer.channel, peer.to_peer, peer.to_client) == (16384, {"rtp": Count(100, 5050)}, {})
    assert allocation.with_peer("127.0.0.1:1").to_peer == {}


def test_a_server_without_turn_has_no_such_ledger(answering):
    assert answering(ok({"mail": LEDGER, "iroh_relay": LEDGER})).ledger().turn is None


def test_a_ledger_that_forgot_something_is_not_complete():
    assert not ServiceLedger.parse(LEDGER | {"pairs_forgotten": 1}).complete
    assert not ServiceLedger.parse(TURN | {"allocations_forgotten": 1}).complete


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"error": "the service does not answer"}, "does not answer"),
        ({"version": 2}, "version 1.*wrote 2"),
        ([], "not list"),
        (None, "not NoneType"),
        ({key: value for key, value in LEDGER.items() if key != "pairs"}, "pairs"),
        (LEDGER | {"connections": [{"id": 1}]}, "listener"),
        (LEDGER | {"events": 5}, "not a ledger"),
        (LEDGER | {"service": "turn"}, "allocations"),
        (TURN | {"allocations": [{"id": 1}]}, "not a ledger"),
        (TURN | {"drops": ["malformed"]}, "not a ledger"),
        (TURN | {"drops": {"malformed": {"packets": 7}}}, "bytes"),
    ],
)
def test_what_is_no_ledger_is_refused_with_a_sentence(data, sentence):
    with pytest.raises(ControlError, match=sentence):
        ServiceLedger.parse(data)


def test_restart_sends_the_signal_and_returns_the_process(answering):
    requests = []

    def reply(request):
        requests.append(request)
        return ok({"pid": 77})(request)

    client = answering(reply)
    assert client.restart("mail", kill=True) == 77
    assert requests == [{"v": 1, "id": 1, "verb": "restart", "service": "mail", "signal": "KILL"}]


def test_logs_are_lines(answering):
    log = answering(ok({"path": "/x/mail.log", "lines": ["one", "two"]})).logs("mail")
    assert (str(log.path), log.lines) == ("/x/mail.log", ("one", "two"))


@pytest.mark.parametrize(
    ("reply", "sentence"),
    [
        (
            b'{"v": 1, "id": 1, "ok": false, "error": "no such service"}\n',
            "pause was refused: no such service",
        ),
        (b"", "closed before it answered pause"),
        (b'{"v": 1', "closed before it answered pause"),
        (b"hello\n", "not JSON"),
        (b'{"v": 7, "ok": true}\n', "does not speak control protocol 1"),
        (b"[]\n", "does not speak control protocol 1"),
    ],
)
def test_bad_answers_become_sentences(reply, sentence, answering):
    with pytest.raises(ControlError, match=sentence):
        answering(lambda request: reply).pause("nobody", paused=True)


def test_a_missing_socket_is_named(tmp_path):
    with pytest.raises(ControlError, match="nothing-here"):
        ControlClient(tmp_path / "nothing-here", LocalHost()).ledger()
