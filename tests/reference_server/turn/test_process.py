"""`python -m reference_server.turn` from outside: real sockets, aioice, and clients that mean no good."""

from __future__ import annotations

import asyncio
import random
import signal
import socket
import ssl
import subprocess
import sys

import aioice.turn
import pytest

from harness.waiting import wait_until
from reference_server.tls import issue_development_certificate
from reference_server.turn.stun import Address, Class, Method, attribute, build
from tests.reference_server.turn.running import BINDING, DEADLINE, SECRET, Inbox, Wire, credentials, running
from tests.reference_server.turn.support import UDP_TRANSPORT, indicated, lifetime

LAB = ("--allow-peers", "127.0.0.0/8")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with running(tmp_path_factory.mktemp("turn")) as server:
        yield server


@pytest.fixture(scope="module")
def tls_server(tmp_path_factory):
    directory = tmp_path_factory.mktemp("turn")
    issued = issue_development_certificate(directory, ["127.0.0.1"])
    files = ("--cert", str(issued.certificate_file), "--key", str(issued.key_file))
    with running(directory, *files, listen=("udp", "tcp", "tls")) as server:
        yield server, ssl.create_default_context(cafile=str(issued.ca_file))


async def endpoint(server, kind, context):
    username, password = credentials()
    return await aioice.turn.create_turn_endpoint(
        Inbox,
        server_addr=server.address(kind),
        username=username,
        password=password,
        ssl=context if kind == "tls" else False,
        transport="udp" if kind == "udp" else "tcp",
    )


@pytest.mark.parametrize("first_kind", ["udp", "tcp", "tls"])
@pytest.mark.parametrize("second_kind", ["udp", "tcp", "tls"])
def test_aioice_relays_to_aioice(tls_server, first_kind, second_kind):
    server, context = tls_server
    payloads = [bytes([128]) + bytes(size) for size in range(100)]

    async def call():
        first, first_inbox = await endpoint(server, first_kind, context)
        second, second_inbox = await endpoint(server, second_kind, context)
        names = first.get_extra_info("sockname"), second.get_extra_info("sockname")
        second.sendto(b"binds the channel", names[0])
        async with asyncio.timeout(DEADLINE):
            while True:  # aioice says nothing when its channel is bound
                first.sendto(b"there?", names[1])
                try:
                    async with asyncio.timeout(0.2):
                        assert await second_inbox.received.get() == (b"there?", names[0])
                        break
                except TimeoutError:
                    continue
            for payload in payloads:
                first.sendto(payload, names[1])
            got: list[object] = []
            while len(got) < len(payloads):
                datagram = await second_inbox.received.get()
                if datagram[0] != b"there?":  # on a slow machine more than one
                    got.append(datagram)
            second.sendto(b"back", names[0])
            back = (b"", None)
            while back[0] != b"back":
                back = await first_inbox.received.get()
        for transport, inbox in ((first, first_inbox), (second, second_inbox)):
            transport.close()
            async with asyncio.timeout(DEADLINE):
                await inbox.closed.wait()
        return names, got, back

    names, got, back = asyncio.run(call())
    assert got == [(payload, names[0]) for payload in payloads]
    assert back == (b"back", names[1])
    records = [
        record
        for record in server.ledger()["allocations"]
        if record["relayed"][0] == f"127.0.0.1:{names[0][1]}"
    ]
    assert records[0]["peers"][0]["to_peer"]["rtp"] == {"packets": 100, "bytes": sum(map(len, payloads))}
    wait_until(
        lambda: (
            not any(
                record["closed"] is None
                and record["relayed"][0].endswith((str(names[0][1]), str(names[1][1])))
                for record in server.ledger()["allocations"]
            )
        ),
        "the allocations to end",
        within=DEADLINE,
    )


def test_a_peer_outside_through_channel_permission_and_send(tmp_path):
    with (
        running(tmp_path, *LAB) as server,
        Wire(server.address("udp")) as client,
        udp() as peer,
        udp() as other,
    ):
        relay = client.allocate().relayed
        name, other_name = Address(*peer.getsockname()), Address(*other.getsockname())
        assert client.bind(name).ok
        assert client.permit(other_name).ok
        for number in range(200):
            client.send_channel(number.to_bytes(2, "big") + bytes(number))
        for number in range(200):
            assert peer.recvfrom(2000) == (number.to_bytes(2, "big") + bytes(number), tuple(relay))
        peer.sendto(b"\x80" + bytes(999), relay)
        assert client.receive() == b"\x40\0\x03\xe8\x80" + bytes(999)
        peer.sendto(b"", relay)
        assert client.receive() == b"\x40\0\0\0"
        client.send(other_name, b"once")
        assert other.recvfrom(100) == (b"once", tuple(relay))
        other.sendto(b"answer", relay)
        assert indicated(client.receive()) == (other_name, b"answer")
        client.raw(b"\x40\0\0\3abcTRAILING")
        assert peer.recv(100) == b"abc"
        record = server.ledger()["allocations"][0]
        assert record["peers"][0]["to_client"]["rtp"] == {"packets": 1, "bytes": 1000}
        assert record["drops"] == {}


def test_mixed_datagrams_in_one_batch_go_where_they_belong(tmp_path):
    with running(tmp_path, *LAB) as server, Wire(server.address("udp")) as client, udp() as one, udp() as two:
        client.allocate()
        client.bind(Address(*one.getsockname()), 0x4000)
        client.bind(Address(*two.getsockname()), 0x4001)
        server.process.send_signal(signal.SIGSTOP)  # so that everything lies in one queue
        for number in range(30):
            client.send_channel(b"one%d" % number, 0x4000 + number % 2)
            client.raw(b"garbage")
            client.send_channel(b"lost", 0x4002)
        client.raw(client.signed(Method.REFRESH, lifetime(700)))
        server.process.send_signal(signal.SIGCONT)
        assert [one.recv(100) for _ in range(15)] == [b"one%d" % number for number in range(0, 30, 2)]
        assert [two.recv(100) for _ in range(15)] == [b"one%d" % number for number in range(1, 30, 2)]
        assert client.receive()[:2] == b"\x01\x04"
        drops = server.ledger()["allocations"][0]["drops"]
        assert (drops["malformed"]["packets"], drops["no_channel"]["packets"]) == (30, 30)


def test_peer_that_is_gone_harms_nobody(tmp_path):
    """Its ICMP errors are not ours to stumble over."""
    with running(tmp_path, *LAB) as server, Wire(server.address("udp")) as client, udp() as peer:
        client.allocate()
        with udp() as gone:
            name = Address(*gone.getsockname())
        client.bind(name, 0x4000)
        client.bind(Address(*peer.getsockname()), 0x4001)
        for number in range(50):
            client.send_channel(b"nobody", 0x4000)
            client.send_channel(b"%d" % number, 0x4001)
            assert peer.recv(100) == b"%d" % number
        with udp(name.port) as back:
            client.send_channel(b"again", 0x4000)
            client.send_channel(b"again", 0x4000)
            assert back.recv(100) == b"again"


def udp(port=0):
    result = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    result.settimeout(DEADLINE)
    try:
        result.bind(("127.0.0.1", port))
    except OSError:
        result.close()
        raise
    return result


def test_a_peer_may_have_the_port_of_a_listener_over_tcp(tmp_path):
    """Relays are UDP: an ephemeral port of a peer is sometimes the number of our TLS listener."""
    with running(tmp_path, *LAB) as server, Wire(server.address("udp")) as client:
        client.allocate()
        assert client.bind(Address(*server.address("tcp"))).ok
        assert client.bind(Address(*server.address("udp")), 0x4001).error == 403


def test_loopback_is_no_peer_and_neither_is_the_server(server):
    with Wire(server.address("udp")) as client, udp() as peer:
        client.allocate()
        assert client.bind(Address(*peer.getsockname())).error == 403
        assert client.bind(Address(*server.address("udp"))).error == 403
        assert client.permit(Address("127.0.0.2", 1)).error == 403


def test_relay_ip_that_is_nowhere_still_joins_two_clients(tmp_path):
    with (
        running(tmp_path, "--relay-ip", "203.0.113.10") as server,
        Wire(server.address("udp")) as one,
        Wire(server.address("tcp"), transport="tcp") as two,
    ):
        first, second = one.allocate().relayed, two.allocate().relayed
        assert (first.host, second.host) == ("203.0.113.10", "203.0.113.10")
        assert one.bind(second).ok
        assert two.bind(first).ok
        one.send_channel(b"hello")
        assert two.receive() == b"\x40\0\0\5hello"
        two.raw(b"\x40\0\0\2yo\0\0")
        assert one.receive() == b"\x40\0\0\2yo"


def test_tcp_disconnect_frees_the_relay_at_once(server):
    with Wire(server.address("tcp"), transport="tcp") as client:
        relay = client.allocate().relayed

    def ended():
        [record] = [r for r in server.ledger()["allocations"] if r["relayed"] == [str(relay)]]
        return record["reason"] == "disconnected"

    wait_until(ended, "the allocation to end", within=DEADLINE)


def test_tcp_frames_in_any_pieces(server):
    with Wire(server.address("tcp"), transport="tcp") as client:
        client.challenge()
        data = client.signed(Method.ALLOCATE, UDP_TRANSPORT)
        for place in range(len(data) - 1):
            client.raw(data[place : place + 1])
        assert client.exchange(data[-1:]).ok
        client.raw(BINDING * 3)
        assert {client.receive()[:2] for _ in range(3)} == {b"\x01\x01"}


@pytest.mark.parametrize("data", [b"\x80", b"\x80\0\0\0", b"\xff", BINDING + b"\xff"])
def test_a_stream_of_something_else_is_closed(server, data):
    with socket.create_connection(server.address("tcp"), timeout=DEADLINE) as client:
        client.sendall(data)
        answers = len(BINDING) < len(data)
        assert client.recv(100, socket.MSG_WAITALL)[:2] in ((b"", b"\x01\x01") if answers else (b"",))


def test_half_open_and_slow_clients_do_not_disturb_others(tls_server):
    server, _ = tls_server
    clients = [socket.create_connection(server.address(kind)) for kind in ("tcp", "tls") for _ in range(50)]
    for number, client in enumerate(clients):
        client.sendall((b"\0\1\xff\xfc", b"\x40\0\xff\xff", b"\x16\x03\x01\x02", b"")[number % 4])
    assert server.answers()
    with Wire(server.address("tcp"), transport="tcp") as client:
        assert client.allocate().ok
    for client in clients:
        client.close()


def test_a_client_that_does_not_read_loses_data_and_nobody_memory(tmp_path):
    with (
        running(tmp_path) as server,
        Wire(server.address("udp")) as fast,
        Wire(server.address("tcp"), transport="tcp") as slow,
    ):
        first, second = fast.allocate().relayed, slow.allocate().relayed
        slow.bind(first)
        fast.bind(second)
        before = server.memory()
        for _ in range(40):
            for _ in range(250):
                fast.send_channel(bytes(1200))
            fast.refresh()  # as a pace, and as a proof that the server lives
        assert server.memory() - before < 30_000_000
        drops = server.ledger()["allocations"][1]["drops"]
        assert drops["slow_client"]["packets"] > 0


def test_ten_thousand_garbage_datagrams(server):
    """No answer, no crash, no memory, no descriptor."""
    chance = random.Random(5769)
    before, descriptors = server.memory(), server.descriptors()
    with udp() as sender:
        sender.connect(server.address("udp"))
        for number in range(10_000):
            kind = number % 5
            data = chance.randbytes(chance.randrange(0, 200))
            if kind == 1:
                data = bytes([number % 4]) + data
            elif kind == 2:
                data = BINDING[:2] + len(data).to_bytes(2, "big") + BINDING[4:20] + data
            elif kind == 3:
                data = b"\x40" + data
            elif kind == 4:
                body = attribute(chance.randrange(0x8000), data)
                data = build(Method.SEND, Class.INDICATION, bytes(12), [body])
            sender.send(data)
        sender.send(BINDING)
        answer = sender.recv(2000)
    assert answer[:2] == b"\x01\x01"
    assert server.memory() - before < 20_000_000
    assert server.descriptors() == descriptors


def test_a_flood_of_401_is_cut_and_costs_nothing(server):
    before = server.memory()
    with Wire(server.address("udp"), source="127.9.9.9") as client:
        request = build(Method.ALLOCATE, Class.REQUEST, bytes(12), [UDP_TRANSPORT])
        for _ in range(5000):
            client.raw(request)
        client.socket.settimeout(1)
        replies = []
        with pytest.raises(TimeoutError):
            while True:
                replies.append(client.receive())
    assert 0 < len(replies) < 1500
    assert all(len(reply) <= 160 for reply in replies)
    assert server.memory() - before < 20_000_000
    assert server.answers()


def test_everything_is_closed_again(tmp_path):
    with running(tmp_path, *LAB) as server, udp() as peer:
        before = server.descriptors()
        for _ in range(3):
            clients = [Wire(server.address("udp")) for _ in range(20)]
            for client in clients:
                assert client.allocate().ok
                assert client.bind(Address(*peer.getsockname())).ok
            assert server.descriptors() == before + 3 * 20
            for client in clients:
                assert client.refresh(lifetime(0)).lifetime == 0
                client.socket.close()
            wait_until(lambda: server.descriptors() == before, "the sockets to be closed", within=DEADLINE)


def test_no_secret_in_log_or_ledger(tmp_path):
    with running(tmp_path) as server:
        with Wire(server.address("udp")) as client:
            client.allocate()
            client.secret = "southern"
            client.refresh()
        text = repr(server.ledger())
        password = credentials()[1]
        server.process.terminate()
        log = server.process.stderr.read().decode()
    assert SECRET not in text + log
    assert password not in text + log


def failed(*options):
    done = subprocess.run(
        [sys.executable, "-m", "reference_server.turn", *options],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


GOOD = ("--realm", "r", "--secret", "s")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--realm", "r", "--listen", "udp://127.0.0.1:0"), "needs a secret"),
        ((*GOOD, "--listen", "udp:127.0.0.1:0"), "no listener such as"),
        ((*GOOD, "--listen", "udp://127.0.0.1:99999"), "no listener such as"),
        ((*GOOD, "--listen", "udp://0.0.0.0:0"), "--public"),
        ((*GOOD, "--listen", "tls://127.0.0.1:0"), "needs a certificate"),
        ((*GOOD, "--listen", "udp://127.0.0.1:0", "--relay-ports", "9-8"), "no range of relay ports"),
        ((*GOOD, "--listen", "udp://127.0.0.1:0", "--relay-ip", "here"), "no IP address"),
        ((*GOOD, "--listen", "udp://127.0.0.1:0", "--allow-peers", "127.0.0.1/8"), "no network"),
        (
            (*GOOD, "--listen", "udp://127.0.0.1:0", "--public", "--relay-ip", "0.0.0.0"),
            "name the address in relay_ip",
        ),
        ((*GOOD, "--listen", "udp://127.0.0.1:0", "--secret-file", "/nowhere"), "/nowhere"),
        (("--realm", "r" * 101, "--secret", "s", "--listen", "udp://127.0.0.1:0"), "1 to 100"),
    ],
)
def test_settings_that_cannot_work(options, says):
    code, said = failed(*options)
    assert code == 2
    assert says in said


def test_a_port_in_use_is_an_error_even_of_another_turn_server(server):
    code, said = failed(*GOOD, "--listen", f"udp://127.0.0.1:{server.address('udp')[1]}")
    assert code == 1
    assert "in use" in said


def test_inherited_socket_of_the_listener(tmp_path):
    with udp() as held:
        port = held.getsockname()[1]
        process = subprocess.Popen(
            [
                *(
                    sys.executable,
                    "-m",
                    "reference_server.turn",
                    *GOOD,
                    "--listen",
                    f"udp://127.0.0.1:{port}",
                ),
                *("--udp-fd", str(held.fileno())),
            ],
            stdout=subprocess.PIPE,
            pass_fds=(held.fileno(),),
        )
        with process:
            assert process.stdout is not None
            assert process.stdout.readline()
            with udp() as client:
                client.connect(("127.0.0.1", port))
                client.send(BINDING)
                assert client.recv(100)[:2] == b"\x01\x01"
            with pytest.raises(OSError, match="in use"):
                udp(port)  # the claim still holds
            process.terminate()
            assert process.wait(DEADLINE) == 0
