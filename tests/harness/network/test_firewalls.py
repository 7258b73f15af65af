"""What firewalls let through, and how they say no."""

import errno
import socket

import pytest

from harness.network import profiles
from harness.network.lab import Lab, LabHost
from harness.network.nat64 import nat64_address
from harness.network.probe import arrived, udp_socket
from harness.network.profiles import Profile
from harness.waiting import wait_until

SILENCE = 0.5
"""Seconds that we wait for nothing; on a quiet machine an answer takes less than one millisecond."""


def listen(host: LabHost, address: str, port: int) -> socket.socket:
    listener = host.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((address, port))
    listener.listen()
    return listener


def test_only_443_in_silence(lab: Lab):
    server, device = lab.server("server"), lab.device("alice", profiles.ONLY_443)
    with listen(server, server.address, 443), listen(server, server.address, 993):
        device.connect(server.address, 443, within=10).close()
        with pytest.raises(TimeoutError):
            device.connect(server.address, 993, within=SILENCE)


def test_only_443_with_refusal(lab: Lab):
    server, device = lab.server("server"), lab.device("alice", profiles.ONLY_443_REFUSED)
    with listen(server, server.address, 443), listen(server, server.address, 993):
        device.connect(server.address, 443, within=10).close()
        with pytest.raises(ConnectionRefusedError):
            device.connect(server.address, 993, within=10)
    with udp_socket(device, socket.AF_INET) as client:
        client.connect((server.address, 3478))
        client.send(b"anybody there?")
        with pytest.raises(OSError) as caught:
            wait_until(lambda: _received(client), "the refusal", within=10)
        assert caught.value.errno == errno.EHOSTUNREACH


def _received(client: socket.socket) -> bytes | None:
    try:
        return client.recv(100)
    except BlockingIOError:
        return None


def test_blocked_udp_leaves_tcp_alone(lab: Lab):
    server, device = lab.server("server"), lab.device("alice", profiles.UDP_BLOCKED)
    with listen(server, server.address, 993):
        device.connect(server.address, 993, within=10).close()


@pytest.mark.parametrize("profile", [profiles.IPV6_ROUTED, profiles.IPV6_ONLY, profiles.DUAL_STACK])
def test_who_may_begin_over_ipv6(lab: Lab, profile: Profile):
    server, device = lab.server("server"), lab.device("alice", profile)
    address = device.addresses[-1]
    with listen(device, address, 8000), listen(server, server.addresses[1], 8000):
        device.connect(server.addresses[1], 8000, within=10).close()
        if profile is profiles.IPV6_ROUTED:
            server.connect(address, 8000, within=10).close()
        else:
            with pytest.raises(TimeoutError):
                server.connect(address, 8000, within=SILENCE)


def test_a_device_without_ipv4_knows_at_once(lab: Lab):
    server, device = lab.server("server"), lab.device("alice", profiles.IPV6_ONLY)
    with pytest.raises(OSError) as caught:
        device.connect(server.address, 443, within=10)
    assert caught.value.errno == errno.ENETUNREACH


def test_a_device_without_ipv4_reaches_it_by_nat64(lab: Lab):
    server, device = lab.server("server"), lab.device("alice", profiles.NAT64)
    with listen(server, server.address, 443) as listener:
        device.connect(nat64_address(server.address), 443, within=10).close()
        connection, (source, _port) = listener.accept()
        connection.close()
    assert source == device.routers[0].address
    with (
        udp_socket(server, socket.AF_INET, server.address, 7000) as at,
        udp_socket(device, socket.AF_INET6) as client,
    ):
        client.sendto(b"hello", (nat64_address(server.address), 7000))
        seen = wait_until(lambda: arrived(at).get(b"hello"), "a packet from IPv6", within=10)
        at.sendto(b"welcome", seen)
        answer = wait_until(lambda: arrived(client).get(b"welcome"), "an answer", within=10)
    assert answer == (nat64_address(server.address), 7000)


def test_addresses_of_nat64_are_those_of_rfc_6052():
    assert nat64_address("192.0.2.33") == "64:ff9b::c000:221"
