"""IPv6 on the wire: listener, relays, and clients of both families that reach each other."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time

import aioice.turn
import pytest

from harness.clients.turn.client import TurnClient, TurnCredentials
from harness.hosts import LocalHost
from harness.urls import TurnUrl
from reference_server.turn.stun import Address, Attribute, xor_decode
from tests.reference_server.turn.running import DEADLINE, SECRET, Inbox, Wire, credentials, have_ipv6, running
from tests.reference_server.turn.support import family, second_family

HOST = LocalHost()


pytestmark = pytest.mark.skipif(
    not have_ipv6(), reason="capability ipv6: there is no ::1: sysctl -w net.ipv6.conf.all.disable_ipv6=0"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """It listens on both families, and lets peers of both in."""
    listeners = [f"--listen={transport}://[::1]:0" for transport in ("udp", "tcp")]
    peers = ("--allow-peers", "::1/128", "--allow-peers", "127.0.0.0/8")
    with running(tmp_path_factory.mktemp("turn"), *listeners, *peers, listen=("udp",)) as server:
        yield server


def client(server, transport, version):
    host = "[::1]" if version == 6 else "127.0.0.1"
    start = f"{transport}://{host}:"
    [port] = [url.removeprefix(start) for url in server.endpoints["turn"] if url.startswith(start)]
    credentials = TurnCredentials.from_secret(SECRET, int(time.time()) + 3600)
    return TurnClient(HOST, TurnUrl(transport, host.strip("[]"), int(port)), credentials, within=DEADLINE)


@pytest.mark.parametrize("relay_version", [4, 6])
@pytest.mark.parametrize(
    ("first_transport", "first_version", "second_transport", "second_version"),
    [("udp", 6, "udp", 6), ("udp", 4, "udp", 6), ("udp", 4, "udp", 4), ("tcp", 6, "udp", 4)],
)
def test_relay_to_relay(
    server, first_transport, first_version, second_transport, second_version, relay_version
):
    """How a client reaches the server says nothing about the family of its relay."""
    host = "::1" if relay_version == 6 else "127.0.0.1"
    with (
        client(server, first_transport, first_version) as first,
        client(server, second_transport, second_version) as second,
    ):
        one, two = first.allocate(family=relay_version), second.allocate(family=relay_version)
        assert (one.relayed[0], two.relayed[0]) == (host, host)
        assert one.mapped[0] == ("::1" if first_version == 6 else "127.0.0.1")
        first.bind(0x4000, two.relayed)
        second.permit(host)
        for payload in (b"", b"hello", bytes(1200)):
            first.send_on_channel(0x4000, payload)
            received = second.receive()
            assert (received.peer, received.data) == (one.relayed, payload)
            second.send(one.relayed, payload)
            answer = first.receive()
            assert (answer.channel, answer.data) == (0x4000, payload)
        second.bind(0x4001, one.relayed)
        for number in range(100):
            first.send_on_channel(0x4000, bytes([number]))
        assert [second.receive().data for _ in range(100)] == [bytes([number]) for number in range(100)]
        assert second.refresh(0) == 0


@pytest.mark.parametrize("version", [4, 6])
def test_a_peer_outside_sees_the_relay(server, version):
    with (
        client(server, "udp", version) as talker,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as peer,
    ):
        peer.settimeout(DEADLINE)
        peer.bind(("::1", 0))
        name = peer.getsockname()[:2]
        relayed = talker.allocate(family=6).relayed
        talker.permit("::1")
        talker.send(name, b"by indication")
        assert peer.recvfrom(100) == (b"by indication", (*relayed, 0, 0))
        peer.sendto(b"answer", relayed)
        assert talker.receive().data == b"answer"
        talker.bind(0x4000, name)
        talker.send_on_channel(0x4000, b"by channel")
        assert peer.recvfrom(100) == (b"by channel", (*relayed, 0, 0))
        peer.sendto(b"answer", relayed)
        received = talker.receive()
        assert (received.channel, received.data) == (0x4000, b"answer")
        assert talker.refresh(0) == 0


def test_two_relays_of_one_client(tmp_path):
    with running(tmp_path, "--listen", "udp://[::1]:0") as server:
        port = int(server.endpoints["turn"][-1].rpartition(":")[2])
        with Wire(("::1", port), source="::1") as one, Wire(server.address("udp")) as two:
            first, second = one.allocate(family(2)), two.allocate(second_family(2))
            assert first.address(Attribute.XOR_MAPPED_ADDRESS) == one.path.client
            values = second.message.every(Attribute.XOR_RELAYED_ADDRESS)
            four, six = (xor_decode(value, second.message.transaction) for value in values)
            assert four is not None and six is not None
            assert (four.host, six.host, first.relayed.host) == ("127.0.0.1", "::1", "::1")
            assert one.bind(four).error == 443
            assert one.bind(six).ok
            assert two.bind(first.relayed).ok
            one.send_channel(b"hello")
            assert two.receive() == b"\x40\0\0\5hello"
            assert one.permit(Address("::ffff:127.0.0.1", 1)).error == 403


def test_aioice_over_ipv6(server):
    """It never asks for a family, so that its relays are IPv4 however it reaches the server."""

    async def endpoint(host):
        username, password = credentials()
        bracketed = f"[{host}]" if ":" in host else host
        start = f"udp://{bracketed}:"
        [port] = [url.removeprefix(start) for url in server.endpoints["turn"] if url.startswith(start)]
        return await aioice.turn.create_turn_endpoint(
            Inbox, server_addr=(host, int(port)), username=username, password=password
        )

    async def talk():
        six, six_inbox = await endpoint("::1")
        four, four_inbox = await endpoint("127.0.0.1")
        names = six.get_extra_info("sockname"), four.get_extra_info("sockname")
        async with asyncio.timeout(DEADLINE):
            while True:  # aioice does not say when its channel is bound
                six.sendto(b"there?", names[1])
                four.sendto(b"there?", names[0])
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.2):
                        got = await six_inbox.received.get(), await four_inbox.received.get()
                        break
            for transport, inbox in ((six, six_inbox), (four, four_inbox)):
                transport.close()
                await inbox.closed.wait()
        return names, *got

    names, at_six, at_four = asyncio.run(talk())
    assert {name[0] for name in names} == {"127.0.0.1"}
    assert (at_six[1], at_four[1]) == (names[1], names[0])
