import socket
import threading

import pytest

from harness.clients.turn.stun import StunError, binding_request, mapped_address, probe
from harness.hosts import LocalHost
from harness.waiting import WaitTimeout

TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
# RFC 5769, 2.2 and 2.3: the header with its length reduced to the attributes that are shown here.
IPV4_ANSWER = bytes.fromhex("0101001c2112a442b7e7a701bc34d686fa87dfae") + bytes.fromhex(
    "8022000b7465737420766563746f7220002000080001a147e112a643"
)
IPV6_ANSWER = bytes.fromhex("010100182112a442b7e7a701bc34d686fa87dfae") + bytes.fromhex(
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
)


def test_request():
    assert binding_request(TRANSACTION).hex() == "000100002112a442b7e7a701bc34d686fa87dfae"


def test_the_rfcs_answers():
    assert mapped_address(IPV4_ANSWER, TRANSACTION) == ("192.0.2.1", 32853)
    assert mapped_address(IPV6_ANSWER, TRANSACTION) == ("2001:db8:1234:5678:11:2233:4455:6677", 32853)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        IPV4_ANSWER[:30],
        IPV4_ANSWER[:20] + bytes.fromhex("00200008"),
        b"\x01\x11" + IPV4_ANSWER[2:],
        IPV4_ANSWER[:8] + bytes(12) + IPV4_ANSWER[20:],
        IPV4_ANSWER.replace(bytes.fromhex("00200008"), bytes.fromhex("00200007")),
    ],
)
def test_other_bytes_are_no_answer(answer):
    with pytest.raises(StunError):
        mapped_address(answer, TRANSACTION)


def test_probe_sends_again_when_a_request_is_lost():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)

        def answer_the_second():
            server.recv(100)
            request, client = server.recvfrom(100)
            port = (client[1] ^ 0x2112).to_bytes(2, "big")
            server.sendto(
                bytes.fromhex("0101000c")
                + request[4:]
                + bytes.fromhex("002000080001")
                + port
                + b"\x5e\x12\xa4\x43",
                client,
            )

        thread = threading.Thread(target=answer_the_second)
        thread.start()
        address, port = probe(LocalHost(), "127.0.0.1", server.getsockname()[1], within=20)
        thread.join()
    assert address == "127.0.0.1"
    assert port > 0


def test_silence_and_a_dead_port_are_told_apart():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        with pytest.raises(WaitTimeout, match=f"127.0.0.1:{port}/udp"):
            probe(LocalHost(), "127.0.0.1", port, within=0.05)
    with pytest.raises(StunError, match="nothing listens"):
        probe(LocalHost(), "127.0.0.1", port, within=20)
